"""Hierarchical Mode-2 planning, top down (LeCun §4.7, Fig. 16).

The top level minimises the cost over macro-actions. Its first predicted state becomes the subgoal of the level
below, which pays the distance to it (plus what its actions cost), and so on down to the robot's own actions. Latents
are taken at their most probable value.
"""
from collections.abc import Sequence
from dataclasses import dataclass
import time

import torch
from torch import Tensor

from jepa_ros.actor.planners import EnergyFunction, Evaluation, PlannerConfig, PLANNERS, Search, SearchSpace
from jepa_ros.cost.cost import Cost, CostSettings
from jepa_ros.energy.distance import squared
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.predictors import expand_memory, Memory

# Share of the remaining budget a level may use before it must leave the rest to those below.
LEVEL_SHARE = 0.6


@dataclass(frozen=True)
class HierarchyPlan:
    """Plans of all levels, level 0 first."""

    searches: tuple[Search, ...]            # actions (B, H_l, A_l) and energies (B,)
    states: tuple[Tensor, ...]              # predicted states (B, H_l, D) of each plan
    subgoals: tuple[Tensor, ...]            # (B, D) asked of each level below the top

    @property
    def deadline_hit(self) -> bool:
        return any(s.deadline_hit for s in self.searches)


class Hierarchy:
    """Plans with as many of the model's levels, from the bottom, as there are planner configurations."""

    def __init__(self, model: HJEPA, cost: Cost, configs: list[PlannerConfig]):
        self._model, self._cost = model, cost
        self.planners = [PLANNERS.get(c.method)(c) for c in configs]
        self._spaces = [self._space(level) for level in range(len(configs))]

    def _space(self, level: int) -> SearchSpace:
        e = self._model.levels[level].action_encoder
        if level == 0:
            one = torch.ones_like(e.low)
            return SearchSpace(-one, one, 0 * one, 0.7 * one)
        return SearchSpace(e.low, e.high, e.prior_mean, e.prior_std)

    def plan(self, s: Sequence[Tensor], settings: CostSettings, *, warm_starts: tuple[Tensor, ...] | None = None,
             proposals: Tensor | None = None, previous_action: Tensor | None = None, memory: Memory | None = None,
             generator: torch.Generator | None = None, deadline: float | None = None) -> HierarchyPlan:
        """s: states (B, D_l) of all levels; warm_starts: last plan's actions per level; proposals (B, P, H_0, A) and
        memory, what the predictor of level 0 remembers of the past, for level 0.
        """
        searches: list[Search] = []
        states: list[Tensor] = []
        subgoals: list[Tensor] = []
        for level in reversed(range(len(self.planners))):
            past = memory if level == 0 else None
            energy = self._energy(level, s[level], settings, subgoals[-1] if subgoals else None, previous_action, past)
            search = self.planners[level].plan(
                energy, self._spaces[level], len(s[level]), warm_starts[level] if warm_starts else None,
                proposals if level == 0 else None, generator, self._level_deadline(level, deadline))
            searches.append(search)
            states.append(self._model.levels[level].rollout(s[level], search.actions, memory=past))
            if level:
                subgoals.append(states[-1][:, 0])
        return HierarchyPlan(tuple(reversed(searches)), tuple(reversed(states)), tuple(reversed(subgoals)))

    def _energy(self, level: int, s: Tensor, settings: CostSettings, subgoal: Tensor | None,
                previous_action: Tensor | None, memory: Memory | None) -> EnergyFunction:
        """The cost at the top; below, the distance to the subgoal (B, D) and what the actions cost."""
        jepa, strangeness = self._model.levels[level], self.planners[level].config.strangeness
        if subgoal is not None:
            settings = self._cost.action_settings(settings)

        def energy(candidates: Tensor) -> Evaluation:
            count = candidates.shape[1]
            rollout = jepa.rollout(s[:, None].expand(-1, count, -1), candidates, memory=expand_memory(memory, count))
            actions, previous = (candidates, previous_action) if level == 0 else (None, None)
            total = self._cost.energy(rollout, actions, settings, previous, level)
            if level and strangeness:       # HWM: where macro-actions are unlike those of training, so are predictions
                total = total + strangeness * jepa.action_encoder.strangeness(candidates).sum(-1)
            if subgoal is None:
                return Evaluation(total)
            return Evaluation(total + squared(self._above(level, s, rollout), subgoal[:, None, None]).sum(-1))

        return energy

    def _above(self, level: int, s: Tensor, rollout: Tensor) -> Tensor:
        """What the level above makes of a rollout (B, N, H, D_l) from s (B, D_l), step by step (B, N, H, D_{l+1}).

        Enc_{l+1} sees the states of one period; those before the first are taken to have been s (LeCun Fig. 16).
        """
        n = self._model.windows[level + 1]
        if n == 1:
            return rollout
        before = s[:, None, None].expand(-1, rollout.shape[1], n - 1, -1)
        windows = torch.cat([before, rollout], 2).unfold(2, n, 1).transpose(-1, -2)    # (B, N, H, n, D_l)
        return self._model.pool(level + 1, windows)

    def _level_deadline(self, level: int, deadline: float | None) -> float | None:
        if deadline is None or level == 0:
            return deadline
        now = time.perf_counter()
        return now + LEVEL_SHARE * (deadline - now)
