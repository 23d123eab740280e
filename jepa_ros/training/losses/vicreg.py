"""VICReg: variance and covariance keep the representation informative (LeCun §4.5.1, Fig. 14; Dawid §6.1).

Bardes, Ponce & LeCun 2022, eq. 1–4; its invariance (eq. 5) is the prediction error. Encoder and predictor share one
representation, so all states s are "both branches". As in LeCun §4.5.1 the variance of s *and* of its expansion v is
held up, and the components of v are decorrelated.
"""
from typing import Literal

from pydantic import Field
from torch import Tensor

from jepa_ros.training.losses import regularisers
from jepa_ros.training.losses.base import Embedded, expander, Loss, LOSSES, LossSettings, Over, samples, Sizes


class VICRegSettings(LossSettings):
    variance: float = Field(16.0, ge=0)
    covariance: float = Field(8.0, ge=0)
    within: float = Field(8.0, ge=0, description='weight of the variance within an episode')
    floor: float = Field(1.0, gt=0, description='standard deviation over the batch, γ of eq. 1')
    within_floor: float = Field(0.4, gt=0, description='standard deviation within an episode')
    expander: int = Field(0, ge=0, description='width of the expander; 0: none')
    over: Over = 'batch'
    normalise: Literal['dimensions', 'pairs'] = Field(
        'dimensions', description='covariances are summed over pairs and divided by D (eq. 4), or averaged (eb_jepa)')


@LOSSES.register('vicreg')
class VICReg(Loss):
    """Variance, covariance, variance within an episode."""

    Settings = VICRegSettings

    def __init__(self, settings: VICRegSettings, sizes: Sizes):
        super().__init__(settings, sizes)
        self.expand = expander(sizes.state, settings.expander)

    def coefficients(self) -> dict[str, float]:
        c = self.settings
        return {'variance': c.variance, 'covariance': c.covariance, 'within': c.within}

    def parts(self, batch: Embedded) -> dict[str, Tensor]:
        c, parts = self.settings, {}
        v = samples(self.expand(batch.s), c.over)                               # (N, G, V)
        if c.variance:
            parts['variance'] = regularisers.variance(v, c.floor)
            if c.expander:
                parts['variance'] = (parts['variance'] + regularisers.variance(samples(batch.s, c.over), c.floor)) / 2
        if c.covariance:
            pairs = v.shape[-1] - 1 if c.normalise == 'pairs' else 1
            parts['covariance'] = regularisers.covariance(v) / pairs
        if c.within:
            parts['within'] = regularisers.within_episode_variance(batch.s, c.within_floor)
        return parts
