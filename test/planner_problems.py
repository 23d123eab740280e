"""Small problems whose best plans are known, for the tests of the planners."""
from dataclasses import replace

import torch
from torch import Tensor

from jepa_ros.actor.planners import Evaluation, PlannerConfig, PLANNERS, Search, SearchSpace
from jepa_ros.actor.planners.base import Planner

SAMPLING = ['cem', 'icem', 'mppi']
GRADIENT = ['cem_gradient', 'gradient']
CONTINUOUS = [*SAMPLING, *GRADIENT, 'random_shooting']
DISCRETE = ['beam', 'exhaustive', 'mcts']
METHODS = [*CONTINUOUS, *DISCRETE]

TARGET = torch.tensor([0.4, -0.7])
# two choices over three steps are eight sequences: the smallest budget of these tests is enough for all of them
BOX = SearchSpace(-torch.ones(2), torch.ones(2), torch.zeros(2), 0.7 * torch.ones(2), torch.stack([-TARGET, TARGET]))


def planner(method: str, **changes) -> Planner:
    samples = changes.get('samples', 128)
    return PLANNERS.get(method)(PlannerConfig(**{
        'method': method, 'samples': samples, 'iterations': 12, 'horizon': 3, 'elites': max(1, samples // 10),
        'min_std': 0.02, 'learning_rate': 0.5} | changes))


def quadratic(candidates: Tensor) -> Tensor:
    """(B, N, H, A) -> (B, N), 0 where every action is the target."""
    return (candidates - TARGET).square().sum((-1, -2))


def bumpy(seed: int):
    """An energy (B, N, H, A) -> (B, N) that couples the steps and has many minima."""
    g = generator(seed)
    inputs, state = torch.randn(2, 6, generator=g), torch.randn(6, 6, generator=g)
    first, goal = torch.randn(6, generator=g), torch.randn(6, generator=g).tanh()

    def energy(candidates: Tensor) -> Tensor:
        s, total = first.expand(*candidates.shape[:2], 6), torch.zeros(())
        for action in candidates.unbind(2):
            s = torch.tanh(s @ state + action @ inputs)
            total = total + (s - goal).square().mean(-1)
        return total
    return energy


def solve(chosen: Planner, energy, *arguments, **options) -> Search:
    """Plan with an energy (B, N, H, A) -> (B, N)."""
    return chosen.plan(lambda candidates: Evaluation(energy(candidates)), *arguments, **options)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_choices(choices: Tensor) -> SearchSpace:
    return replace(BOX, choices=choices)


class Recorder:
    """Remembers what an energy was asked and answered; candidates (B, N, H, A), energies and violations (B, N)."""

    def __init__(self, energy, violation=None):
        self._energy, self._violation = energy, violation
        self.candidates: list[Tensor] = []
        self.energies: list[Tensor] = []
        self.violations: list[Tensor] = []

    def __call__(self, candidates: Tensor) -> Evaluation:
        energy = self._energy(candidates)
        violation = None if self._violation is None else self._violation(candidates)
        self.candidates.append(candidates.detach().clone())
        self.energies.append(energy.detach().clone())
        if violation is not None:
            self.violations.append(violation.detach().clone())
        return Evaluation(energy, violation)
