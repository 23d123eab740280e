"""The configurator organ: turns a goal and a task into settings for the others, and judges progress (LeCun §2, §6).

`prepare` reads what a task shows (images, bags) and may take long; `start` and `observe` take a fraction of a
millisecond. With each part of a sequence and each subgoal on the way, `settings` has a new version.
"""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
import math

from torch import Tensor

from jepa_ros.actor.actor import MODES
from jepa_ros.configurator.preparing import Eyes, Preparer, where
from jepa_ros.configurator.sequence import Course, Ended, Loop, Step
from jepa_ros.configurator.subgoals import Guide
from jepa_ros.configurator.task_parts import READOUT_TOLERANCE
from jepa_ros.configurator.tasks import check_sequences, DEFAULT_TASK, Task
from jepa_ros.cost.cost import Cost, CostSettings, Goal, Region
from jepa_ros.energy.distance import squared
from jepa_ros.errors import ConfigError, JepaRosError
from jepa_ros.perception.perception import EncodedState

__all__ = ['Configurator', 'Eyes', 'Progress', 'READOUT_TOLERANCE', 'Settings']


@dataclass(frozen=True)
class Settings:
    """What holds until the next version; published as `Configuration`."""

    version: int
    active: bool
    task: str = ''
    goal_id: str = ''
    goal: Goal | None = None            # what the actor goes to now: the goal, or a subgoal on the way
    weights: Mapping[str, float] = field(default_factory=dict)
    mode: str = 'auto'
    budget_ms: float = 50.0
    timeout_s: float = 60.0
    modulation: dict[str, float] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()    # to keep out of
    discomforts: tuple[Region, ...] = ()    # to leave where possible
    program: object = None              # states (T, D) to follow
    part: str = ''                      # of a sequence: '2/4 reach'
    speed: float = 1.0                  # share of the range of the robot's actions

    @property
    def cost_arguments(self) -> dict:
        """Goal, weights, regions and what else the cost takes: keywords of `Actor.configure` and `Cost.configure`."""
        more = {'modulation': self.modulation} if self.modulation else {}
        return dict(goal=self.goal, weights=self.weights, speed=self.speed,
                    **where(self.regions, self.discomforts, self.program), **more)


@dataclass(frozen=True)
class PartEnd:
    """How a part of a sequence ended."""

    part: str
    success: bool
    reason: str = ''


@dataclass(frozen=True)
class Progress:
    energy: float           # distance to the goal of the part; NaN where there is none
    progress: float         # share of the first distance already covered, 0…1
    elapsed_s: float        # since the start
    outcome: str | None     # None while under way, 'success' or 'timeout'
    part: str = ''          # of a sequence: which one runs
    ended: PartEnd | None = None    # a part of a sequence ended with this state
    reason: str = ''        # of a timeout
    landmarks: int = 0      # subgoals that are left on the way

    @property
    def done(self) -> str:
        """What success was."""
        return 'done' if math.isnan(self.energy) or self.part else 'reached'

    @property
    def why(self) -> str:
        """How a timeout came about, in one line."""
        if self.part:
            return self.reason
        covered = '' if math.isnan(self.energy) else f', {self.progress:.0%} of the distance covered'
        return f'not reached within {self.elapsed_s:.1f} s{covered}'


class Configurator:
    """One goal at a time; starting another replaces it."""

    def __init__(self, cost: Cost, tasks: dict[str, Task], goal_tolerance: float, eyes: Eyes | None = None,
                 guide: Guide | None = None, token_names: Sequence[str] = ()):
        """`token_names`: numbers of the task token that the model was trained with; none: it takes no modulation."""
        check_sequences(tasks)
        self._cost, self.goal_tolerance, self.guide = cost, goal_tolerance, guide
        self._preparer = Preparer(cost, tasks, eyes, tuple(token_names))
        self.settings = Settings(version=0, active=False)
        self._course: Course | None = None
        self._goal: Goal | None = None      # of the part that runs; settings.goal may be a subgoal on the way
        self._judged: CostSettings | None = None
        self._first_energy: float | None = None
        self._led, self._refusal = False, ''

    @property
    def tasks(self) -> dict[str, Task]:
        """Tasks by name."""
        return self._preparer.tasks

    @property
    def led(self) -> bool:
        """Whether the part that runs goes over landmarks."""
        return self._led

    def asks(self, name: str) -> bool:
        """Whether a task, or some part of it, takes its goal from who gives it."""
        return self._preparer.asks(name)

    def check(self, name: str) -> None:
        """Refuse a task that does not fit the model; see `Preparer.check`."""
        self._preparer.check(name)

    # ---- a goal's life -------------------------------------------------------------------------------------------
    def prepare(self, goal: Goal | None, task_name: str = '', timeout_s: float = 0.0) -> Step | Loop:
        """Read and check all that a task needs; nothing changes. May take long where it reads bags.

        ConfigError for an unknown task or contradictory goals, CostError for a goal or weight that cannot be, and what
        reading images and bags raises.
        """
        return self._preparer.prepare(goal, task_name or DEFAULT_TASK, timeout_s)

    def start(self, goal: Goal | None, task_name: str = '', timeout_s: float = 0.0, now_s: float = 0.0,
              goal_id: str = '', state: EncodedState | None = None, prepared: Step | Loop | None = None) -> Settings:
        """Pursue `goal`, or what the task knows itself; errors as `prepare`, which is called where it was not before.

        state: the present one, which `stay` and landmarks need.
        """
        prepared = prepared or self.prepare(goal, task_name, timeout_s)
        course = Course(prepared)
        step = course.begin(now_s)
        settings = self._settings_of(course, step, goal_id, state)
        self._course = course
        return self._enter(step, settings, state, now_s)

    def reconfigure(self, weights: Mapping[str, float] | None = None, mode: str | None = None,
                    budget_ms: float | None = None) -> Settings:
        """Change weights, mode or budget of what is running, until its part ends; errors as in `start`, nothing
        changed then."""
        if mode is not None and mode not in MODES:
            raise ConfigError(f'mode {mode!r} is unknown; known: {", ".join(MODES)}')
        if mode == 'reactive' and self.settings.active and not (self.settings.goal and self.settings.goal.levels):
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
        self._course, self._led = None, False
        if self.guide is not None:
            self.guide.rest()
        return self.settings

    def observe(self, state: EncodedState, now_s: float) -> Progress:
        """Judge the newest state, and go on to the next part or subgoal: `settings` then has a new version.

        `now_s` on the clock `start` was given.
        """
        course = self._course
        if course is None:
            raise ConfigError('no goal is being pursued')
        step, label = course.step, course.label
        energy = self._distance(state)
        if self._first_energy is None:
            self._first_energy = max(energy, 1e-9)
        share = 0.0 if math.isnan(energy) else min(1.0, max(0.0, 1 - energy / self._first_energy))
        late, then = self._refusal or course.overdue(now_s), None
        if not self._refusal and self._succeeded(step, state, energy, now_s):
            then = course.succeeded(now_s)
        elif late:
            then = course.failed(late, now_s)
        ended = PartEnd(label, not course.failing, late) if then is not None and label else None
        progress = Progress(energy, share, now_s - course.began_s, None, label, ended)
        if isinstance(then, Ended):
            return replace(progress, outcome='success' if then.success else 'timeout', reason=then.reason)
        if isinstance(then, Step):
            self._go_on(course, then, state, now_s)
        elif self._led:
            self._lead(state, now_s)
        return replace(progress, landmarks=self.guide.left if self._led else 0)

    # ---- under way -----------------------------------------------------------------------------------------------
    def _settings_of(self, course: Course, step: Step, goal_id: str, state: EncodedState | None) -> Settings:
        goal, task = step.goal, step.task
        if step.stay:
            if state is None:
                raise ConfigError(f'task {step.name!r} is to stay in the present state, and there is none yet')
            goal = Goal(levels=tuple(state.levels))
        weights = self._cost.make_settings(goal, task.weights, step.regions).weights
        name = course.top.name
        return Settings(self.settings.version + 1, True, name, goal_id, goal, weights, task.mode, task.budget_ms,
                        course.top.limit_s, task.modulation, step.regions, step.discomforts, step.program, course.label,
                        task.speed)

    def _go_on(self, course: Course, step: Step, state: EncodedState, now_s: float) -> None:
        """Begin a further part; one that cannot be, as to stay where no goal may be, fails with the next state."""
        try:
            self._enter(step, self._settings_of(course, step, self.settings.goal_id, state), state, now_s)
        except JepaRosError as error:
            self._refusal = str(error)

    def _enter(self, step: Step, settings: Settings, state: EncodedState | None, now_s: float) -> Settings:
        self.settings, self._goal, self._refusal = settings, settings.goal, ''
        self._judged = None if self._goal is None else self._cost.make_settings(self._goal)
        self._first_energy = None
        self._led = step.task.landmarks and self.guide is not None and bool(self._goal and self._goal.levels)
        if self.guide is not None:
            self.guide.rest()
        if self._led and state is not None:
            self._lead(state, now_s)
        return self.settings

    def _lead(self, state: EncodedState, now_s: float) -> None:
        """Set the next subgoal on the way to the goal as what the actor goes to."""
        subgoal = self.guide.lead(state.levels[0], self._goal.levels[0], now_s, self._forbidden())
        goal = self._goal if subgoal is None else Goal(levels=(subgoal,))
        now = self.settings.goal
        if now is goal or (subgoal is not None and now is not self._goal and now.levels[0] is subgoal):
            return
        self.settings = replace(self.settings, version=self.settings.version + 1, goal=goal)

    def _forbidden(self) -> Callable[[Tensor], Tensor] | None:
        """Which states lie where no plan may enter: no subgoal may be there."""
        within = self._cost.make_settings(None, None, self.settings.regions)

        def holds(states: Tensor) -> Tensor:
            depth = self._cost.depth(states, within)        # (n, K)
            return states.new_zeros(len(states)).bool() if depth is None else (depth > 0).any(-1)
        return holds if self.settings.regions else None

    def _succeeded(self, step: Step, state: EncodedState, energy: float, now_s: float) -> bool:
        test = step.test
        if test.never:
            return False
        tolerance = READOUT_TOLERANCE if self._goal is not None and not self._goal.levels else self.goal_tolerance
        return ((test.energy is None or energy <= tolerance * test.energy)
                and all(condition.true(state.readouts[condition.readout]) for condition in test.when)
                and (test.after_s is None or now_s - self._course.step_began_s >= test.after_s))

    def _distance(self, state: EncodedState) -> float:
        """Goal energy of a state goal; Euclidean distance in the readouts' unit for a goal in readouts."""
        if self._judged is None:
            return math.nan
        if not self._goal.levels:
            return sum((state.readouts[n] - v) ** 2 for n, v in self._goal.readouts.items()) ** 0.5
        goal = self._judged.goal_state
        return float(squared(state.levels[0].to(goal.device), goal))
