"""The actor organ: Mode-2 hierarchical planning with Mode-1 as proposal and fallback (LeCun §3.1, §4.7)."""
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
import time

import numpy as np
import torch
from torch import Tensor

from jepa_ros.actor.hierarchy import Hierarchy, HierarchyPlan
from jepa_ros.actor.impasse import Impasse, way_out
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.policy import Policy
from jepa_ros.cost.cost import Cost, CostSettings, Goal
from jepa_ros.errors import ConfigError
from jepa_ros.perception.perception import EncodedState
from jepa_ros.world_model.predictors import Memory
from jepa_ros.world_model.world_model import WorldModel

REACTIVE, PLANNED = 1, 2
MODES = ('auto', 'reactive', 'planned')


@dataclass(frozen=True)
class Decision:
    """What to do now, and the plan behind it. Actions in SI units, level 0 first."""

    action: np.ndarray                  # (A,)
    mode: int                           # REACTIVE or PLANNED
    actions: np.ndarray                 # (H, A)
    # per level below the top (n, D): what the level above foresees, the subgoal in force first
    subgoals: list[Tensor] = field(default_factory=list)
    macro_actions: list[Tensor] = field(default_factory=list)   # (H_l, A_l) per level above 0
    energies: list[float] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    latency_ms: float = 0.0
    budget_ms: float = 0.0
    deadline_hit: bool = False
    degradation: str = ''               # what was given up to be on time; empty when nothing


class Actor:
    """Acts for one robot. `configure` may be called from another thread than `act`: settings change as a whole."""

    def __init__(self, world_model: WorldModel, cost: Cost, configs: list[PlannerConfig],
                 policy: Policy | None = None, seed: int = 0):
        self._world, self._cost, self._policy = world_model, cost, policy
        self._hierarchy = Hierarchy(world_model.model, cost, configs)
        self._configs = configs
        self._seed = seed
        self._settings: tuple[CostSettings, str, float] | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the warm start and start the random sequence again: same seed, same plans."""
        self._warm: tuple[Tensor, ...] | None = None
        self._generator = torch.Generator(self._world.device).manual_seed(self._seed)
        self._quickest_ms: float | None = None
        self._impasse = Impasse()
        context = self._world.model.levels[0].context
        # (state, action) pairs before the present state, for a predictor that looks back
        self._past: deque[tuple[Tensor, Tensor]] | None = deque(maxlen=context - 1) if context > 1 else None
        self._newest: Tensor | None = None
        self._way_out: Tensor | None = None     # (n, A) in −1…1, what is left of a way out of an impasse

    def configure(self, *, goal: Goal | None, weights: Mapping[str, float] | None = None, mode: str = 'auto',
                  budget_ms: float = 50.0) -> None:
        """Set what to reach and how long a plan may take. ConfigError or CostError name what is wrong."""
        if mode not in MODES:
            raise ConfigError(f'mode {mode!r} is unknown; known: {", ".join(MODES)}')
        if not budget_ms > 0:
            raise ConfigError(f'planner budget is {budget_ms} ms: it must be positive')
        settings = self._cost.make_settings(goal, weights)
        if mode == 'reactive' and (self._policy is None or settings.goal_state is None):
            raise ConfigError('mode reactive needs a checkpoint with a policy and a goal given as a state '
                              '(image or bag)')
        self._settings = (settings, mode, budget_ms)
        self._warm, self._way_out = None, None
        self._impasse.reset()

    @torch.inference_mode()
    def act(self, state: EncodedState, previous_action: np.ndarray | None = None, delay_s: float = 0.0) -> Decision:
        """Decide from the newest state. `delay_s`: how long until the action takes effect, bridged by prediction."""
        began = time.perf_counter()
        if self._settings is None:
            raise ConfigError('the actor has no goal: configure it first')
        settings, mode, budget_ms = self._settings
        levels = [level.to(self._world.device) for level in state.levels]
        memory = self._remember(levels[0], previous_action)
        s = self._at_effect(levels[0], previous_action, delay_s, memory)
        if mode == 'reactive':
            return self._react(s, settings, began, budget_ms, '')
        if mode == 'auto' and self._quickest_ms is not None and self._quickest_ms > budget_ms:
            reason = f'quickest plan takes {self._quickest_ms:.1f} ms, budget is {budget_ms:.1f} ms: Mode-1'
            self._quickest_ms *= 0.7       # try again soon: it may have been a hiccup of the machine
            return self._react(s, settings, began, budget_ms, reason)
        if self._way_out is not None and bool(torch.isfinite(s).all()):
            return self._leave(began, budget_ms)
        plan = self._plan([s, *levels[1:]], settings, previous_action, memory, began + budget_ms / 1e3)
        if not torch.isfinite(plan.searches[0].energy[0]):
            self._warm = None
            return self._react(s, settings, began, budget_ms, 'every plan was refused (energy not finite): Mode-1')
        if self._impasse.stuck(float(plan.searches[-1].energy[0])):
            steps = self._configs[0].horizon * self._impasse.leave()
            self._way_out = way_out(s, self._world.model.levels[0].rollout, len(self._world.action_names), steps,
                                    self._generator)
            return self._leave(began, budget_ms)
        decision = self._decision(plan, began, budget_ms)
        least = sum(s.iterations for s in plan.searches) == len(plan.searches)
        if least:
            self._quickest_ms = decision.latency_ms
        return decision

    def _leave(self, began: float, budget_ms: float) -> Decision:
        """One step of the way out of an impasse; after the last one planning starts afresh."""
        actions = self._world.unscale_actions(self._way_out)
        self._way_out = self._way_out[1:] if len(self._way_out) > 1 else None
        if self._way_out is None:
            self._warm = None
        return Decision(actions[0], PLANNED, actions, latency_ms=(time.perf_counter() - began) * 1e3,
                        budget_ms=budget_ms, degradation='impasse: plans make no progress, exploring a way out')

    def _remember(self, s: Tensor, previous_action: np.ndarray | None) -> Memory | None:
        """What a predictor that looks back knows of the past, of one robot (1, …); None for one that does not."""
        if self._past is None:
            return None
        if previous_action is None:
            self._past.clear()
        elif self._newest is not None:
            self._past.append((self._newest, self._world.scale_actions(previous_action)))
        self._newest = s
        if not self._past:
            return None
        states, actions = (torch.stack(column)[None] for column in zip(*self._past))
        return self._world.model.levels[0].remember(states, actions)

    def _at_effect(self, s: Tensor, previous_action: np.ndarray | None, delay_s: float,
                   memory: Memory | None = None) -> Tensor:
        if previous_action is None or delay_s <= 0:
            return s
        share = min(1.0, delay_s / self._world.control_period_s)
        action = self._world.scale_actions(previous_action)
        ahead = self._world.model.levels[0].predict(s[None], action[None], memory=memory)[0]
        return s + share * (ahead - s)

    def _plan(self, levels: list[Tensor], settings: CostSettings, previous_action: np.ndarray | None,
              memory: Memory | None, deadline: float) -> HierarchyPlan:
        proposals = None
        if self._policy is not None and settings.goal_state is not None \
                and self._policy.chunk == self._configs[0].horizon:
            proposals = self._policy(levels[0], settings.goal_state)[None, None]
        previous = None if previous_action is None else self._world.scale_actions(previous_action)
        plan = self._hierarchy.plan([s[None] for s in levels], settings, warm_starts=self._warm, proposals=proposals,
                                    previous_action=previous, memory=memory, generator=self._generator,
                                    deadline=deadline)
        # Level 0 moves on by one step a tick; the levels above start a new period from the newest state.
        low = plan.searches[0].actions
        self._warm = (torch.cat([low[:, 1:], low[:, -1:]], 1), *(x.actions for x in plan.searches[1:]))
        return plan

    def _decision(self, plan: HierarchyPlan, began: float, budget_ms: float) -> Decision:
        actions = self._world.unscale_actions(plan.searches[0].actions[0])
        done = [search.iterations for search in plan.searches]
        short = [f'level {i}: {n} of {c.iterations} iterations' for i, (n, c) in enumerate(zip(done, self._configs))
                 if n < c.iterations]
        return Decision(
            actions[0], PLANNED, actions, [s[0].clone() for s in plan.states[1:]],
            [x.actions[0].clone() for x in plan.searches[1:]], [float(x.energy[0]) for x in plan.searches],
            [c.samples for c in self._configs], done, (time.perf_counter() - began) * 1e3, budget_ms,
            plan.deadline_hit, '; '.join(short))

    def _react(self, s: Tensor, settings: CostSettings, began: float, budget_ms: float, reason: str) -> Decision:
        """Mode-1; without a policy, a goal state or a finite state the only safe reflex is to stand still."""
        why = 'no policy for this goal' if self._policy is None or settings.goal_state is None else \
            '' if bool(torch.isfinite(s).all()) else 'the state is not finite'
        if why:
            actions = np.zeros((1, len(self._world.action_names)), np.float32)
            reason = f'{reason}; {why}: standing still'.removeprefix('; ')
        else:
            actions = self._world.unscale_actions(self._policy(s, settings.goal_state))
        latency_ms = (time.perf_counter() - began) * 1e3
        return Decision(actions[0], REACTIVE, actions, latency_ms=latency_ms, budget_ms=budget_ms, degradation=reason)
