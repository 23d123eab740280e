"""Mode-2: infer the actions that minimise the energy (LeCun §3.1.2, §5).

One optimisation loop; a method says only which candidates to try next and what it learns from their energies.
Everything is batched over B independent problems; on a robot B is 1. Lower energy is better; a candidate whose energy
is not finite counts as +inf. Nothing in the loop waits for the device.
"""
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
import time
from typing import Generic, TypeVar

import torch
from torch import Tensor

from jepa_ros.actor.planners.config import PlannerConfig
from jepa_ros.errors import ConfigError

# Most a guardrail's price rises to: with float32, products with it stay finite (∞ · 0 would be NaN).
HIGHEST_PRICE = 1e9


@dataclass(frozen=True)
class Evaluation:
    """What is known of candidates: energies (B, N), and by how much each breaks a guardrail (B, N), ≥ 0, 0 is allowed.

    `violation` None: nothing is forbidden.
    """

    energy: Tensor
    violation: Tensor | None = None


EnergyFunction = Callable[[Tensor], Evaluation]     # of candidates (B, N, H, A)


@dataclass(frozen=True)
class SearchSpace:
    """What actions may be: bounds and the Gaussian they are first drawn from, each (A,).

    `choices` (C, A) are the actions a tree search may take; `max_change` (A,) bounds |a_t − a_{t−1}|.
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    std: Tensor
    choices: Tensor | None = None
    max_change: Tensor | None = None

    def project(self, candidates: Tensor, previous: Tensor | None = None) -> Tensor:
        """Candidates (…, H, A) moved into the bounds, and to the allowed change from the action before.

        `previous`, (A,) or with the leading dimensions, is the action in force before the first step.
        """
        candidates = torch.clamp(candidates, self.low, self.high)
        if self.max_change is None:
            return candidates
        steps: list[Tensor] = []
        # a robot may be outside of its limits; its next command must not be
        last = None if previous is None else torch.clamp(previous, self.low, self.high)
        for action in candidates.unbind(-2):
            if last is not None:
                action = torch.minimum(torch.maximum(action, last - self.max_change), last + self.max_change)
            steps.append(action)
            last = action
        return torch.stack(steps, -2)


@dataclass(frozen=True)
class Search:
    """Result of one optimisation: the best candidate of each problem."""

    actions: Tensor         # (B, H, A)
    energy: Tensor          # (B,), +inf when every candidate was refused
    violation: Tensor       # (B,), 0 where the guardrails hold
    iterations: int
    deadline_hit: bool      # the deadline ended it before the last iteration
    refused: Tensor         # (), how many candidates had an energy that was not finite

    @property
    def sound(self) -> Tensor:
        """(B,) bool: a finite energy, no guardrail broken. Anything else must not reach a robot."""
        return torch.isfinite(self.energy) & (self.violation <= 0)


@dataclass(frozen=True)
class Start:
    """Where a search begins.

    The distribution (B, H, A) of the first candidates; those tried first, as they are: `given` (B, 1 + P, H, A), the
    mean and the proposals; the action in force before the first step; where randomness comes from.
    """

    space: SearchSpace
    mean: Tensor
    std: Tensor
    given: Tensor
    previous: Tensor | None = None
    generator: torch.Generator | None = None


@dataclass(frozen=True)
class Outcome:
    """What a method learns from, each (B, N).

    ranks: the energies plus the Lagrange multiplier's share of the violations. energy: +inf where it is not finite.
    violation: None where nothing is forbidden. gradient (B, N, H, A): direction in which the ranks rise, where
    the method asked for it; it may hold values that are not finite.
    """

    ranks: Tensor
    energy: Tensor
    violation: Tensor | None = None
    gradient: Tensor | None = None


class Best:
    """The best candidate so far: first of all no violation, then the lowest energy."""

    def __init__(self, start: Start):
        batch = len(start.mean)
        self.actions = start.mean
        self.energy = start.mean.new_full((batch,), torch.inf)
        self.violation = start.mean.new_full((batch,), torch.inf)
        self.refused = torch.zeros((), dtype=torch.long, device=start.mean.device)

    def take(self, candidates: Tensor, evaluation: Evaluation) -> Evaluation:
        """Note candidates (B, N, H, A); returns their energies with +inf for what is not finite."""
        energy = evaluation.energy.detach()
        bad = ~torch.isfinite(energy)
        self.refused += bad.sum()
        energy = energy.masked_fill(bad, torch.inf)
        if evaluation.violation is None:
            violation = None
            lowest, where = energy.min(1)
            broken = torch.zeros_like(lowest)
        else:
            violation = evaluation.violation.detach().nan_to_num(torch.inf)
            allowed = energy.masked_fill(violation > 0, torch.inf)
            where = torch.where(torch.isfinite(allowed.amin(1)), allowed.argmin(1), violation.argmin(1))
            lowest, broken = (x.gather(1, where[:, None])[:, 0] for x in (energy, violation))
        better = (broken < self.violation) | ((broken == self.violation) & (lowest < self.energy))
        chosen = candidates.detach()[torch.arange(len(where), device=where.device), where]
        self.actions = torch.where(better[:, None, None], chosen, self.actions)
        self.energy = torch.where(better, lowest, self.energy)
        self.violation = torch.where(better, broken, self.violation)
        return Evaluation(energy, violation)

    def search(self, iterations: int, deadline_hit: bool) -> Search:
        return Search(self.actions, self.energy, self.violation, iterations, deadline_hit, self.refused)


State = TypeVar('State')


class Planner(ABC, Generic[State]):
    """The loop: propose candidates, evaluate them, learn from it. `State` is what a method knows during one search."""

    def __init__(self, config: PlannerConfig):
        self.config = config

    @classmethod
    def defaults(cls, iterations: int) -> Mapping[str, float]:
        """The method's own values of settings that a configuration leaves open; see `PlannerConfig`."""
        return {}

    @abstractmethod
    def begin(self, start: Start) -> State:
        """What is known before the first candidate."""

    @abstractmethod
    def propose(self, state: State, iteration: int) -> Tensor:
        """Candidates (B, N, H, A) to try next; in the first iteration `start.given` takes the place of the first."""

    @abstractmethod
    def learn(self, state: State, candidates: Tensor, outcome: Outcome) -> None:
        """Take in what the candidates (B, N, H, A), as they were tried, cost."""

    def differentiates(self, iteration: int) -> bool:
        """Whether this iteration needs the gradient of the energies."""
        return False

    def settled(self, state: State) -> bool:
        """Whether further iterations would change little; asked only where the configuration sets a tolerance."""
        return False

    def exhausted(self, state: State) -> bool:
        """Whether nothing is left to try, whatever the tolerance."""
        return False

    def plan(self, energy: EnergyFunction, space: SearchSpace, batch: int = 1, warm_start: Tensor | None = None,
             proposals: Tensor | None = None, generator: torch.Generator | None = None,
             deadline: float | None = None, previous: Tensor | None = None) -> Search:
        """Anytime search.

        warm_start: (B, H, A) the distribution's first mean. proposals: (B, P, H, A) candidates tried without noise
        (Mode-1's, for one). previous: (A,) the action in force. All candidates respect bounds and rates. deadline:
        `time.perf_counter()` after which no further iteration starts; the first one always runs.
        """
        c = self.config
        start = self._start(space, batch, warm_start, proposals, generator, previous)
        state, best = self.begin(start), Best(start)
        multiplier = start.mean.new_full((batch, 1), c.penalty)
        done, hit, spent = 0, False, 0.0
        while done < c.iterations:
            began = time.perf_counter()
            if deadline is not None and done and began + spent > deadline:
                hit = True
                break
            candidates = self.propose(state, done)
            if done == 0:
                candidates = torch.cat([start.given, candidates[:, start.given.shape[1]:]], 1)
            candidates = space.project(candidates, previous)
            evaluation, gradient = self._evaluate(energy, candidates, start, multiplier, done)
            known = best.take(candidates, evaluation)
            ranks = known.energy
            if known.violation is not None:
                ranks = ranks + multiplier * known.violation
                # dual ascent: the price rises while the candidate that looks best is one that must not be
                leading = known.violation.gather(1, ranks.argmin(1, keepdim=True))
                multiplier = (multiplier * (1 + c.penalty * (leading > 0))).clamp_max(HIGHEST_PRICE)
            self.learn(state, candidates, Outcome(ranks, known.energy, known.violation, gradient))
            done += 1
            spent = time.perf_counter() - began
            if self.exhausted(state) or c.tolerance and self.settled(state):
                break
        return best.search(done, hit)

    def _start(self, space: SearchSpace, batch: int, warm_start: Tensor | None, proposals: Tensor | None,
               generator: torch.Generator | None, previous: Tensor | None) -> Start:
        horizon = self.config.horizon
        mean = space.mean.expand(batch, horizon, -1) if warm_start is None else warm_start
        mean = space.project(mean.contiguous(), previous)
        given = mean[:, None] if proposals is None else torch.cat([mean[:, None], proposals], 1)
        return Start(space, mean, space.std.expand(batch, horizon, -1), given, previous, generator)

    def _evaluate(self, energy: EnergyFunction, candidates: Tensor, start: Start, multiplier: Tensor,
                  iteration: int) -> tuple[Evaluation, Tensor | None]:
        """The energies of candidates (B, N, H, A) and, where the method asks for it, their gradient."""
        if not self.differentiates(iteration):
            return energy(candidates), None
        # on a robot all this runs in inference mode, whose tensors cannot be differentiated; clones can
        with torch.inference_mode(False), torch.enable_grad():
            leaves, multiplier = candidates.clone().requires_grad_(), multiplier.clone()
            # they respect the rates already; through the projection, a step that a rate limit holds back pulls at the
            # step before it
            tried = leaves if start.space.max_change is None else start.space.project(leaves, start.previous)
            evaluation = energy(tried)
            price = evaluation.energy
            if evaluation.violation is not None:
                broken = evaluation.violation > 0
                # over 1 + multiplier: a high price must turn the gradient, not lengthen it, or Adam's memory of it
                # would leave nothing of the energy's own gradient once the guardrail holds
                price = (price + multiplier * evaluation.violation) / (1 + multiplier * broken)
            if not price.requires_grad:
                raise ConfigError(f'planner {self.config.method}: the energy has no gradient with respect to the '
                                  'actions: choose a planner that samples, cem or mppi for one')
            gradient, = torch.autograd.grad(price.sum(), leaves, allow_unused=True, materialize_grads=True)
        return Evaluation(evaluation.energy.detach(), evaluation.violation), gradient
