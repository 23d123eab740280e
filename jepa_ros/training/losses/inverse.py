"""Inverse dynamics: which action led from s_t to s_t+1 must be readable from both states.

It keeps what the agent controls in the representation: Sobal et al. 2025 (PLDM), ‖a_t − IDM(s_t, s_t+1)‖²; a bias in
the sense of LeCun §4.5.2. FAIR's eb_jepa falls from 97 % success to 1 % without it.
"""
from pydantic import Field
from torch import Tensor

from jepa_ros.training.losses.base import Embedded, Loss, LOSSES, Weighted
from jepa_ros.training.losses.parallel import mean_over_ranks


def inverse_dynamics(inferred: Tensor, actions: Tensor) -> Tensor:
    """Mean squared error of the inferred actions, (B, T−1, A) both."""
    return mean_over_ranks((inferred - actions).square())


class InverseSettings(Weighted):
    weight: float = Field(5.0, ge=0)


@LOSSES.register('inverse')
class Inverse(Loss):
    """Actions inferred by the model's inverse head from successive states."""

    Settings = InverseSettings

    def coefficients(self) -> dict[str, float]:
        return {'inverse': self.settings.weight}

    def parts(self, batch: Embedded) -> dict[str, Tensor]:
        if not self.settings.weight:
            return {}
        inferred, actions = batch.need('inferred_actions', 'inverse'), batch.need('actions', 'inverse')
        return {'inverse': inverse_dynamics(inferred, actions)}
