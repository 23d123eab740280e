"""Hierarchical Mode-2 planning, top down (LeCun §4.7, Fig. 16).

The top level minimises the cost over macro-actions. Its first predicted state becomes the subgoal of the level
below, which pays the distance to it (plus what its actions cost), and so on down to the robot's own actions. A level
above may keep its plan for some ticks; at the end gradients may refine the plans of all levels together. Latents are
taken at their most probable value unless a level asks for several scenarios (`risk.py`).
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
import time

import torch
from torch import Tensor

from jepa_ros.actor.coarse import CoarseToFine
from jepa_ros.actor.joint import refine
from jepa_ros.actor.level_energy import LevelEnergy
from jepa_ros.actor.planners import Planner, PlannerConfig, PLANNERS, Search, SearchSpace
from jepa_ros.actor.risk import Scenarios
from jepa_ros.cost.cost import Cost, CostSettings
from jepa_ros.cost.intrinsic import Bounds
from jepa_ros.energy.distance import squared
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.numerics import Numerics
from jepa_ros.world_model.predictors import Memory

# Share of the remaining budget a level may use before it must leave the rest to those below.
LEVEL_SHARE = 0.6
# A subgoal this much further away than when it was set is not being reached: plan anew above.
RISE = 1.25
MOST_CHOICES = 1024     # actions of a tree search: finer grids are refused by leaving them out


@dataclass(frozen=True)
class HierarchyPlan:
    """Plans of all levels, level 0 first."""

    searches: tuple[Search, ...]            # actions (B, H_l, A_l) and energies (B,)
    states: tuple[Tensor, ...]              # predicted states (B, H_l, D) of each plan
    subgoals: tuple[Tensor, ...]            # (B, D) asked of each level below the top
    gaps: tuple[Tensor, ...] = ()           # (B,) distance of each subgoal when it was set
    ages: tuple[int, ...] = ()              # control ticks since each level planned

    @property
    def deadline_hit(self) -> bool:
        return any(s.deadline_hit for s in self.searches)

    @property
    def sound(self) -> bool:
        """Whether what level 0 is about to do has a finite energy and breaks no guardrail, for all problems."""
        return bool(self.searches[0].sound.all())


class Hierarchy:
    """Plans with as many of the model's levels, from the bottom, as there are planner configurations."""

    def __init__(self, model: HJEPA, cost: Cost, configs: Sequence[PlannerConfig], max_change: Tensor | None = None,
                 slowed: Callable[[Tensor, float], Tensor] = torch.mul):
        """`max_change` (A,): most that the robot's actions may change in a control step, in −1…1; None: no limit.
        slowed: (actions, speed) -> actions at that share of the robot's speed (`WorldModel.slowed`).
        """
        self._model, self._cost, self._max_change, self._slowed = model, cost, max_change, slowed
        self.planners: list[Planner] = [PLANNERS.get(c.method)(c) for c in configs]
        self._spaces = [self._space(level, config) for level, config in enumerate(configs)]
        self._gradients = any(c.joint or any(p.differentiates(i) for i in range(c.iterations))
                              for p, c in zip(self.planners, configs))

    def _space(self, level: int, config: PlannerConfig) -> SearchSpace:
        e = self._model.levels[level].action_encoder
        if level == 0:
            one = torch.ones_like(e.low)
            return SearchSpace(-one, one, 0 * one, 0.7 * one, _grid(config.bins, one), self._change(config, one))
        # evenly spread over what training did: the same macro-actions for the same model
        drawn = e.sample((config.bins - 1,), torch.Generator(e.low.device).manual_seed(0))
        return SearchSpace(e.low, e.high, e.prior_mean, e.prior_std, torch.cat([e.prior_mean[None], drawn]))

    def _within(self, level: int, speed: float) -> SearchSpace:
        """The space of a level at a share of the robot's speed. Those above plan as ever: they say where to."""
        space = self._spaces[level]
        if level or speed == 1:
            return space
        low, high, mean = (self._slowed(actions, speed) for actions in (space.low, space.high, space.mean))
        choices = None if space.choices is None else self._slowed(space.choices, speed)
        return replace(space, low=low, high=high, mean=mean, std=speed * space.std, choices=choices)

    def _change(self, config: PlannerConfig, one: Tensor) -> Tensor | None:
        limits = [config.max_change * one] if config.max_change else []
        limits += [] if self._max_change is None else [self._max_change.to(one)]
        return torch.stack(limits).amin(0) if limits else None

    def plan(self, s: Sequence[Tensor], settings: CostSettings, *, warm_starts: tuple[Tensor, ...] | None = None,
             proposals: Callable[[int, PlannerConfig], Tensor | None] | None = None,
             previous_action: Tensor | None = None, memory: Memory | None = None,
             above: Sequence[Memory | None] = (), generator: torch.Generator | None = None,
             deadline: float | None = None, last: HierarchyPlan | None = None) -> HierarchyPlan:
        """s: states (B, D_l) of all levels; warm_starts: last plan's actions per level; proposals: asked for
        candidates (B, P, H_l, A_l) or None by the number and settings of each level that searches; memory, what level
        0's predictor remembers of the past, and `above` those of the levels above it, which may be left out. last: the
        plan of the tick before, for the same settings, of which upper levels may keep theirs (`replan_every`).
        """
        memories = (memory, *above, *[None] * len(self.planners))[:len(self.planners)]
        if self._gradients:
            s, settings, memories, previous_action = _plain((tuple(s), settings, memories, previous_action))
        problems: list[LevelEnergy] = []
        levels: list[tuple[Search, Tensor, int]] = []       # of each level, top first: search, states, age
        subgoal: Tensor | None = None
        for level in reversed(range(len(self.planners))):
            problem = self._problem(level, s[level], settings, subgoal, previous_action, memories[level],
                                    generator)
            problems.insert(0, problem)
            if last is not None and self._keeps(level, s, last, levels):
                levels.append((last.searches[level], last.states[level], last.ages[level] + 1))
            else:
                search = self._search(
                    problem, len(s[level]), warm_starts[level] if warm_starts else None,
                    proposals(level, self.planners[level].config) if proposals else None, generator,
                    self._level_deadline(level, deadline), previous_action if level == 0 else None)
                levels.append((search, problem.rollout(search.actions[:, None])[:, 0], 0))
            subgoal = levels[-1][1][:, 0]
        searches, states, ages = (tuple(reversed(column)) for column in zip(*levels))
        steps = self.planners[0].config.joint
        if steps and (deadline is None or time.perf_counter() < deadline):
            new = ages.count(0)     # the levels above keep their plans
            spaces = [self._within(level, settings.speed) for level in range(new)]
            better, moved = refine(problems[:new], spaces, searches[:new], states[:new], steps,
                                   self.planners[0].config.learning_rate, deadline)
            searches, states = (*better, *searches[new:]), (*moved, *states[new:])
        subgoals = tuple(x[:, 0] for x in states[1:])
        gaps = tuple(self._gap(level, s, subgoal) if ages[level] == 0 else last.gaps[level - 1]
                     for level, subgoal in enumerate(subgoals, 1))
        return HierarchyPlan(searches, states, subgoals, gaps, ages)

    def _search(self, problem: LevelEnergy, *how) -> Search:
        """The plan of one level; `how` as in `Planner.plan`."""
        planner, space = self.planners[problem.level], self._within(problem.level, problem.settings.speed)
        low = Numerics(planner.config.precision)
        if self._gradients or problem.scenarios or low.dtype(problem.s.device) == torch.float32:
            return planner.plan(problem, space, *how)
        energy = CoarseToFine(replace(problem, numerics=low), problem, planner.config.iterations)
        return energy.judged(planner.plan(energy, space, *how))

    def violation(self, s: Tensor, settings: CostSettings, actions: Tensor, memory: Memory | None = None,
                  generator: torch.Generator | None = None) -> float:
        """How far level-0 actions (H, A) from s (D,) break guardrails; 0 where nothing is forbidden, inf if unknown."""
        if not self._cost.forbids(settings):
            return 0.0
        problem = self._problem(0, s[None], settings, None, None, memory, generator)
        found = problem(actions[None, None]).violation
        return 0.0 if found is None else float(found.nan_to_num(torch.inf))

    def _problem(self, level: int, s: Tensor, settings: CostSettings, subgoal: Tensor | None,
                 previous_action: Tensor | None, memory: Memory | None,
                 generator: torch.Generator | None) -> LevelEnergy:
        config, low = self.planners[level].config, level == 0
        scenarios = Scenarios(self._model.levels[level], config.scenarios, generator) if config.scenarios else None
        return LevelEnergy(self._model, self._cost, level, config, s, settings, subgoal,
                           previous_action if low else None, memory, scenarios)

    def _gap(self, level: int, s: Sequence[Tensor], subgoal: Tensor) -> Tensor:
        """(B,) how far the present state of `level` is from the subgoal that it sets below."""
        return squared(s[level], subgoal)

    def _keeps(self, level: int, s: Sequence[Tensor], last: HierarchyPlan,
               above: list[tuple[Search, Tensor, int]]) -> bool:
        """Whether the plan of a level above 0 still serves: young enough, its subgoal neither reached nor lost."""
        if not level or last.ages[level] + 1 >= self.planners[level].config.replan_every:
            return False
        if above and above[-1][2] == 0:     # the level above asks for something new
            return False
        gap = self._gap(level, s, last.subgoals[level - 1])
        reached = gap <= self._model.levels[level].typical_error
        return not bool((reached | (gap > RISE * last.gaps[level - 1]) | ~last.searches[level].sound).any())

    def _level_deadline(self, level: int, deadline: float | None) -> float | None:
        if deadline is None or level == 0:
            return deadline
        now = time.perf_counter()
        return now + LEVEL_SHARE * (deadline - now)


def _grid(bins: int, one: Tensor) -> Tensor | None:
    """All combinations (C, A) of `bins` values of each action in −1…1; None where they are too many for a tree."""
    if bins ** len(one) > MOST_CHOICES:
        return None
    values = torch.linspace(-1, 1, bins).tolist()
    return torch.tensor(list(product(values, repeat=len(one)))).to(one)


def _plain(value):
    """The same nest of tensors as ones that gradients may go through, even if made under inference mode."""
    if isinstance(value, Tensor):
        with torch.inference_mode(False):
            return value.clone()
    if isinstance(value, tuple):
        return tuple(_plain(each) for each in value)
    if isinstance(value, (CostSettings, Bounds)):
        return replace(value, **{field.name: _plain(getattr(value, field.name)) for field in fields(value)})
    return value
