"""Readout heads: variables known to matter, read from s and from its predictions (LeCun §4.5.2).

The heads are the model's; a trainer that wants them to teach the encoder nothing runs them on detached states. The
head learns from predictions as well, so that what is read from an imagined state is calibrated for it.
"""
from pydantic import Field
from torch import Tensor

from jepa_ros.training.losses.base import Embedded, Loss, LOSSES, LossSettings
from jepa_ros.training.losses.parallel import mean_over_ranks
from jepa_ros.training.losses.prediction import following


def readout_error(read: Tensor, true: Tensor) -> Tensor:
    """Mean squared error of standardised readouts, (..., R) both."""
    return mean_over_ranks((read - true).square())


class ReadoutSettings(LossSettings):
    known: float = Field(1.0, ge=0, description='weight of what is read from encoded states')
    imagined: float = Field(1.0, ge=0, description='weight of what is read from predicted states')


@LOSSES.register('readouts')
class Readouts(Loss):
    """Errors of the readout heads."""

    Settings = ReadoutSettings

    def coefficients(self) -> dict[str, float]:
        return {'readout': self.settings.known, 'imagined_readout': self.settings.imagined}

    def parts(self, batch: Embedded) -> dict[str, Tensor]:
        c, parts = self.settings, {}
        if c.known or c.imagined:
            true = batch.need('readouts', 'readouts')
        if c.known:
            parts['readout'] = readout_error(batch.need('known_readouts', 'readouts'), true)
        if c.imagined:
            read = batch.need('imagined_readouts', 'readouts')
            parts['imagined_readout'] = readout_error(read, following(true, read, batch.stride))
        return parts
