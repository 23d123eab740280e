"""The actor organ: Mode-2 hierarchical planning with Mode-1 as proposal and fallback (LeCun §3.1, §4.7)."""
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
import time

import numpy as np
import torch
from torch import Tensor

from jepa_ros.actor.arbiter import Arbiter, Choice, Evidence
from jepa_ros.actor.decision import Decision, of_length, PLANNED, planned, REACTIVE
from jepa_ros.actor.explorer import Explorer, WHY
from jepa_ros.actor.familiar import Familiar
from jepa_ros.actor.hierarchy import Hierarchy, HierarchyPlan
from jepa_ros.actor.impasse import Impasse, way_out
from jepa_ros.actor.pace import ladder, Pace, Tick
from jepa_ros.actor.past import Past
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.policy import Policy
from jepa_ros.actor.proposals import Proposals
from jepa_ros.actor.reflex import Reflex
from jepa_ros.actor.unfamiliar import goal_warning
from jepa_ros.cost.cost import Cost, CostSettings, Goal, Region
from jepa_ros.energy.distance import squared
from jepa_ros.errors import ConfigError
from jepa_ros.perception.perception import EncodedState
from jepa_ros.world_model.predictors import Memory
from jepa_ros.world_model.world_model import WorldModel

__all__ = ['Actor', 'Decision', 'MODES', 'PLANNED', 'REACTIVE']

MODES = ('auto', 'reactive', 'planned')
HOLDING = 9.0       # goal tolerances, squared, within which who has been at the goal is still about there
CALIBRATIONS = 3    # plans of each rung that are timed before the robot moves …
CALIBRATION_S = 2.0     # … fewer of a large model: no further round begins after so long


class Actor:
    """Acts for one robot. `configure` may be called from another thread than `act`: settings change as a whole."""

    def __init__(self, world_model: WorldModel, cost: Cost, configs: Sequence[PlannerConfig],
                 policy: Policy | None = None, seed: int = 0, goal_tolerance: float = 0.0,
                 arbiter: Arbiter | None = None, explorer: Explorer | None = None):
        """goal_tolerance: squared distance from a goal state within which the robot is there.

        `arbiter` lets Mode-1 act alone in mode `auto`; None where the policy's uncertainty is unknown. `explorer` leads
        Mode-1 alone, mode `reactive`, out of where it gets stuck; None leaves it there.
        """
        self._world, self._cost, self._tolerance = world_model, cost, goal_tolerance
        self._policy = None if policy is None else Reflex(policy, world_model.model.levels[0])
        self._arbiter, self._explorer = arbiter, explorer
        self._rungs = ladder(configs)
        self._hierarchies = [Hierarchy(world_model.model, cost, rung.configs, world_model.max_change,
                                       world_model.slowed) for rung in self._rungs]
        self.pace = Pace(len(self._rungs))
        self._seed = seed
        self._settings: tuple[CostSettings, str, float] | None = None
        self._taught = False        # whether Mode-1 and critic learned what is asked
        self.goal_warning = ''      # what is odd about the goal; empty when nothing
        self._familiar = Familiar(cost, world_model.seen)
        self._impasse = Impasse()
        self.reset()

    def reset(self) -> None:
        """Forget the warm start and start the random sequence again: same seed, same plans."""
        self._generator = torch.Generator(self._world.device).manual_seed(self._seed)
        self._past = Past(self._world)
        self._familiar.reset()
        self._begin()

    @property
    def heeds_surprise(self) -> bool:
        """Whether what is noticed can make a difference."""
        return self._arbiter is not None

    def notice(self, surprise: float) -> None:
        """The surprise of the newest percept, over its mean in training; NaN: unknown. Any thread may say it."""
        if self._arbiter is not None:
            self._arbiter.surprise = surprise

    def _begin(self) -> None:
        """Nothing is known yet of the way to the goal."""
        self._forget()
        self._way_out: Tensor | None = None     # (n, A) in −1…1, what is left of a way out of an impasse
        self._arrived = False       # has been at the goal since it was set
        for watcher in (self._impasse, self._arbiter, self._explorer):
            if watcher is not None:
                watcher.reset()

    def _forget(self) -> None:
        # Of the tick before. Both know what they were made for: a new configuration may come while a plan is under way.
        self._warm: tuple[CostSettings, tuple[Tensor, ...]] | None = None
        self._last: tuple[CostSettings, int, HierarchyPlan] | None = None     # the number is that of the rung

    def configure(self, *, goal: Goal | None, weights: Mapping[str, float] | None = None, mode: str = 'auto',
                  budget_ms: float = 50.0, regions: Sequence[Region] = (), discomfort: Sequence[Region] = (),
                  program: Tensor | None = None, remembered: Tensor | None = None,
                  modulation: Mapping[str, float] | None = None, speed: float = 1.0) -> None:
        """Set what to reach, what to keep out of and how long a plan may take; the rest as in `Cost.make_settings`.

        ConfigError or CostError name what is wrong; the old settings then stay.
        """
        if mode not in MODES:
            raise ConfigError(f'mode {mode!r} is unknown; known: {", ".join(MODES)}')
        if not budget_ms > 0:
            raise ConfigError(f'planner budget is {budget_ms} ms: it must be positive')
        settings = self._cost.make_settings(goal, weights, regions, discomfort=discomfort, program=program,
                                            remembered=remembered, modulation=modulation, speed=speed)
        if mode == 'reactive' and (self._policy is None or settings.goal_state is None):
            raise ConfigError('mode reactive needs a checkpoint with a policy and a goal given as a state '
                              '(image or bag)')
        self.goal_warning = goal_warning(self._world, goal)
        self._taught = self._policy is not None and self._policy.taught(settings, self._cost.default_weights())
        self._settings = (settings, mode, budget_ms)
        self._begin()

    @torch.inference_mode()
    def calibrate(self, state: EncodedState) -> None:
        """Learn how long the plans of each rung take, from any state; leaves no other trace."""
        levels = [level.to(self._world.device)[None] for level in state.levels[:self._world.levels]]
        # where the robot is may be where no goal can be: it is not asked for, just planned for
        settings = replace(self._cost.make_settings(None), goal_levels=tuple(level[0] for level in levels))
        generator = torch.Generator(self._world.device).manual_seed(self._seed)
        until_s = time.perf_counter() + CALIBRATION_S
        for done in range(CALIBRATIONS):
            if done and time.perf_counter() > until_s:
                return
            for number, hierarchy in enumerate(self._hierarchies):
                began = time.perf_counter()
                plan = hierarchy.plan(levels, settings, generator=generator)
                if plan.sound:      # asking waits for the device
                    self.pace.calibrate(number, (time.perf_counter() - began) * 1e3)

    @torch.inference_mode()
    def act(self, state: EncodedState, previous_action: np.ndarray | None = None, delay_s: float = 0.0,
            since_s: float | None = None) -> Decision:
        """Decide from the newest state. `delay_s`: how long until the action takes effect, bridged by prediction.

        since_s: `time.perf_counter()` when the state was there, from which the budget counts; None: now.
        """
        if self._settings is None:
            raise ConfigError('the actor has no goal: configure it first')
        settings, mode, budget_ms = self._settings
        tick = Tick(budget_ms, time.perf_counter() if since_s is None else since_s)
        levels = [level.to(self._world.device) for level in state.levels]
        settings = self._familiar.settings(settings, levels[0])
        memory = self._past.see(levels[0], previous_action, settings.task)
        s = self._past.at_effect(levels[0], previous_action, delay_s, memory, settings.task)
        if mode == 'reactive':
            way = None if self._explorer is None or not bool(torch.isfinite(s).all()) else self._explorer.lead(
                s, settings.goal_state, self._there(s, settings), self._generator)
            return self._react(s, settings, memory, tick, '' if way is None else WHY, way)
        choice, chunk = self._choose(s, settings, memory) if mode == 'auto' else (None, None)
        if choice is not None and choice.reactive:
            self._forget()
            actions = self._world.unscale_actions(chunk)
            return Decision(actions[0], REACTIVE, actions, latency_ms=tick.latency_ms, budget_ms=tick.budget_ms,
                            why=choice.why)
        decision = self._think(s, levels, settings, mode, previous_action, memory, tick)
        return decision if choice is None else replace(decision, why=choice.why)

    def _choose(self, s: Tensor, settings: CostSettings, memory: Memory | None) -> tuple[Choice | None, Tensor | None]:
        """Whether Mode-1 is enough, and its chunk (H, A) in −1…1; None where there is nothing to choose."""
        if self._arbiter is None or not self._taught or self._way_out is not None \
                or not bool(torch.isfinite(s).all()):
            return None, None
        chunk, uncertainty = self._policy.judged(s, settings.goal_state, settings.task, memory)
        chunk = self._world.slowed(chunk, settings.speed)
        now = ahead = torch.inf
        if uncertainty <= self._arbiter.threshold:      # else the outcome is known without looking ahead
            if self._hierarchies[0].violation(s, settings, chunk, memory, self._generator) > 0:
                return self._arbiter.object('Mode-1 breaks a guardrail'), None
            end = self._rollout(settings, memory)(s[None], chunk[None])[0, -1]
            now, ahead = (float(self._arbiter.energy(each, settings.goal_state, settings.task)) for each in (s, end))
        there = self._there(s, settings)
        return self._arbiter.choose(Evidence(uncertainty, now, ahead, there)), chunk

    def _rollout(self, settings: CostSettings, memory: Memory | None):
        """(s (1, D), actions (1, H, A)) -> states (1, H, D) of level 0."""
        return partial(self._world.model.levels[0].rollout, memory=memory, task=settings.task)

    def _think(self, s: Tensor, levels: list[Tensor], settings: CostSettings, mode: str,
               previous_action: np.ndarray | None, memory: Memory | None, tick: Tick) -> Decision:
        """Mode-2, on the dearest rung that fits the budget; Mode-1 where none does, or no plan is sound."""
        deadline = self.pace.deadline(tick)
        rung = self.pace.choose((deadline - time.perf_counter()) * 1e3)
        if rung is None and mode == 'auto':
            least_ms = self.pace.expected_ms(len(self._rungs) - 1)
            self.pace.rested()
            self._last = None       # its age counts ticks
            return self._react(s, settings, memory, tick,
                               f'quickest plan takes {least_ms:.1f} ms, budget is {tick.budget_ms:.1f} ms: Mode-1')
        if self._way_out is not None and bool(torch.isfinite(s).all()):
            return self._leave(s, settings, memory, tick)
        rung = len(self._rungs) - 1 if rung is None else rung
        rung, plan = self._plan_in_memory(rung, [s, *levels[1:]], settings, previous_action, memory, deadline)
        if not plan.sound:
            self._forget()
            self.pace.took(rung, tick.thought_ms)
            why = 'every plan was refused (energy not finite)' if not torch.isfinite(plan.searches[0].energy[0]) else \
                'every plan breaks a guardrail'
            return self._react(s, settings, memory, tick, f'{why}: Mode-1')
        if plan.ages[-1] == 0 and not self._there(s, settings) and self._impasse.stuck(
                float(plan.searches[-1].energy[0])):
            steps = self._rungs[0].configs[0].horizon * self._impasse.leave()
            knows = self._taught and not (self._arbiter and self._arbiter.surprised)
            promises = self._explorer.promises(settings.goal_state) if self._explorer and knows else None
            way = way_out(s, self._rollout(settings, None), len(self._world.action_names), steps, self._generator,
                          promises)
            self._way_out = self._world.slowed(way, settings.speed)
            return self._leave(s, settings, memory, tick)
        decision = self._decision(rung, plan, tick)
        self.pace.ended((time.perf_counter() - deadline) * 1e3)
        return decision

    def _there(self, s: Tensor, settings: CostSettings) -> bool:
        """Who is at the goal makes no progress, and need not; who was there before holds the place, and is pushed."""
        if settings.goal_state is None:
            return False
        apart = float(squared(s, settings.goal_state))
        if apart <= self._tolerance:
            self._arrived = True
            self._impasse.reset()       # what was hard on the way here is no measure of what comes
        return apart <= self._tolerance * (HOLDING if self._arrived else 1.0)

    def _plan_in_memory(self, rung: int, *inputs) -> tuple[int, HierarchyPlan]:
        """The plan, and the rung it was made on: where memory does not suffice, a cheaper one from now on."""
        while True:
            try:
                return rung, self._plan(rung, *inputs)
            except torch.OutOfMemoryError:
                if rung == len(self._rungs) - 1:
                    raise
                rung += 1
                self.pace.start_at(rung)

    def _leave(self, s: Tensor, settings: CostSettings, memory: Memory | None, tick: Tick) -> Decision:
        """One step of the way out of an impasse; after the last one planning starts afresh."""
        ahead, left = self._way_out, self._way_out[1:]
        self._way_out = left if len(left) else None
        if self._way_out is None:
            self._forget()
        if self._hierarchies[0].violation(s, settings, ahead, memory, self._generator) > 0:
            self._way_out = None
            self._forget()
            return self._react(s, settings, memory, tick, 'the way out of an impasse breaks a guardrail')
        actions = self._world.unscale_actions(ahead)
        return Decision(actions[0], PLANNED, actions, latency_ms=tick.latency_ms, budget_ms=tick.budget_ms,
                        degradation='impasse: plans make no progress, exploring a way out')

    def _plan(self, rung: int, levels: list[Tensor], settings: CostSettings, previous_action: np.ndarray | None,
              memory: Memory | None, deadline: float) -> HierarchyPlan:
        configs = self._rungs[rung].configs
        proposals = None if not self._taught else Proposals(
            self._policy, self._world.model, levels, settings.goal_state, settings.task, memory,
            partial(self._world.slowed, speed=settings.speed))
        previous = None if previous_action is None else self._world.scale_actions(previous_action)
        warm = None if self._warm is None or self._warm[0] is not settings else tuple(
            of_length(actions, config.horizon) for actions, config in zip(self._warm[1], configs))
        last = None if self._last is None or self._last[0] is not settings or self._last[1] != rung else self._last[2]
        plan = self._hierarchies[rung].plan(
            [s[None] for s in levels], settings, warm_starts=warm, proposals=proposals, previous_action=previous,
            memory=memory, above=self._past.above, generator=self._generator, deadline=deadline, last=last)
        # Level 0 moves on by one step a tick; the levels above start a new period from the newest state.
        low = plan.searches[0].actions
        self._warm = settings, (torch.cat([low[:, 1:], low[:, -1:]], 1), *(x.actions for x in plan.searches[1:]))
        self._last = settings, rung, plan
        return plan

    def _decision(self, rung: int, plan: HierarchyPlan, tick: Tick) -> Decision:
        made = planned(self._world.unscale_actions(plan.searches[0].actions[0]), plan, self._rungs[rung], tick)
        if not any(plan.ages):      # a plan of which levels were kept says nothing about whole ones
            # of one that was cut short, what it would have taken
            asked = sum(c.iterations for c in self._rungs[rung].configs)
            self.pace.took(rung, tick.thought_ms * (asked / sum(made.iterations) if plan.deadline_hit else 1))
        return made

    def _react(self, s: Tensor, settings: CostSettings, memory: Memory | None, tick: Tick,
               reason: str, way: Tensor | None = None) -> Decision:
        """Mode-1, or the `way` (H, A) that leads it out of an impasse.

        Where it cannot act, or breaks a guardrail, the only safe reflex is to stand still.
        """
        why = 'no policy for this goal' if self._policy is None or settings.goal_state is None else \
            '' if bool(torch.isfinite(s).all()) else 'the state is not finite'
        if not why:
            chunk = self._policy(s, settings.goal_state, settings.task, memory) if way is None else way
            chunk = self._world.slowed(chunk, settings.speed)
            broken = self._hierarchies[0].violation(s, settings, chunk, memory, self._generator)
            why = 'Mode-1 breaks a guardrail' if broken > 0 else ''
        if why:
            actions = np.zeros((1, len(self._world.action_names)), np.float32)
            reason = f'{reason}; {why}: standing still'.removeprefix('; ')
        else:
            actions = self._world.unscale_actions(chunk)
        return Decision(actions[0], REACTIVE, actions, latency_ms=tick.latency_ms, budget_ms=tick.budget_ms,
                        degradation=reason)
