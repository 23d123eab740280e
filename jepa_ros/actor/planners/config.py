"""Settings of Mode-2 for one level, as YAML and model cards say them (`planners:`, level 0 first)."""
from collections.abc import Callable
from dataclasses import dataclass, fields
import math
from typing import Any, TYPE_CHECKING

from jepa_ros.errors import ConfigError
from jepa_ros.registry import Registry

if TYPE_CHECKING:
    from jepa_ros.actor.planners.base import Planner

PLANNERS: 'Registry[type[Planner]]' = Registry('planner')

_WHOLE = {'samples': 1, 'iterations': 1, 'horizon': 1, 'elites': 1, 'bins': 2, 'refine': 0, 'replan_every': 1}
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    'correlation': (lambda x: 0 <= x < 1, 'lie in [0, 1)'),
    'colour': (lambda x: x >= 0, 'not be negative'),
    'temperature': (lambda x: x > 0, 'be positive'),
    'min_std': (lambda x: x >= 0, 'not be negative'),
    'shrink': (lambda x: 0 < x <= 1, 'lie in (0, 1]'),
    'keep_elites': (lambda x: 0 <= x <= 1, 'lie in [0, 1]'),
    'learning_rate': (lambda x: x > 0, 'be positive'),
    'max_change': (lambda x: x >= 0, 'not be negative'),
    'tolerance': (lambda x: x >= 0, 'not be negative'),
    'penalty': (lambda x: x > 0, 'be positive'),
    'strangeness': (lambda x: x >= 0, 'not be negative'),
}


@dataclass(frozen=True)
class PlannerConfig:
    """Settings of one level's planner. Actions are in −1…1 at level 0, macro-actions above.

    Of all methods: `samples` candidates per iteration, `iterations`, `horizon` in periods of the level. Of the others
    each method takes what it knows.
    """

    method: str = 'mppi'
    samples: int = 64
    iterations: int = 3
    horizon: int = 8
    elites: int = 8
    correlation: float = 0.7        # of successive steps of the noise, AR(1); 0 is white
    colour: float = 0.0             # > 0: noise whose power falls as 1/f^colour takes its place (iCEM)
    temperature: float = 0.5        # of MPPI, as a share of the spread of the elites' energies
    min_std: float = 0.1            # least standard deviation, as a share of the first
    shrink: float = 1.0             # samples of an iteration as a share of those of the one before (iCEM)
    keep_elites: float = 0.0        # share of the elites that are candidates again (iCEM)
    learning_rate: float = 0.1      # of gradient steps (Adam)
    refine: int = 0                 # of the iterations, the last ones that descend by gradient (cem_gradient)
    bins: int = 3                   # values of each action (level 0), or macro-actions in all (above), of a tree search
    max_change: float = 0.0         # most an action may change from step to step; 0: as much as it likes
    tolerance: float = 0.0          # > 0: end early once no standard deviation exceeds this share of the first
    penalty: float = 10.0           # first Lagrange multiplier of a guardrail's violation, and its growth rate
    strangeness: float = 0.0        # weight of a macro-action's distance from those of training, per step
    replan_every: int = 1           # of a level above 0: control ticks for which its plan is kept

    def __post_init__(self) -> None:
        PLANNERS.get(self.method)
        for name, least in _WHOLE.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                self._refuse(name, value, f'must be a whole number from {least} up')
        for name, (valid, must) in _RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not math.isfinite(value) or not valid(value):
                self._refuse(name, value, f'must {must}')
        if self.elites > self.samples:
            self._refuse('elites', self.elites, f'cannot be more than the {self.samples} samples')
        if self.refine > self.iterations:
            self._refuse('refine', self.refine, f'cannot be more than the {self.iterations} iterations')

    def _refuse(self, name: str, value: Any, problem: str) -> None:
        raise ConfigError(f'planner {self.method}: {name} is {value!r}: it {problem}')


NAMES = tuple(field.name for field in fields(PlannerConfig))
