"""iCEM (Pinneri et al. 2020): a cross-entropy method that needs few samples.

Noise whose power falls with frequency, a share of the elites tried again, fewer samples in later iterations, the mean
tried too. The loop has all of it as settings; here are the paper's values. What it keeps from one control tick to the
next, its momentum aside, is the warm start.
"""
from collections.abc import Mapping

from jepa_ros.actor.planners.cem import CEM
from jepa_ros.actor.planners.config import PLANNERS


@PLANNERS.register('icem')
class ICEM(CEM):
    """CEM with other defaults."""

    @classmethod
    def defaults(cls, iterations: int) -> Mapping[str, float]:
        # β is 2 to 3.5 for most robots there, ξ is 0.3, and a decay of γ = 1.25 is a share of 0.8
        return {'colour': 2.0, 'keep_elites': 0.3, 'shrink': 0.8}
