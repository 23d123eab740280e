"""What planners over a finite set of actions share: sequences of choices, each tried whole through the same energy.

A sequence is H numbers of choices. As every candidate is a plan over the full horizon, the search may stop after any
iteration.
"""
from abc import abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from jepa_ros.actor.planners.base import Outcome, Planner, Start
from jepa_ros.errors import ConfigError


@dataclass
class Sequences:
    """What is known of sequences during one search."""

    start: Start
    choices: Tensor         # (C, A)
    first: Tensor           # (B, H), the choices nearest to the start's mean
    best: Tensor            # (B, H), the best so far; at first, `first`
    energy: Tensor          # (B, 1), of the best
    violation: Tensor       # (B, 1), of the best
    tried: Tensor           # (B, N, H), in this iteration

    def take(self, energy: Tensor, violation: Tensor) -> Tensor:
        """Note what the tried ones cost, (B, N) each; returns their order (B, N), the best first.

        Best is what breaks the guardrails least and, of that, what costs least: no price is involved, so sequences of
        different iterations compare.
        """
        order = energy.argsort(dim=1, stable=True)
        order = order.gather(1, violation.gather(1, order).argsort(dim=1, stable=True))
        lowest, least = energy.gather(1, order[:, :1]), violation.gather(1, order[:, :1])
        better = (least < self.violation) | ((least == self.violation) & (lowest < self.energy))
        self.best = torch.where(better, self.tried.take_along_dim(order[:, :1, None], 1)[:, 0], self.best)
        self.energy = torch.where(better, lowest, self.energy)
        self.violation = torch.where(better, least, self.violation)
        return order


State = TypeVar('State', bound=Sequences)


class DiscretePlanner(Planner[State], Generic[State]):
    """Tries sequences of choices; the warm start and proposals are tried as they are, on top of the `samples`."""

    state: type[State]      # what the method knows beyond `Sequences`, all with defaults

    @abstractmethod
    def sequences(self, state: State) -> Tensor:
        """Sequences (B, N, H) to try next, N at most the configured samples."""

    @abstractmethod
    def judge(self, state: State, energy: Tensor, violation: Tensor, order: Tensor) -> None:
        """Learn from what `state.tried` cost: energy and violation (B, N), both +inf where refused, best first."""

    def begin(self, start: Start) -> State:
        choices = start.space.choices
        if choices is None:
            raise ConfigError(f'planner {self.config.method} needs a finite set of actions and has none: lower bins, '
                              'or choose a planner that samples, cem or mppi for one')
        first = torch.cdist(start.mean, choices.expand(len(start.mean), -1, -1)).argmin(-1)
        unknown = start.mean.new_full((len(first), 1), torch.inf)
        return self.state(start, choices, first, first, unknown, unknown, first[:, None])

    def propose(self, state: State, iteration: int) -> Tensor:
        state.tried = self.sequences(state)
        actions = state.choices[state.tried]
        return actions if iteration else torch.cat([state.start.given, actions], 1)

    def learn(self, state: State, candidates: Tensor, outcome: Outcome) -> None:
        count = state.tried.shape[1]
        energy = outcome.energy[:, -count:]
        violation = torch.zeros_like(energy) if outcome.violation is None else outcome.violation[:, -count:]
        violation = violation.masked_fill(torch.isinf(energy), torch.inf)
        self.judge(state, energy, violation, state.take(energy, violation))


def digits(numbers: Tensor, base: int, count: int) -> Tensor:
    """Numbers (N,) -> their last `count` digits (N, count), the lowest first."""
    return numbers[:, None] // base ** torch.arange(count, device=numbers.device) % base
