"""Refine the plans of all levels together by gradient, after they were made top down (LeCun §4.7).

Top down, a level above never learns what its subgoal costs below. Here the energies of all levels are one sum in which
each subgoal is what the plan above predicts, and gradient steps move all actions at once.
"""
from collections.abc import Sequence
from dataclasses import replace
import time

import torch
from torch import Tensor

from jepa_ros.actor.level_energy import LevelEnergy
from jepa_ros.actor.planners import Evaluation, Search, SearchSpace
from jepa_ros.actor.planners.base import Outcome
from jepa_ros.actor.planners.descent import Descent


def refine(problems: Sequence[LevelEnergy], spaces: Sequence[SearchSpace], searches: Sequence[Search],
           states: Sequence[Tensor], steps: int, rate: float,
           deadline: float | None = None) -> tuple[tuple[Search, ...], tuple[Tensor, ...]]:
    """Searches and states of the levels, level 0 first, after gradient `steps`; of each problem never worse in sum.

    rate: of a step, as a share of the standard deviation of each space. deadline: `time.perf_counter()` after which no
    further step starts.
    """
    with torch.inference_mode(False), torch.enable_grad():
        actions = [search.actions for search in searches]
        descents = [Descent.begin(action.clone()[:, None]) for action in actions]
        best = _Best(searches, states)
        for step in range(steps + 1):
            actions = [action.clone().requires_grad_() for action in actions]
            evaluations, rollouts = _all(problems, actions)
            broken = [e.energy.new_zeros(e.energy.shape) if e.violation is None else e.violation for e in evaluations]
            total = torch.stack([e.energy for e in evaluations]).sum(0)
            best.take(actions, rollouts, evaluations, broken, total)
            if step == steps or deadline is not None and time.perf_counter() > deadline:
                break
            total = total + problems[0].config.penalty * torch.stack(broken).sum(0)
            gradients = torch.autograd.grad(total.sum(), actions)
            actions = [_moved(*each, total.detach(), rate)
                       for each in zip(actions, gradients, descents, spaces, problems)]
    return best.searches, best.states


def _moved(action: Tensor, gradient: Tensor, descent: Descent, space: SearchSpace, problem: LevelEnergy, total: Tensor,
           rate: float) -> Tensor:
    """Actions (B, H, A) of one level after one step."""
    with torch.no_grad():
        ranks = total[:, None]
        descent.step(action[:, None], Outcome(ranks, ranks, gradient=gradient[:, None]),
                     rate * space.std.expand_as(action))
        return space.project(descent.candidates[:, 0], problem.previous_action)


def _all(problems: Sequence[LevelEnergy], actions: Sequence[Tensor]) -> tuple[list[Evaluation], list[Tensor]]:
    """Evaluations (B,) and states (B, H_l, D_l) of all levels, level 0 first, each below the one above."""
    evaluations: list[Evaluation] = []
    rollouts: list[Tensor] = []
    subgoal = problems[-1].subgoal      # of a level above that keeps its plan
    for problem, action in zip(reversed(problems), reversed(actions)):
        problem = replace(problem, subgoal=subgoal)
        candidates = action[:, None]
        states = problem.rollout(candidates)
        found = problem.of(states, candidates) if problem.scenarios is None else problem(candidates)
        violation = None if found.violation is None else found.violation[:, 0]
        evaluations.insert(0, Evaluation(found.energy[:, 0], violation))
        rollouts.insert(0, states[:, 0])
        subgoal = rollouts[0][:, 0]
    return evaluations, rollouts


class _Best:
    """Of each problem the plans with the lowest sum that, level by level, break guardrails no more than before."""

    def __init__(self, searches: Sequence[Search], states: Sequence[Tensor]):
        self.searches, self.states = tuple(searches), tuple(states)
        self._total: Tensor | None = None       # (B,)
        self._broken: Tensor | None = None      # (B, L)

    def take(self, actions: Sequence[Tensor], states: Sequence[Tensor], evaluations: Sequence[Evaluation],
             broken: Sequence[Tensor], total: Tensor) -> None:
        total, each_broken = total.detach(), torch.stack([b.detach() for b in broken], -1)
        if self._total is None:
            better = torch.zeros_like(total, dtype=torch.bool)
            self._total, self._broken = total, each_broken
        else:
            # false for NaN too
            better = (total < self._total) & (each_broken <= self._broken).all(-1)
            self._total = torch.where(better, total, self._total)
            self._broken = torch.where(better[:, None], each_broken, self._broken)
        wide = better[:, None, None]
        self.searches = tuple(
            replace(old, actions=torch.where(wide, action.detach(), old.actions),
                    energy=torch.where(better, e.energy.detach(), old.energy),
                    violation=torch.where(better, b.detach(), old.violation))
            for old, action, e, b in zip(self.searches, actions, evaluations, broken))
        self.states = tuple(torch.where(wide, new.detach(), old) for old, new in zip(self.states, states))
