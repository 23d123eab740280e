"""CEM, then gradient descent from its elites (Bharadhwaj et al. 2020): samples find a valley, gradients its floor."""
from collections.abc import Mapping

import torch
from torch import Tensor

from jepa_ros.actor.planners.base import Outcome
from jepa_ros.actor.planners.cem import CEM
from jepa_ros.actor.planners.config import PLANNERS
from jepa_ros.actor.planners.descent import Descent
from jepa_ros.actor.planners.sampling import Gaussian, lowest


@PLANNERS.register('cem_gradient')
class CEMGradient(CEM):
    """The last `refine` iterations descend from the last mean and the elites.

    Their first tries only these, to know the gradient; steps come after it. Left open, half the iterations refine.
    """

    @classmethod
    def defaults(cls, iterations: int) -> Mapping[str, float]:
        return {'refine': (iterations + 1) // 2, 'learning_rate': 0.2}

    def differentiates(self, iteration: int) -> bool:
        return iteration >= self.config.iterations - self.config.refine

    def propose(self, state: Gaussian, iteration: int) -> Tensor:
        if not self.differentiates(iteration) or state.descent is None:
            return super().propose(state, iteration)
        return state.descent.candidates

    def learn(self, state: Gaussian, candidates: Tensor, outcome: Outcome) -> None:
        if outcome.gradient is not None:
            state.descend(candidates, outcome, self.config.learning_rate)
            return
        super().learn(state, candidates, outcome)
        elites, _ = lowest(candidates, outcome.ranks, self.config.elites)
        state.descent = Descent.begin(torch.cat([state.mean[:, None], elites], 1))

    def settled(self, state: Gaussian) -> bool:
        """Only the descent can end early: the spread of the elites says nothing about its steps."""
        return state.arrived(self.config.tolerance)
