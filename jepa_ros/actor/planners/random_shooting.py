"""Random shooting: the best of many draws from the first distribution, nothing learned between iterations."""
from torch import Tensor

from jepa_ros.actor.planners.base import Outcome
from jepa_ros.actor.planners.config import PLANNERS
from jepa_ros.actor.planners.sampling import DrawingPlanner, Gaussian


@PLANNERS.register('random_shooting')
class RandomShooting(DrawingPlanner):
    """Never refits: what the other methods must beat."""

    def learn(self, state: Gaussian, candidates: Tensor, outcome: Outcome) -> None:
        """The loop remembers the best candidate; there is nothing else to know."""
