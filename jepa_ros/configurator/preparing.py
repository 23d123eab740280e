"""Makes a task ready: reads what it shows, checks it against the model, and lays its parts out as a tree (LeCun §6).

What cannot be is refused before anything moves. Reading bags may take long: nodes call this in a thread.
"""
from collections.abc import Mapping
from dataclasses import replace
import math
from typing import Protocol

from jepa_ros.configurator.sequence import Loop, Step
from jepa_ros.configurator.task_parts import Avoid, GoalSpec, Program
from jepa_ros.configurator.tasks import Task
from jepa_ros.cost.cost import Cost, Goal, Region
from jepa_ros.errors import ConfigError, JepaRosError
from jepa_ros.registry import nearest


class Eyes(Protocol):
    """Turns what a task file shows into states; `goals.Shown` does it for an agent."""

    def goal(self, spec: GoalSpec, task: Task, token: Mapping[str, float]) -> Goal:
        """Goal of an image or a moment of a bag, whose file `task` names, seen with the task token of its aim."""

    def program(self, program: Program, task: Task) -> object:
        """States (T, D) of a demonstration."""


class Preparer:
    """Knows the tasks, the cost that will judge them, and eyes for what they show."""

    def __init__(self, cost: Cost, tasks: dict[str, Task], eyes: Eyes | None, token_names: tuple[str, ...]):
        self._cost, self.tasks, self._eyes, self._token_names = cost, tasks, eyes, token_names

    def prepare(self, goal: Goal | None, name: str, timeout_s: float = 0.0) -> Step | Loop:
        """See `Configurator.prepare`."""
        if name not in self.tasks:
            raise ConfigError(f'unknown task {name!r}{nearest(name, self.tasks)}; known: {", ".join(self.tasks)}')
        if timeout_s and not (math.isfinite(timeout_s) and timeout_s > 0):
            raise ConfigError(f'timeout is {timeout_s} s: it must be positive and finite, or 0 for that of the task')
        if goal is not None and not goal.levels and not goal.readouts:
            goal = None
        if goal is None and self.asks(name):
            raise ConfigError('the goal is empty: give an image, readout values or a moment of a bag')
        if goal is not None and not self.asks(name):
            raise ConfigError(f'task {name!r} knows its goal itself ({self._own(name)}): give none with it')
        prepared = self._prepare(name, goal, (), ())
        return replace(prepared, limit_s=timeout_s) if timeout_s else prepared

    def asks(self, name: str) -> bool:
        """Whether the task, or some part of it, takes its goal from the action."""
        task = self.tasks[name]
        if not task.sequence:
            return not task.aim.own
        return any(self.asks(part.task) if part.goal is None else not part.goal.own for part in task.sequence)

    def _own(self, name: str) -> str:
        task = self.tasks[name]
        return 'a sequence' if task.sequence else {'none': 'it has none', 'stay': 'to stay'}.get(
            task.aim.kind, f'given as {task.aim.kind}')

    def _prepare(self, name: str, given: Goal | None, avoid: tuple[Avoid, ...],
                 discomfort: tuple[Avoid, ...], spec: GoalSpec | None = None, owner: Task | None = None) -> Step | Loop:
        task = self.tasks[name]
        avoid, discomfort = avoid + tuple(task.avoid), discomfort + tuple(task.discomfort)
        if not task.sequence:
            return self._step(name, task, given, avoid, discomfort, spec or task.aim, owner or task)
        parts = []
        for part in task.sequence:
            inner = self._prepare(part.task, given, avoid, discomfort, part.goal, task if part.goal else None)
            parts.append(inner if part.timeout_s is None else replace(inner, limit_s=part.timeout_s))
        return Loop(name, tuple(parts), task.repeat, task.on_failure, task.limit_s)

    def _step(self, name: str, task: Task, given: Goal | None, avoid: tuple[Avoid, ...], discomfort: tuple[Avoid, ...],
              spec: GoalSpec, owner: Task) -> Step:
        goal = given if spec.kind == 'given' else Goal(readouts=dict(spec.readouts)) if spec.kind == 'readouts' \
            else None if spec.kind in ('none', 'stay') else self._see(name).goal(spec, owner, task.modulation)
        if task.mode == 'reactive' and spec.kind != 'stay' and (goal is None or not goal.levels):
            raise ConfigError(f'task {name!r} acts by reflex, which needs a goal image or a moment of a bag')
        test = task.test_of(spec)
        self._check_fit(name, task)
        program = None if task.program is None else self._see(name).program(task.program, task)
        regions = tuple(each.region for each in avoid)
        discomforts = tuple(each.region for each in discomfort)
        self._cost.make_settings(goal, task.weights, **where(regions, discomforts, program))
        return Step(name, task, goal, test, spec.kind == 'stay', task.timeout_s, regions, discomforts, program)

    def _see(self, name: str) -> Eyes:
        if self._eyes is None:
            raise ConfigError(f'task {name!r} shows an image or a recording, which needs an agent with perception')
        return self._eyes

    def check(self, name: str) -> None:
        """Whether a task fits the model, as far as that can be said without a goal and without reading what it shows.

        ConfigError or CostError, the task's file first.
        """
        task = self.tasks[name]
        goals = [part.goal for part in task.sequence if part.goal is not None] or [task.aim]
        try:
            self._check_fit(name, task)
            for goal in goals:
                self._cost.make_settings(Goal(readouts=dict(goal.readouts)) if goal.readouts else None, task.weights,
                                         **where(task.regions, task.discomforts, None))
        except JepaRosError as error:
            raise type(error)(f'{task.source}: {error}' if task.source else str(error)) from None

    def _check_fit(self, name: str, task: Task) -> None:
        for condition in task.success.when:
            self._cost.make_settings(Goal(readouts={condition.readout: condition.value}))   # a name it knows
        if task.modulation and not self._token_names:
            raise ConfigError(f'task {name!r}: modulation {", ".join(task.modulation)}: this model was trained without '
                              'task tokens: leave modulation out')
        for token in task.modulation:
            if token not in self._token_names:
                raise ConfigError(f'task {name!r}: modulation: unknown token {token!r}'
                                  f'{nearest(token, self._token_names)}; known: {", ".join(self._token_names)}')


def where(regions: tuple[Region, ...], discomforts: tuple[Region, ...], program: object) -> dict:
    """Keywords of `Cost.make_settings`; only what is there."""
    more = ({'discomfort': discomforts} if discomforts else {}) | ({'program': program} if program is not None else {})
    return {'regions': regions, **more}
