"""Gradient descent through the model (LeCun §3.1.2): Adam from the warm start and many draws around it."""
from collections.abc import Mapping

from torch import Tensor

from jepa_ros.actor.planners.base import Outcome
from jepa_ros.actor.planners.config import PLANNERS
from jepa_ros.actor.planners.sampling import DrawingPlanner, Gaussian


@PLANNERS.register('gradient')
class GradientPlanner(DrawingPlanner):
    """All candidates descend, each on its own; as many starts as samples, so that one of them misses a bad minimum."""

    @classmethod
    def defaults(cls, iterations: int) -> Mapping[str, float]:
        return {'learning_rate': 0.3}       # far: the draws lie apart, and steps are few

    def differentiates(self, iteration: int) -> bool:
        return True

    def propose(self, state: Gaussian, iteration: int) -> Tensor:
        return super().propose(state, iteration) if state.descent is None else state.descent.candidates

    def learn(self, state: Gaussian, candidates: Tensor, outcome: Outcome) -> None:
        state.descend(candidates, outcome, self.config.learning_rate)

    def settled(self, state: Gaussian) -> bool:
        return state.arrived(self.config.tolerance)
