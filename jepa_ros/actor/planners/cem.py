"""Cross-entropy method: mean and standard deviation of the elites."""
from torch import Tensor

from jepa_ros.actor.planners.config import PLANNERS
from jepa_ros.actor.planners.sampling import equal_weights, lowest, moments, SamplingPlanner


@PLANNERS.register('cem')
class CEM(SamplingPlanner):
    """Every elite counts the same."""

    def refit(self, candidates: Tensor, energies: Tensor) -> tuple[Tensor, Tensor]:
        elites, ranks = lowest(candidates, energies, self.config.elites)
        # of ten elites the biased deviation is 5 % too small, every iteration anew: the search would freeze early
        return moments(elites, equal_weights(ranks), unbiased=True)
