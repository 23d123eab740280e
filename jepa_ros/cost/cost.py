"""The cost organ: C(s) = Σ u_i IC_i(s) + Σ v_j TC_j(s) (LeCun §3.2, Fig. 6). The planner and the cost node use it."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
import math

import torch
from torch import Tensor

from jepa_ros.cost.critic import Critic
from jepa_ros.cost.intrinsic import Bounds, Context, Goal, Region, TERMS
from jepa_ros.errors import CostError
from jepa_ros.registry import nearest
from jepa_ros.world_model.hjepa import HJEPA

__all__ = ['Cost', 'CostSettings', 'EnergyReport', 'Goal', 'Region', 'TermValue']

CRITIC = 'critic'


@dataclass(frozen=True)
class CostSettings:
    """One consistent set of weights and goal; replaced as a whole, so that a planner thread never sees half."""

    weights: dict[str, float]
    goal_levels: tuple[Tensor, ...] = ()    # (D_l,) or (B, D_l), level 0 first
    goal_readouts: Tensor | None = None     # (R,) standardised, NaN where nothing is asked
    bounds: Bounds | None = None            # regions to keep out of

    @property
    def goal_state(self) -> Tensor | None:
        """The goal at level 0."""
        return self.goal_levels[0] if self.goal_levels else None


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

    def __init__(self, model: HJEPA, readout_names: list[str], critic: Critic | None = None):
        self._model, self._readout_names, self._critic = model, readout_names, critic
        self._terms = {name: TERMS.get(name) for name in TERMS.names()}
        self.settings = CostSettings(self.default_weights())

    @property
    def term_names(self) -> list[str]:
        return [*self._terms, *([CRITIC] if self._critic is not None else [])]

    def default_weights(self) -> dict[str, float]:
        weights = {name: term.weight for name, term in self._terms.items()}
        return weights | ({CRITIC: 0.0} if self._critic is not None else {})

    def configure(self, *, goal: Goal | None, weights: Mapping[str, float] | None = None,
                  regions: Sequence[Region] = ()) -> None:
        """Set goal, weights and regions to keep out of; terms not named get their default.

        CostError names what is wrong; the old settings then stay.
        """
        self.settings = self.make_settings(goal, weights, regions)

    def make_settings(self, goal: Goal | None, weights: Mapping[str, float] | None = None,
                      regions: Sequence[Region] = ()) -> CostSettings:
        """Checked settings, without putting them into force."""
        chosen = self.default_weights()
        for name, value in (weights or {}).items():
            self._check_weight(name, value)
            chosen[name] = float(value)
        levels = tuple(goal.levels) if goal else ()
        if len(levels) == 1 and levels[0].shape[-1] == self._model.config.dim:
            levels = self._model.still(levels[0])       # a goal of level 0: to stand still there
        found, wanted = tuple(s.shape[-1] for s in levels), self._model.config.dims
        if levels and found != wanted:
            raise CostError(f'goal state has {_sizes(found)} numbers, this model has {_sizes(wanted)}: encode the goal '
                            'with the same checkpoint')
        return CostSettings(chosen, levels, self._goal_readouts(goal), self._bounds(regions))

    def _check_weight(self, name: str, value: float) -> None:
        if name not in self.term_names:
            raise CostError(f'unknown cost term {name!r}{nearest(name, self.term_names)}; '
                            f'known: {", ".join(self.term_names)}')
        if not math.isfinite(value) or value < 0:
            raise CostError(f'weight of cost term {name!r} is {value}: it must be finite and not negative')
        floor = self._terms[name].floor if name in self._terms else 0.0
        if value < floor:
            raise CostError(f'weight {value:g} of guardrail {name!r} is below its floor {floor:g}')

    def _goal_readouts(self, goal: Goal | None) -> Tensor | None:
        if not goal or not goal.readouts:
            return None
        values = torch.full((len(self._readout_names),), torch.nan)
        for name, value in goal.readouts.items():
            index = self._readout(name)
            if not math.isfinite(value):
                raise CostError(f'goal value of readout {name!r} is {value}: it must be finite')
            values[index] = value
        mean, std = self._model.readout_mean, self._model.readout_std
        return (values.to(mean.device) - mean) / std

    def _readout(self, name: str) -> int:
        if name not in self._readout_names:
            raise CostError(f'unknown readout {name!r}{nearest(name, self._readout_names)}; '
                            f'this model reads out: {", ".join(self._readout_names) or "nothing"}')
        return self._readout_names.index(name)

    def _bounds(self, regions: Sequence[Region]) -> Bounds | None:
        if not regions:
            return None
        size = len(self._readout_names)
        chosen, centre, moving = (torch.zeros(len(regions), *shape) for shape in ((size,), (size,), (size, size)))
        for number, region in enumerate(regions):
            if not region.centre or not (math.isfinite(region.radius) and region.radius > 0):
                raise CostError(f'region {number + 1} to avoid: it needs a centre and a positive radius, not '
                                f'{dict(region.centre)} and {region.radius}')
            for name, value in region.centre.items():
                index = self._readout(name)
                chosen[number, index] = 1
                if value == name:
                    raise CostError(f'region {number + 1} to avoid: {name} is compared with itself: name another '
                                    'readout or give a number')
                if isinstance(value, str):
                    moving[number, index, self._readout(value)] = 1
                elif math.isfinite(value):
                    centre[number, index] = value
                else:
                    raise CostError(f'region {number + 1} to avoid: {name} is {value}: it must be finite')
        mean, std = self._model.readout_mean, self._model.readout_std
        radius = torch.tensor([region.radius for region in regions], device=mean.device)
        return Bounds(chosen.to(mean), centre.to(mean), moving.to(mean), radius, mean, std)

    def depth(self, states: Tensor, settings: CostSettings, level: int = 0) -> Tensor | None:
        """How deep states (..., T, D_l) are in each thing that guardrails forbid, ≥ 0, (..., T, K); None: nothing is.

        What bounds of the actions alone forbid is no matter of states: planners keep candidates within them.
        """
        if settings.bounds is None or self._model.readout_of(level) is None:
            return None
        context = self._context(settings, None, level)
        terms = [term.constraint for term in self._terms.values() if term.constraint is not None]
        return torch.cat([term(states, None, context) for term in terms], -1)

    def energy(self, states: Tensor, actions: Tensor | None, settings: CostSettings | None = None,
               previous_action: Tensor | None = None, level: int = 0) -> Tensor:
        """states (..., T, D_l) of `level`, actions (..., T, A) in −1…1 or None -> weighted energy over all steps (...).

        Differentiable in states and actions. Terms of weight 0 are not computed. The critic knows the states of level 0
        only, and says nothing about a level that has a state space of its own.
        """
        settings = settings or self.settings
        context = self._context(settings, previous_action, level)
        total = states.new_zeros(states.shape[:-2])
        for name, term in self._terms.items():
            if settings.weights[name] > 0 and term.applies(context):
                total = total + settings.weights[name] * term.function(states, actions, context).sum(-1)
        known = not any(each.pooled for each in self._model.config.levels[1:level + 1])
        if known and settings.weights.get(CRITIC, 0) > 0 and settings.goal_state is not None:
            total = total + settings.weights[CRITIC] * self._beyond(states, context)
        return total

    def _beyond(self, states: Tensor, context: Context) -> Tensor:
        """What comes after the horizon, as if it lasted one more horizon, (...) (LeCun Fig. 7)."""
        goal = context.goal_state
        goal = goal if goal.dim() == 1 else goal[..., 0, :]
        return self._critic(states[..., -1, :], goal) * states.shape[-2]

    def action_settings(self, settings: CostSettings) -> CostSettings:
        """The same weights without goal: what a lower level pays besides its subgoal."""
        return replace(settings, goal_levels=(), goal_readouts=None)

    @torch.no_grad()
    def evaluate(self, states: Tensor, actions: Tensor | None = None) -> EnergyReport:
        """Term by term: states (T, D), actions (T, A) in −1…1 or None."""
        settings = self.settings
        context = self._context(settings, None)
        terms = []
        for name, term in self._terms.items():
            per_step = term.function(states, actions, context)
            terms.append(TermValue(name, True, term.guardrail, settings.weights[name], float(per_step.sum()), per_step))
        if self._critic is not None:
            per_step = states.new_zeros(states.shape[:-1])
            if settings.goal_state is not None:
                per_step[-1] = self._beyond(states, context)
            terms.append(TermValue(CRITIC, False, False, settings.weights[CRITIC], float(per_step.sum()), per_step))
        return EnergyReport(tuple(terms), sum(t.weight * t.value for t in terms))

    def _context(self, settings: CostSettings, previous_action: Tensor | None, level: int = 0) -> Context:
        # one goal (D,), or one per problem (B, D) for states (B, N, T, D)
        goal = settings.goal_levels[level] if settings.goal_levels else None
        if goal is not None and goal.dim() == 2:
            goal = goal[:, None, None]
        return Context(goal, settings.goal_readouts, self._model.readout_of(level), previous_action, settings.bounds)


def _sizes(dims: tuple[int, ...]) -> str:
    return str(dims[0]) if len(set(dims)) == 1 else ' + '.join(map(str, dims))
