"""Beam search by rollout (Bertsekas 2013): prefixes grow action by action, the best plan so far completes them.

Each prefix is judged as a whole plan. When the horizon is reached the search starts again from the first action, with
the better plan as completion (rollout is policy iteration), until that changes nothing.
"""
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_ros.actor.planners.base import Start
from jepa_ros.actor.planners.config import PLANNERS
from jepa_ros.actor.planners.discrete import digits, DiscretePlanner, Sequences
from jepa_ros.errors import ConfigError


@dataclass
class Prefixes(Sequences):
    kept: Tensor | None = None      # (B, K, H), of which the first `depth` actions count; None at depth 0
    depth: int = 0
    grown: int = 0                  # actions that this iteration adds
    before: Tensor | None = None    # (B, H), the best sequence when this sweep began
    converged: bool = False


@PLANNERS.register('beam')
class Beam(DiscretePlanner[Prefixes]):
    """Keeps `elites` prefixes and tries all next actions of each; several actions at once where `samples` allow it."""

    state = Prefixes

    def begin(self, start: Start) -> Prefixes:
        state = super().begin(start)
        if len(state.choices) > self.config.samples:
            raise ConfigError(f'planner beam: {len(state.choices)} choices do not fit into {self.config.samples} '
                              'samples: lower bins or raise samples')
        return state

    def sequences(self, state: Prefixes) -> Tensor:
        count, samples = len(state.choices), self.config.samples
        if state.kept is None:
            state.before, state.depth = state.best, 0
        kept = state.best[:, None] if state.kept is None else state.kept
        batch, width, horizon = kept.shape
        state.grown = 1
        while state.depth + state.grown < horizon and width * count ** (state.grown + 1) <= samples:
            state.grown += 1
        tails = digits(torch.arange(count ** state.grown, device=kept.device), count, state.grown)
        tried = state.best[:, None, None].repeat(1, width, len(tails), 1)       # (B, K, C^grown, H)
        tried[..., :state.depth] = kept[:, :, None, :state.depth]
        tried[..., state.depth:state.depth + state.grown] = tails
        return tried.reshape(batch, -1, horizon)

    def judge(self, state: Prefixes, energy: Tensor, violation: Tensor, order: Tensor) -> None:
        state.depth += state.grown
        width = min(self.config.elites, self.config.samples // len(state.choices))
        state.kept = state.tried.take_along_dim(order[:, :width, None], 1)
        horizon = state.best.shape[1]
        if state.depth == horizon:
            state.converged = state.grown == horizon or bool((state.best == state.before).all())
            state.kept = None

    def exhausted(self, state: Prefixes) -> bool:
        return state.converged
