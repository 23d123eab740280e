"""Sequences and loops of tasks: which part is next when one has succeeded or failed (LeCun §6). Pure.

A prepared task is a tree: `Step` is one aim, `Loop` a sequence. `Course` walks through it, one part at a time.
"""
from dataclasses import dataclass
import math

from jepa_ros.configurator.task_parts import FOREVER, SuccessTest
from jepa_ros.configurator.tasks import Task
from jepa_ros.cost.cost import Goal, Region


@dataclass(frozen=True)
class Step:
    """One aim, ready to be pursued. `goal` None: there is none; `stay`: the state in which it begins."""

    name: str
    task: Task
    goal: Goal | None
    test: SuccessTest
    stay: bool = False
    limit_s: float = math.inf
    regions: tuple[Region, ...] = ()        # of its task and of the sequences around it
    discomforts: tuple[Region, ...] = ()
    program: object = None                  # states (T, D) to follow


@dataclass(frozen=True)
class Loop:
    """Parts one after the other, `repeat` times."""

    name: str
    parts: tuple['Step | Loop', ...]
    repeat: int = 1
    on_failure: str = 'stop'
    limit_s: float = math.inf

    @property
    def retries(self) -> int:
        """How often a failed part is tried again."""
        return int(self.on_failure.split()[1]) if self.on_failure.startswith('retry') else 0


@dataclass
class _Frame:
    """Where in one loop."""

    loop: Loop
    began_s: float
    index: int = 0
    round: int = 1
    tries: int = 0
    reached: int = 0


@dataclass(frozen=True)
class Ended:
    """The whole is over."""

    success: bool
    reason: str = ''


class Course:
    """Walks through a prepared task. `begin` gives the first step, `succeeded` and `failed` what comes then."""

    def __init__(self, top: Step | Loop):
        self.top = top
        self.failures = 0           # parts that failed and were passed over or tried again
        self.finished = 0           # parts that succeeded
        self.failing = False        # the last part that ended failed
        self._frames: list[_Frame] = []
        self.step: Step | None = None
        self.step_began_s = 0.0
        self.began_s = 0.0

    @property
    def is_sequence(self) -> bool:
        """It has parts."""
        return isinstance(self.top, Loop)

    @property
    def label(self) -> str:
        """What runs: `2/4 reach`, `1/2 patrol > 3/4 reach, round 2`; empty for a task without parts."""
        parts = [f'{frame.index + 1}/{len(frame.loop.parts)} {frame.loop.parts[frame.index].name}'
                 for frame in self._frames]
        rounds = self.round
        return ' > '.join(parts) + (f', round {rounds}' if rounds > 1 else '')

    @property
    def round(self) -> int:
        """Round of the innermost sequence that repeats, from 1."""
        return next((f.round for f in reversed(self._frames) if f.loop.repeat > 1), 1)

    def begin(self, now_s: float) -> Step:
        """The first step."""
        self._frames, self.began_s = [], now_s
        return self._descend(self.top, now_s)

    def overdue(self, now_s: float) -> str:
        """Why time is up for the step or a sequence around it; empty while it is not."""
        frame = self._late(now_s)
        if frame is not None:
            return f'{frame.loop.name}: not done within {frame.loop.limit_s:g} s'
        if now_s - self.step_began_s >= self.step.limit_s:
            return f'not reached within {self.step.limit_s:g} s'
        return ''

    def succeeded(self, now_s: float) -> Step | Ended:
        """The step was a success: the next one, or the end."""
        self.finished, self.failing = self.finished + 1, False
        return self._next(True, '', now_s)

    def failed(self, reason: str, now_s: float) -> Step | Ended:
        """The step, or the sequence whose time is up, was not: the next one, or the end."""
        self.failures, self.failing = self.failures + 1, True
        label, late = self.label, self._late(now_s)
        if late is not None:
            del self._frames[self._frames.index(late):]
        return self._next(False, f'{label}: {reason}' if label else reason, now_s)

    def _late(self, now_s: float) -> _Frame | None:
        return next((f for f in self._frames if now_s - f.began_s >= f.loop.limit_s), None)

    def _next(self, good: bool, reason: str, now_s: float) -> Step | Ended:
        while self._frames:
            frame = self._frames[-1]
            loop = frame.loop
            if not good and frame.tries < loop.retries:
                frame.tries += 1
                return self._descend(loop.parts[frame.index], now_s)
            if not good and loop.on_failure != 'next':
                self._frames.pop()
                continue
            frame.tries, frame.reached = 0, frame.reached + good
            frame.index += 1
            if frame.index == len(loop.parts):
                frame.index, frame.round = 0, frame.round + 1
                if loop.repeat < FOREVER and frame.round > loop.repeat:
                    good = frame.reached > 0        # parts passed over do not spoil what was reached
                    self._frames.pop()
                    continue
            return self._descend(loop.parts[frame.index], now_s)
        return Ended(good, '' if good else reason)

    def _descend(self, part: Step | Loop, now_s: float) -> Step:
        while isinstance(part, Loop):
            self._frames.append(_Frame(part, now_s))
            part = part.parts[0]
        self.step, self.step_began_s = part, now_s
        return part
