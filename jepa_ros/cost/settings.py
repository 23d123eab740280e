"""What a task asks of the cost, checked and as tensors: weights, goal, regions, demonstration, what is remembered."""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
import math
from numbers import Real
from types import MappingProxyType

import torch
from torch import Tensor

from jepa_ros.cost.context import Bounds, Goal, Ranges, Region
from jepa_ros.cost.intrinsic import TERMS
from jepa_ros.errors import CostError
from jepa_ros.registry import nearest
from jepa_ros.robot.drives import Drives
from jepa_ros.world_model.hjepa import HJEPA

CRITIC = 'critic'
MOST = 1e9              # of weights and of what is asked for: beyond, energies in single precision are no numbers
LEAST_RADIUS = 1e-4     # of a region: below, single precision does not tell its inside
MOST_REMEMBERED = 4096  # states whose distance is measured at every step of every candidate
NEIGHBOURS = 512        # of them, those that say how near remembered states are to each other


@dataclass(frozen=True)
class CostSettings:
    """One consistent set of all that is asked; replaced as a whole, so that a planner thread never sees half.

    CostError for weights below the floor of a guardrail, however they came in.
    """

    weights: Mapping[str, float]            # cannot be written to
    goal_levels: tuple[Tensor, ...] = ()    # (D_l,) or (B, D_l), level 0 first
    goal_readouts: Tensor | None = None     # (R,) standardised, NaN where nothing is asked
    bounds: Bounds | None = None            # regions to keep out of
    soft: Bounds | None = None              # regions that are unpleasant
    program: tuple[Tensor, ...] = ()        # (T, D_l), a demonstration, one state per control step
    remembered: tuple[Tensor, ...] = ()     # (M, D_l), states that are not new
    familiar: tuple[Tensor, ...] = ()       # () of each level: squared distance at which a state is half new
    task: Tensor | None = None              # (task_dim,) token for predictor, critic and policy
    speed: float = 1.0                      # share of the range of the robot's actions that may be used, in (0, 1]

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            floor = 0.0 if name == CRITIC else TERMS.get(name).floor
            if not weight >= floor:
                raise CostError(f'weight {weight:g} of guardrail {name!r} is below its floor {floor:g}' if floor else
                                f'weight of cost term {name!r} is {weight}: it must be finite and not negative')
        if number(self.speed) is None or not 0 < self.speed <= 1:
            raise CostError(f'speed is {self.speed!r}: it is a share of what the robot can do, above 0 and at most 1')
        object.__setattr__(self, 'weights', MappingProxyType(dict(self.weights)))

    @property
    def goal_state(self) -> Tensor | None:
        """The goal at level 0."""
        return self.goal_levels[0] if self.goal_levels else None


def number(value: object) -> float | None:
    """`value` as a finite number that energies can be computed with; None where it is none."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if abs(found) <= MOST else None        # false for NaN too


class Making:
    """Makes the tensors of settings for one model. CostError, in one line, for what cannot be."""

    def __init__(self, model: HJEPA, readout_names: Sequence[str]):
        self._model, self._readout_names = model, list(readout_names)

    @property
    def _device(self) -> torch.device:
        return self._model.readout_mean.device

    def weights(self, given: Mapping[str, float] | None, defaults: Mapping[str, float]) -> dict[str, float]:
        """All weights; those not given have their default."""
        chosen = dict(defaults)
        for name, value in (given or {}).items():
            if name not in chosen:
                raise CostError(f'unknown cost term {name!r}{nearest(str(name), chosen)}; known: {", ".join(chosen)}')
            weight = number(value)
            if weight is None or weight < 0:
                raise CostError(f'weight of cost term {name!r} is {value!r}: it must be finite and not negative, at '
                                f'most {MOST:g}')
            chosen[name] = weight
        return chosen

    def goal_levels(self, goal: Goal | None) -> tuple[Tensor, ...]:
        """The goal state at all levels."""
        levels = tuple(goal.levels) if goal else ()
        if len(levels) == 1 and levels[0].shape[-1] == self._model.config.dim:
            levels = self._model.still(levels[0])       # a goal of level 0: to stand still there
        found, wanted = tuple(s.shape[-1] for s in levels), self._model.config.dims
        if levels and found != wanted:
            raise CostError(f'goal state has {_sizes(found)} numbers, this model has {_sizes(wanted)}: encode the goal '
                            'with the same checkpoint')
        if not all(bool(torch.isfinite(level).all()) for level in levels):
            raise CostError('goal state has numbers that are not finite: check the goal image and the checkpoint')
        return levels

    def goal_readouts(self, goal: Goal | None) -> Tensor | None:
        """(R,) standardised, NaN where nothing is asked."""
        if not goal or not goal.readouts:
            return None
        values = torch.full((len(self._readout_names),), torch.nan)
        for name, value in goal.readouts.items():
            index = self.readout(name)
            values[index] = self._finite(value, f'goal value of readout {name!r} is')
        mean, std = self._model.readout_mean, self._model.readout_std
        return (values.to(mean.device) - mean) / std

    def task(self, modulation: Mapping[str, float] | None) -> Tensor | None:
        """(task_dim,) of the task token, by name; a model that was trained without one ignores it."""
        if not modulation or not self._model.config.perception.token_names:
            return None
        return self._model.task_token(modulation).to(self._device)

    def readout(self, name: str) -> int:
        """Its place among the readouts."""
        if name not in self._readout_names:
            raise CostError(f'unknown readout {name!r}{nearest(str(name), self._readout_names)}; '
                            f'this model reads out: {", ".join(self._readout_names) or "nothing"}')
        return self._readout_names.index(name)

    def bounds(self, regions: Sequence[Region], what: str = 'to avoid') -> Bounds | None:
        """Regions as tensors; None without any."""
        if not regions:
            return None
        size = len(self._readout_names)
        chosen, centre, moving = (torch.zeros(len(regions), *shape) for shape in ((size,), (size,), (size, size)))
        for row, region in enumerate(regions):
            where, radius = f'region {row + 1} {what}', number(region.radius)
            if not region.centre or radius is None or radius < LEAST_RADIUS:
                raise CostError(f'{where}: it needs a centre and a positive radius from {LEAST_RADIUS:g} to {MOST:g}, '
                                f'not {dict(region.centre)} and {region.radius!r}')
            for name, value in region.centre.items():
                index = self.readout(name)
                chosen[row, index] = 1
                if value == name:
                    raise CostError(f'{where}: {name} is compared with itself: name another readout or give a number')
                if isinstance(value, str):
                    moving[row, index, self.readout(value)] = 1
                else:
                    centre[row, index] = self._finite(value, f'{where}: {name} is')
        mean, std = self._model.readout_mean, self._model.readout_std
        radii = torch.tensor([float(region.radius) for region in regions], device=mean.device)
        return Bounds(chosen.to(mean), centre.to(mean), moving.to(mean), radii, mean, std)

    def program(self, states: Tensor | None) -> tuple[Tensor, ...]:
        """A demonstration (T, D), one state per control step, at all levels: (T, D_l)."""
        if states is None:
            return ()
        levels = [self._states(states, 'program: a demonstration')]
        times = torch.arange(len(levels[0]), device=self._device)[:, None]
        with torch.no_grad():
            for level in range(1, len(self._model.levels)):
                n, period = self._model.windows[level], self._model.levels[level - 1].period
                back = period * torch.arange(n - 1, -1, -1, device=self._device)
                levels.append(self._model.pool(level, levels[-1][(times - back).clamp_min(0)]))
        return tuple(levels)

    def remembered(self, states: Tensor | None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """States (M, D) that are not new, at all levels, and how near they are to each other there."""
        if states is None:
            return (), ()
        found = self._states(states, 'remembered: they')
        if len(found) > MOST_REMEMBERED:
            found = found[torch.linspace(0, len(found) - 1, MOST_REMEMBERED, device=self._device).long()]
        with torch.no_grad():
            levels = self._model.still(found)
            return levels, tuple(map(self._spacing, levels, self._model.levels))

    @staticmethod
    def _spacing(states: Tensor, jepa: torch.nn.Module) -> Tensor:
        """() median squared distance of states (M, D) to their nearest, at least the usual prediction error."""
        few = states[torch.linspace(0, len(states) - 1, min(len(states), NEIGHBOURS), device=states.device).long()]
        apart = torch.cdist(few, few)
        apart.fill_diagonal_(torch.inf)
        median = (apart.amin(-1).square() / states.shape[-1]).median()
        return torch.maximum(median.nan_to_num(0.0, 0.0), jepa.typical_error).clamp_min(1e-12)

    def _states(self, states: Tensor, what: str) -> Tensor:
        dim = self._model.config.dim
        try:
            found = torch.as_tensor(states, dtype=torch.float32, device=self._device)
        except (TypeError, ValueError, RuntimeError):
            raise CostError(f'{what} has states (T, {dim}) of numbers, not {type(states).__name__}') from None
        if found.dim() != 2 or not len(found) or found.shape[1] != dim:
            raise CostError(f'{what} has states (T, {dim}) of this model, not {tuple(found.shape)}: encode it with the '
                            'same checkpoint')
        if not bool(torch.isfinite(found).all()):
            raise CostError(f'{what} has states that are not finite: check its images')
        return found

    @staticmethod
    def _finite(value: object, what: str) -> float:
        found = number(value)
        if found is None:
            raise CostError(f'{what} {value!r}: it must be finite, a number within ±{MOST:g}')
        return found

    def drives(self, drives: Drives | None) -> dict[str, Ranges | None]:
        """What the robot's contract says of its drives, by part of the context."""
        if drives is None:
            return {}
        hunger = drives.battery
        return {
            'battery': self._ranges([(hunger.readout, hunger.low, None, hunger.low - hunger.empty)] if hunger else []),
            'clearance': self._ranges((c.readout, c.least, None, c.least) for c in drives.clearance),
            'contacts': self._ranges((r.readout, r.low, r.high, None) for r in drives.collision),
            'ranges': self._ranges((r.readout, r.low, r.high, None) for r in drives.limits)}

    def _ranges(self, entries: Iterable[tuple[str, float | None, float | None, float | None]]) -> Ranges | None:
        """From readout, low, high and unit; the unit of a guardrail is half its range, or the spread in training."""
        places: list[int] = []
        values: list[tuple[float, float, float]] = []
        for name, low, high, unit in entries:
            try:
                index = self.readout(name)
            except CostError as error:
                raise CostError(f'drives of the robot contract: {error}: train a model that does, or leave it '
                                'out') from None
            if unit is None:
                spread = float(self._model.readout_std[index])
                unit = (high - low) / 2 if None not in (low, high) else spread if spread > 1e-6 else 1.0
            places.append(index)
            values.append((-math.inf if low is None else low, math.inf if high is None else high, unit))
        if not places:
            return None
        mean, std = self._model.readout_mean, self._model.readout_std
        least, most, units = torch.tensor(values).to(mean).unbind(-1)
        return Ranges(torch.tensor(places, device=self._device), least, most, units, mean, std)


def _sizes(dims: tuple[int, ...]) -> str:
    return str(dims[0]) if len(set(dims)) == 1 else ' + '.join(map(str, dims))
