"""Settings of Mode-2 for one level, as YAML and model cards say them (`planners:`, level 0 first)."""
from collections.abc import Callable
from dataclasses import dataclass
import math
from typing import Any, TYPE_CHECKING

from jepa_ros.errors import ConfigError
from jepa_ros.registry import Registry

if TYPE_CHECKING:
    from jepa_ros.actor.planners.base import Planner

PLANNERS: 'Registry[type[Planner]]' = Registry('planner')

RISKS = ('mean', 'mean_std', 'cvar')
PRECISIONS = ('fp32', 'bf16', 'auto')
_WHOLE = {'samples': 1, 'iterations': 1, 'horizon': 1, 'elites': 1, 'bins': 2, 'refine': 0, 'replan_every': 1,
          'scenarios': 0, 'joint': 0}
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
    'risk_weight': (lambda x: x >= 0, 'not be negative'),
    'risk_share': (lambda x: 0 < x <= 1, 'lie in (0, 1]'),
    'chance': (lambda x: 0 <= x < 1, 'lie in [0, 1)'),
}

# What a setting is where neither the configuration nor the method says it.
COMMON: dict[str, float] = {'colour': 0.0, 'shrink': 1.0, 'keep_elites': 0.0, 'learning_rate': 0.1, 'refine': 0}


@dataclass(frozen=True)
class PlannerConfig:
    """Settings of one level's planner. Actions are in −1…1 at level 0, macro-actions above.

    Of all methods: `samples` candidates per iteration, `iterations`, `horizon` in periods of the level. Of the others
    each method takes what it knows. What is left open (None) takes the method's own value if it has one
    (`Planner.defaults`), else the one of `COMMON`; afterwards nothing is None.
    """

    method: str = 'mppi'
    samples: int = 64
    iterations: int = 3
    horizon: int = 8
    elites: int = 8
    correlation: float = 0.7        # of successive steps of the noise, AR(1); 0 is white
    colour: float = None            # > 0: noise whose power falls as 1/f^colour takes its place (iCEM)
    temperature: float = 0.5        # of MPPI, as a share of the spread of the elites' energies
    min_std: float = 0.1            # least standard deviation, as a share of the first
    shrink: float = None            # samples of an iteration as a share of those of the one before (iCEM)
    keep_elites: float = None       # share of the elites that are candidates again (iCEM)
    learning_rate: float = None     # of gradient steps (Adam), as a share of the first standard deviation
    refine: int = None              # of the iterations, the last ones that descend by gradient (cem_gradient)
    bins: int = 3                   # values of each action (level 0), or macro-actions in all (above), of a tree search
    max_change: float = 0.0         # most an action may change from step to step; 0: as much as it likes
    # > 0: end early once no standard deviation, or no gradient step, exceeds this share of the first standard deviation
    tolerance: float = 0.0
    penalty: float = 10.0           # first Lagrange multiplier of a guardrail's violation, and its growth rate
    strangeness: float = 0.0        # weight of a macro-action's distance from those of training, per step
    scenarios: int = 0              # futures per candidate: drawn latents, ensemble members; 0: the most probable one
    risk: str = 'mean'              # mean, mean_std or cvar of the energies of the scenarios (actor/risk.py)
    risk_weight: float = 1.0        # λ of mean + λ·std
    risk_share: float = 0.2         # cvar: the worst share of the scenarios, by probability
    # of rollouts: fp32, bf16 or auto (bf16 where the processor has it), for methods that sample and predictors with a
    # fast form; the last third of the iterations, and the judgement of the plan, are in fp32 all the same
    precision: str = 'fp32'
    chance: float = 0.05            # share of the scenarios that may break a guardrail
    joint: int = 0                  # gradient steps over the plans of all levels together; level 0 says it
    replan_every: int = 1           # of a level above 0: control ticks for which its plan is kept

    def __post_init__(self) -> None:
        method = PLANNERS.get(self.method)
        self._check_whole('iterations')     # others may depend on it
        for name, value in {**COMMON, **method.defaults(self.iterations)}.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in _WHOLE:
            self._check_whole(name)
        for name, (valid, must) in _RANGES.items():
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or not valid(value):
                self._refuse(name, value, f'must {must}')
        if self.risk not in RISKS:
            self._refuse('risk', self.risk, f'must be one of {", ".join(RISKS)}')
        if self.precision not in PRECISIONS:
            self._refuse('precision', self.precision, f'must be one of {", ".join(PRECISIONS)}')
        if self.elites > self.samples:
            self._refuse('elites', self.elites, f'cannot be more than the {self.samples} samples')
        if self.refine > self.iterations:
            self._refuse('refine', self.refine, f'cannot be more than the {self.iterations} iterations')

    def _check_whole(self, name: str) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < _WHOLE[name]:
            self._refuse(name, value, f'must be a whole number from {_WHOLE[name]} up')

    def _refuse(self, name: str, value: Any, problem: str) -> None:
        raise ConfigError(f'planner {self.method}: {name} is {value!r}: it {problem}')
