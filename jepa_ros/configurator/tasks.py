"""Tasks: YAML files that say what the configurator asks of the other organs (LeCun §2, §6). docs/tasks.md has all keys.

A task is one aim (weights, goal, regions, budgets, success test), or a sequence of tasks. A file that cannot be is
refused in one line that names it, the line and the field.
"""
from collections.abc import Mapping
import math
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator, PrivateAttr

from jepa_ros import paths
from jepa_ros.configurator.task_parts import (
    Avoid,
    GoalSpec,
    inside,
    OnFailure,
    Part,
    Program,
    Seconds,
    Strict,
    SuccessTest,
    Times,
)
from jepa_ros.cost.cost import CRITIC, Region
from jepa_ros.cost.intrinsic import TERMS
from jepa_ros.errors import ConfigError
from jepa_ros.registry import nearest
from jepa_ros.robot.yaml_errors import load_validated

DEFAULT_TASK = 'reach'
# What a sequence may say besides its parts: the rest stands in the tasks of which it is made.
OF_A_SEQUENCE = frozenset({'description', 'sequence', 'repeat', 'on_failure', 'timeout_s', 'avoid', 'discomfort'})
GIVEN, NONE = GoalSpec(kind='given'), GoalSpec(kind='none')


class Task(Strict):
    """One file of `config/tasks/`, or one of the user's own."""

    description: str = ''
    goal: GoalSpec = GIVEN
    weights: dict[str, float] = Field(default_factory=dict)
    avoid: list[Avoid] = Field(default_factory=list)
    discomfort: list[Avoid] = Field(default_factory=list)
    program: Program = None
    mode: Literal['auto', 'reactive', 'planned'] = 'auto'
    budget_ms: float = Field(50.0, gt=0, le=10_000)
    speed: float = Field(1.0, gt=0, le=1)
    timeout_s: Seconds = 60.0
    success: SuccessTest = SuccessTest()
    landmarks: bool = False
    modulation: dict[str, float] = Field(default_factory=dict)
    sequence: list[Part] = Field(default_factory=list)
    repeat: Times = 1
    on_failure: OnFailure = 'stop'
    _source: str = PrivateAttr('')      # the file it was read from

    @field_validator('weights')
    @classmethod
    def _weights(cls, weights: dict[str, float]) -> dict[str, float]:
        known = [*TERMS.names(), CRITIC]
        for name, value in weights.items():
            if name not in known:
                raise ValueError(f'unknown cost term {name!r}{nearest(name, known)}; known: {", ".join(known)}')
            floor = TERMS.get(name).floor if name != CRITIC else 0.0
            if value < 0:
                raise ValueError(f'{name} is {value:g}: a weight is not negative')
            if value < floor:
                raise ValueError(f'{name} is {value:g}, below the floor {floor:g} of this guardrail: give {floor:g} or '
                                 'more, or leave it out')
        return weights

    @model_validator(mode='after')
    def _fits_together(self):
        said = self.model_fields_set
        if self.sequence:
            more = sorted(said - OF_A_SEQUENCE)
            if more:
                raise ValueError(f'{more[0]}: a sequence has none of its own: it stands in the tasks of its parts')
            return self
        alone = [name for name in ('repeat', 'on_failure') if name in said]
        if 'sequence' in said:
            raise ValueError('sequence: it is empty: name at least one task')
        if alone:
            raise ValueError(f'{alone[0]}: it goes with a sequence')
        check_goal(self, self.aim)
        test = self.test
        if test.after_s is not None and test.after_s >= self.timeout_s:
            raise ValueError(f'success.after_s: {test.after_s:g} s is not before timeout_s, {self.timeout_s:g} s: time '
                             'would be up first')
        return self

    @property
    def aim(self) -> GoalSpec:
        """What to reach; following a program is an aim of its own."""
        return NONE if self.program is not None and 'goal' not in self.model_fields_set else self.goal

    @property
    def test(self) -> SuccessTest:
        """When it is reached; where the file does not say, at the goal, and never where there is none to go to."""
        return self.test_of(self.aim)

    def test_of(self, goal: GoalSpec) -> SuccessTest:
        """The same for another goal."""
        if self.success.asks:
            return self.success
        return SuccessTest(never=True) if goal.kind in ('none', 'stay') else SuccessTest(energy=1.0)

    @property
    def limit_s(self) -> float:
        """Seconds it may take; a sequence that does not say takes as long as its parts."""
        return math.inf if self.sequence and 'timeout_s' not in self.model_fields_set else self.timeout_s

    @property
    def regions(self) -> tuple[Region, ...]:
        """What to keep out of, as the cost takes it."""
        return tuple(each.region for each in self.avoid)

    @property
    def discomforts(self) -> tuple[Region, ...]:
        """What to leave where possible, as the cost takes it."""
        return tuple(each.region for each in self.discomfort)

    @property
    def source(self) -> str:
        """File it was read from; empty for one made in memory."""
        return self._source

    @property
    def folder(self) -> Path:
        """What its files are relative to."""
        return Path(self._source).parent if self._source else Path()


def check_goal(task: Task, goal: GoalSpec) -> None:
    """Refuse a goal that contradicts its task: ValueError, the field first."""
    test, kind = task.test_of(goal), goal.kind
    if kind == 'none' and test.energy is not None:
        raise ValueError('success.energy: there is no goal to be near to: name one, or success by when, after_s or '
                         'never')
    if kind == 'stay' and not (test.never or test.when or test.after_s is not None):
        raise ValueError('success: who is to stay is there at once: say after_s, when or never')
    if task.mode == 'reactive' and kind in ('none', 'readouts'):
        raise ValueError('goal: mode reactive acts by reflex, which needs a goal image or a moment of a bag')
    if task.landmarks and kind in ('none', 'stay'):
        raise ValueError(f'goal: landmarks lead to a far goal, but the goal is {kind!r}')
    if kind != 'readouts':
        return
    condition = test.impossible(goal.readouts)
    if condition is not None and test.energy is not None:
        raise ValueError(f'goal: {condition.readout} = {goal.readouts[condition.readout]:g} contradicts the success '
                         f'test {condition}')
    number = inside(task.avoid, goal.readouts)
    if number is not None:
        raise ValueError(f'goal: it lies within avoid.{number}, which no plan may enter')


def load_task(path: Path) -> Task:
    """Read one task; ConfigError names file and field."""
    task = load_validated(path, Task)
    task._source = str(path)
    shown = {'goal': task.goal.files} | {f'sequence.{n}.goal': part.goal.files
                                         for n, part in enumerate(task.sequence) if part.goal is not None}
    if task.program is not None:
        shown['program'] = {'bag': task.program.bag}
    for field, files in shown.items():
        for key, name in files.items():
            if not located(task, name).exists():
                raise ConfigError(f'{path}: {field}.{key}: no file {name!r} in {path.parent.absolute()}')
    return task


def located(task: Task, name: str) -> Path:
    """A file that a task names: relative to the task's own, unless the name is absolute or begins with ~."""
    return task.folder / Path(name).expanduser()


def load_tasks(extra: str = '') -> dict[str, Task]:
    """Tasks by name: the user's, of a YAML file or a folder of them, before the shipped ones of the same name.

    ConfigError for a file that cannot be, an unknown part of a sequence, and a sequence that contains itself.
    """
    files = {name: paths.config_file('tasks', name) for name in paths.known('tasks')}
    for path in _own(extra):
        files[path.stem] = path
    tasks = {name: load_task(path) for name, path in files.items()}
    check_sequences(tasks)
    return tasks


def own_names(extra: str) -> list[str]:
    """Names of the tasks that the user brings."""
    return [path.stem for path in _own(extra)]


def _own(extra: str) -> list[Path]:
    if not extra:
        return []
    place = Path(extra).expanduser()
    if place.is_dir():
        found = sorted(path for path in place.iterdir() if path.suffix in ('.yaml', '.yml'))
        if not found:
            raise ConfigError(f'tasks {extra!r}: the folder holds no .yaml file')
        stems = [path.stem for path in found]
        twice = next((path for path in found if stems.count(path.stem) > 1), None)
        if twice is not None:
            raise ConfigError(f'tasks {extra!r}: {twice.stem} is there as .yaml and as .yml: leave one out')
        return found
    if place.is_file():
        return [place]
    raise ConfigError(f'tasks {extra!r}: no such file or folder: give a YAML file of a task, or a folder of them')


def check_sequences(tasks: Mapping[str, Task]) -> None:
    """Refuse sequences of unknown tasks and sequences that contain themselves; ConfigError names file and field."""
    for name, task in tasks.items():
        source = task.source or f'task {name}'
        for number, part in enumerate(task.sequence):
            field = f'{source}: sequence.{number}'
            inner = tasks.get(part.task)
            if inner is None:
                raise ConfigError(f'{field}.task: unknown task {part.task!r}{nearest(part.task, tasks)}; '
                                  f'known: {", ".join(sorted(tasks))}')
            if part.goal is None:
                continue
            if inner.sequence:
                raise ConfigError(f'{field}.goal: {part.task} is a sequence: its parts have the goals')
            try:
                check_goal(inner, part.goal)
            except ValueError as error:
                raise ConfigError(f'{field}.{error} (task {part.task})') from None
    for name in tasks:
        _check_cycle(tasks, (name,))


def _check_cycle(tasks: Mapping[str, Task], way: tuple[str, ...]) -> None:
    for number, part in enumerate(tasks[way[-1]].sequence):
        if part.task in way:
            task, cycle = tasks[way[-1]], [*way[way.index(part.task):], part.task]
            raise ConfigError(f'{task.source or f"task {way[-1]}"}: sequence.{number}: the sequence contains itself: '
                              f'{" > ".join(cycle)}')
        _check_cycle(tasks, (*way, part.task))
