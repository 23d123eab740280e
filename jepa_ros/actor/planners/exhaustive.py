"""Exhaustive search: every sequence of choices, so the plan is the true optimum among them."""
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_ros.actor.planners.base import Start
from jepa_ros.actor.planners.config import PLANNERS
from jepa_ros.actor.planners.discrete import digits, DiscretePlanner, Sequences
from jepa_ros.errors import ConfigError


@dataclass
class Count(Sequences):
    done: int = 0       # sequences tried
    total: int = 0


@PLANNERS.register('exhaustive')
class Exhaustive(DiscretePlanner[Count]):
    """`samples` sequences an iteration, those that leave the warm start in their first actions before the others."""

    state = Count

    def begin(self, start: Start) -> Count:
        c, state = self.config, super().begin(start)
        state.total = len(state.choices) ** c.horizon
        if state.total > c.samples * c.iterations:
            raise ConfigError(f'planner exhaustive: {len(state.choices)} choices over a horizon of {c.horizon} make '
                              f'{state.total} sequences, more than {c.samples} samples × {c.iterations} iterations: '
                              'lower bins or horizon, or raise samples or iterations')
        return state

    def sequences(self, state: Count) -> Tensor:
        numbers = torch.arange(state.done, min(state.done + self.config.samples, state.total),
                               device=state.first.device)
        count = len(state.choices)
        return (state.first[:, None] + digits(numbers, count, state.first.shape[1])) % count

    def judge(self, state: Count, energy: Tensor, violation: Tensor, order: Tensor) -> None:
        state.done += energy.shape[1]

    def exhausted(self, state: Count) -> bool:
        return state.done >= state.total
