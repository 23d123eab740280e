"""The configurator organ: turns a goal and a task into settings for the others, and judges progress (LeCun §2, §6)."""
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
import math

from jepa_ros.actor.actor import MODES
from jepa_ros.configurator.tasks import DEFAULT_TASK, Task
from jepa_ros.cost.cost import Cost, CostSettings, Goal, Region
from jepa_ros.cost.intrinsic import TERMS
from jepa_ros.errors import ConfigError
from jepa_ros.perception.perception import EncodedState
from jepa_ros.registry import nearest

# Goals given as readouts count as reached within this distance, in the readouts' own unit (metres, mostly).
READOUT_TOLERANCE = 0.1


@dataclass(frozen=True)
class Settings:
    """What holds until the next version; published as `Configuration`."""

    version: int
    active: bool
    task: str = ''
    goal_id: str = ''
    goal: Goal | None = None
    weights: dict[str, float] = field(default_factory=dict)
    mode: str = 'auto'
    budget_ms: float = 50.0
    timeout_s: float = 60.0
    modulation: dict[str, float] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()    # to keep out of


@dataclass(frozen=True)
class Progress:
    energy: float           # distance to the goal
    progress: float         # share of the first distance already covered, 0…1
    elapsed_s: float
    outcome: str | None     # None while under way, 'success' or 'timeout'


class Configurator:
    """One goal at a time; starting another replaces it."""

    def __init__(self, cost: Cost, tasks: dict[str, Task], goal_tolerance: float):
        self._cost, self.tasks, self.goal_tolerance = cost, tasks, goal_tolerance
        self.settings = Settings(version=0, active=False)
        self._goal_settings: CostSettings | None = None
        self._began_s = 0.0
        self._first_energy: float | None = None

    def start(self, goal: Goal, task_name: str = '', timeout_s: float = 0.0, now_s: float = 0.0,
              goal_id: str = '') -> Settings:
        """Pursue `goal`. ConfigError for an unknown task, CostError for a goal or weight that cannot be."""
        name = task_name or DEFAULT_TASK
        if name not in self.tasks:
            raise ConfigError(f'unknown task {name!r}{nearest(name, self.tasks)}; known: {", ".join(self.tasks)}')
        if not goal.levels and not goal.readouts:
            raise ConfigError('the goal is empty: give an image, readout values or a moment of a bag')
        task = self.tasks[name]
        weights = self._cost.make_settings(goal, task.weights, task.regions).weights
        if task.mode == 'reactive' and not goal.levels:
            raise ConfigError(f'task {name!r} acts by reflex, which needs a goal image or a moment of a bag')
        if timeout_s and not (math.isfinite(timeout_s) and timeout_s > 0):
            raise ConfigError(f'timeout is {timeout_s} s: it must be positive and finite, or 0 for that of the task')
        self._goal_settings = self._cost.make_settings(goal)
        self._began_s, self._first_energy = now_s, None
        self.settings = Settings(self.settings.version + 1, True, name, goal_id, goal, weights, task.mode,
                                 task.budget_ms, timeout_s or task.timeout_s, task.modulation, task.regions)
        return self.settings

    def reconfigure(self, weights: Mapping[str, float] | None = None, mode: str | None = None,
                    budget_ms: float | None = None) -> Settings:
        """Change weights, mode or budget of what is running; errors as in `start`, nothing changed then."""
        if mode is not None and mode not in MODES:
            raise ConfigError(f'mode {mode!r} is unknown; known: {", ".join(MODES)}')
        if mode == 'reactive' and self.settings.goal is not None and not self.settings.goal.levels:
            raise ConfigError('mode reactive acts by reflex, which needs a goal image or a moment of a bag')
        if budget_ms is not None and not budget_ms > 0:
            raise ConfigError(f'planner budget is {budget_ms} ms: it must be positive')
        merged = self._cost.make_settings(self.settings.goal, {**self.settings.weights, **(weights or {})}).weights
        self.settings = replace(self.settings, version=self.settings.version + 1, weights=merged,
                                mode=mode or self.settings.mode, budget_ms=budget_ms or self.settings.budget_ms)
        return self.settings

    def stop(self) -> Settings:
        """No goal: the robot stays where it is."""
        self.settings = Settings(self.settings.version + 1, False)
        self._goal_settings = None
        return self.settings

    def observe(self, state: EncodedState, now_s: float) -> Progress:
        """Judge the newest state against the goal. `now_s` on the clock `start` was given."""
        if self._goal_settings is None or self.settings.goal is None:
            raise ConfigError('no goal is being pursued')
        goal, elapsed = self.settings.goal, now_s - self._began_s
        energy = self._distance(state, goal)
        if self._first_energy is None:
            self._first_energy = max(energy, 1e-9)
        tolerance = READOUT_TOLERANCE if not goal.levels else self.goal_tolerance
        outcome = None
        if energy <= tolerance * self.tasks[self.settings.task].success:
            outcome = 'success'
        elif elapsed >= self.settings.timeout_s:
            outcome = 'timeout'
        return Progress(energy, min(1.0, max(0.0, 1 - energy / self._first_energy)), elapsed, outcome)

    def _distance(self, state: EncodedState, goal: Goal) -> float:
        """Goal energy of a state goal; Euclidean distance in the readouts' unit for a goal in readouts."""
        if not goal.levels:
            return sum((state.readouts[n] - v) ** 2 for n, v in goal.readouts.items()) ** 0.5
        only_goal = {name: (1.0 if name == 'goal' else TERMS.get(name).floor) for name in TERMS.names()}
        settings = replace(self._goal_settings, weights=self._goal_settings.weights | only_goal)
        return float(self._cost.energy(state.levels[0][None], None, settings))
