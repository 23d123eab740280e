"""The cost organ: C(s) = Σ u_i IC_i(s) + Σ v_j TC_j(s) (LeCun §3.2, Fig. 6). The planner and the cost node use it."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import cast

import torch
from torch import nn, Tensor

from jepa_ros.cost.context import Context, Goal, Program, Region, Remembered
from jepa_ros.cost.contradictions import refuse
from jepa_ros.cost.critic import Critic
from jepa_ros.cost.intrinsic import registered
from jepa_ros.cost.settings import CostSettings, CRITIC, Making
from jepa_ros.robot.drives import Drives
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.jepa import JEPA

__all__ = ['Cost', 'CostSettings', 'EnergyReport', 'Goal', 'Region', 'TermValue']


@dataclass(frozen=True)
class TermValue:
    name: str
    intrinsic: bool
    guardrail: bool
    weight: float
    value: float            # unweighted, summed over the steps
    per_step: Tensor        # (T,)


@dataclass(frozen=True)
class EnergyReport:
    terms: tuple[TermValue, ...]
    total: float            # Σ weight · value


class Cost:
    """Energies of states and plans under the current configuration."""

    def __init__(self, model: HJEPA, readout_names: list[str], critic: Critic | None = None,
                 drives: Drives | None = None):
        """`drives` of the robot's contract: what fears and hunger look at. CostError for readouts the model lacks."""
        self._model, self._readout_names, self._critic = model, readout_names, critic
        self._terms = MappingProxyType(registered())
        self._making = Making(model, readout_names)
        self._drives, self._felt = drives, MappingProxyType(self._making.drives(drives))
        self.settings = CostSettings(self.default_weights())

    @property
    def term_names(self) -> list[str]:
        return [*self._terms, *([CRITIC] if self._critic is not None else [])]

    def default_weights(self) -> dict[str, float]:
        weights = {name: term.weight for name, term in self._terms.items()}
        return weights | ({CRITIC: 0.0} if self._critic is not None else {})

    def configure(self, *, goal: Goal | None, weights: Mapping[str, float] | None = None,
                  regions: Sequence[Region] = (), discomfort: Sequence[Region] = (), program: Tensor | None = None,
                  remembered: Tensor | None = None, modulation: Mapping[str, float] | None = None,
                  speed: float = 1.0) -> None:
        """Put settings into force, see `make_settings`. CostError names what is wrong; the old settings then stay."""
        self.settings = self.make_settings(goal, weights, regions, discomfort=discomfort, program=program,
                                           remembered=remembered, modulation=modulation, speed=speed)

    def make_settings(self, goal: Goal | None, weights: Mapping[str, float] | None = None,
                      regions: Sequence[Region] = (), *, discomfort: Sequence[Region] = (),
                      program: Tensor | None = None, remembered: Tensor | None = None,
                      modulation: Mapping[str, float] | None = None, speed: float = 1.0) -> CostSettings:
        """Checked settings, without putting them into force; terms not named in `weights` get their default.

        regions: no plan may enter them; discomfort: regions that are only unpleasant; program: states (T, D) of a
        demonstration to follow, one per control step; remembered: states (M, D) that curiosity finds old; modulation:
        the task token by name, for predictor, critic and policy; speed: share of the range of each action that may be
        used.
        """
        making = self._making
        settings = CostSettings(
            making.weights(weights, self.default_weights()), making.goal_levels(goal), making.goal_readouts(goal),
            making.bounds(regions), making.bounds(discomfort, 'of discomfort'), making.program(program),
            *making.remembered(remembered), making.task(modulation), speed)
        asked = {} if goal is None else {name: float(value) for name, value in goal.readouts.items()}
        spread = dict(zip(self._readout_names, self._model.readout_std.tolist()))
        judged = asked or regions or self._drives
        refuse(asked, self._read(settings.goal_state) if judged else (), spread, regions, self._drives)
        return settings

    @torch.no_grad()
    def _read(self, goal_state: Tensor | None) -> list[dict[str, float]]:
        """What each goal state (D,) or (B, D) reads out."""
        if goal_state is None:
            return []
        return [dict(zip(self._readout_names, values))
                for values in self._model.readouts(goal_state).reshape(-1, len(self._readout_names)).tolist()]

    def forbids(self, settings: CostSettings, level: int = 0) -> bool:
        """Whether guardrails forbid any states of the level; what they forbid of actions alone is not meant."""
        some = (settings.bounds, self._felt.get('contacts'), self._felt.get('ranges'))
        return any(part is not None for part in some) and self._model.readout_of(level) is not None

    def depth(self, states: Tensor, settings: CostSettings, level: int = 0) -> Tensor | None:
        """How deep states (..., T, D_l) are in each thing that guardrails forbid, ≥ 0, (..., T, K); None: nothing is.

        What bounds of the actions alone forbid is no matter of states: planners keep candidates within them.
        """
        if not self.forbids(settings, level):
            return None
        context = self._context(settings, None, level)
        terms = [term for term in self._terms.values() if term.constraint is not None and term.applies(context)]
        return torch.cat([term.constraint(states, None, context) for term in terms], -1)

    def energy(self, states: Tensor, actions: Tensor | None, settings: CostSettings | None = None,
               previous_action: Tensor | None = None, level: int = 0, start: Tensor | None = None,
               moves: Tensor | None = None) -> Tensor:
        """states (..., T, D_l) of `level`, actions (..., T, A) in −1…1 or None -> weighted energy over all steps (...).

        start: the state before the first step, (D_l,) or (B, D_l); moves (..., T, A_l): actions or macro-actions that
        led to the states, by default the actions. Differentiable in states and actions. Terms of weight 0 are not
        computed. The critic knows the states of level 0 only, and says nothing about a level that has a state space of
        its own.
        """
        settings = settings or self.settings
        context = self._context(settings, previous_action, level, start, actions if moves is None else moves)
        total = states.new_zeros(states.shape[:-2])
        for name, term in self._terms.items():
            if settings.weights[name] > 0 and term.applies(context):
                total = total + settings.weights[name] * term.function(states, actions, context).sum(-1)
        known = not any(each.pooled for each in self._model.config.levels[1:level + 1])
        if known and settings.weights.get(CRITIC, 0) > 0 and settings.goal_state is not None:
            total = total + settings.weights[CRITIC] * self._beyond(states, context, settings.task)
        return total

    def _beyond(self, states: Tensor, context: Context, task: Tensor | None) -> Tensor:
        """What comes after the horizon, as if it lasted one more horizon, (...) (LeCun Fig. 7)."""
        goal = context.goal_state
        goal = goal if goal.dim() == 1 else goal[..., 0, :]
        return self._critic(states[..., -1, :], goal, task) * states.shape[-2]

    def action_settings(self, settings: CostSettings) -> CostSettings:
        """The same without what is to be reached or followed: what a lower level pays besides its subgoal."""
        return replace(settings, goal_levels=(), goal_readouts=None, program=())

    @torch.no_grad()
    def evaluate(self, states: Tensor, actions: Tensor | None = None, start: Tensor | None = None) -> EnergyReport:
        """Term by term: states (T, D) of level 0, actions (T, A) in −1…1 or None, the state before the first (D,)."""
        settings = self.settings
        context = self._context(settings, None, 0, start, actions)
        terms = []
        for name, term in self._terms.items():
            weight = settings.weights[name]
            spared = not term.applies(context) or term.costly and not weight
            per_step = states.new_zeros(states.shape[:-1]) if spared else term.function(states, actions, context)
            terms.append(TermValue(name, True, term.guardrail, weight, float(per_step.sum()), per_step))
        if self._critic is not None:
            per_step = states.new_zeros(states.shape[:-1])
            if settings.goal_state is not None:
                per_step[-1] = self._beyond(states, context, settings.task)
            terms.append(TermValue(CRITIC, False, False, settings.weights[CRITIC], float(per_step.sum()), per_step))
        return EnergyReport(tuple(terms), sum(t.weight * t.value for t in terms))

    def _context(self, settings: CostSettings, previous_action: Tensor | None, level: int = 0,
                 start: Tensor | None = None, moves: Tensor | None = None) -> Context:
        jepa, heads = self._model.levels[level], self._model.readout_of(level)
        return Context(
            _wide(settings.goal_levels[level] if settings.goal_levels else None), settings.goal_readouts,
            None if heads is None else _Once(heads), previous_action, settings.bounds, settings.soft,
            program=Program(settings.program[level], jepa.period) if settings.program else None,
            remembered=(Remembered(settings.remembered[level], settings.familiar[level]) if settings.remembered
                        else None),
            dynamics=jepa if settings.task is None else cast(JEPA, _Tasked(jepa, settings.task)), start=_wide(start),
            moves=moves, **self._felt)


class _Tasked:
    """A level of the world model under a task: what terms ask of it, they ask for that task."""

    def __init__(self, jepa: JEPA, task: Tensor):
        self._jepa, self._task = jepa, task

    def __getattr__(self, name: str):
        return getattr(self._jepa, name)

    def predict(self, s: Tensor, a: Tensor) -> Tensor:
        """As `JEPA.predict`."""
        return self._jepa.predict(s, a, task=self._task)

    def disagreement(self, s: Tensor, a: Tensor) -> Tensor:
        """As `JEPA.disagreement`."""
        return self._jepa.disagreement(s, a, self._task)


class _Once:
    """Readout heads that several terms ask about the same states."""

    def __init__(self, heads: nn.Module):
        self._heads = heads
        self._last: tuple[Tensor, Tensor] | None = None

    def __call__(self, states: Tensor) -> Tensor:
        if self._last is None or self._last[0] is not states:
            self._last = states, self._heads(states)
        return self._last[1]


def _wide(state: Tensor | None) -> Tensor | None:
    """One state (D,), or one per problem (B, D) for states (B, N, T, D)."""
    return state[:, None, None] if state is not None and state.dim() == 2 else state
