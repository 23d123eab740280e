"""The actor's own thread: it always plans for the newest state and never lets the executor wait (design §3).

No ROS here. What goes wrong in a plan ends in a Mode-1 action, and what was given up is said in `degradation`.
"""
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
import time

import numpy as np

from ..errors import ConfigError
from ..worker import Worker

REACTIVE = 'reactive'


@dataclass(frozen=True)
class Settings:
    """What the configurator asks of the actor. `version` tells plans of different configurations apart."""

    version: int
    goal: object
    weights: dict[str, float]
    mode: str        # 'auto', 'reactive' or 'planned'
    budget_ms: float
    regions: tuple = ()     # to keep out of
    more: dict = field(default_factory=dict)    # what else the cost takes: discomfort, program


@dataclass(frozen=True)
class Job:
    """A state to act on. `sent_s` is the wall time at which perception sent it."""

    state: object
    stamp_ns: int
    sent_s: float
    previous_action: np.ndarray | None
    delay_s: float
    since_s: float = field(default_factory=time.perf_counter)      # when it was there to be planned for


class PlanningThread(Worker):
    """Runs `actor.act` on the newest job. `deliver(settings, job, decision)` is called in this thread."""

    def __init__(self, actor, deliver: Callable[[Settings, Job, object], None], fail: Callable[[str], None],
                 weights: AbstractContextManager | None = None,
                 lost: Callable[[Exception], bool] = lambda error: False):
        """`weights`: lock that is held while a plan is made and delivered: whoever changes weights waits for it.
        `lost`: whether an error means that the device is gone, on which Mode-1 would fail too: then nothing is sent.
        """
        self._actor, self._lost = actor, lost
        self._weights = weights or nullcontext()
        self._deliver = deliver
        self._fail = fail
        self._settings: Settings | None = None
        self._applied: Settings | None = None
        self._job: Job | None = None
        self._busy_since: float | None = None
        super().__init__('planner')

    def configure(self, settings: Settings | None) -> None:
        """Take effect with the next job; None forgets the goal and drops the waiting job."""
        with self._news:
            self._settings = settings
            self._job = None

    def submit(self, job: Job) -> None:
        """Replace the waiting job: an older state is never planned for."""
        with self._news:
            self._job = job
            self._news.notify()

    def busy_s(self) -> float:
        """Wall seconds the current plan has taken; 0 when idle."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._ending or self._job is not None)
                if self._ending:
                    return
                job, self._job = self._job, None
                settings = self._settings
            if settings is None:
                continue
            self._busy_since = time.monotonic()
            with self._weights:
                decision = self._decide(settings, job)
                self._busy_since = None
                if decision is not None:
                    self._deliver(settings, job, _timed(decision, settings.budget_ms, job))

    def _decide(self, settings: Settings, job: Job):
        try:
            if self._applied is not settings:
                if self._applied is None or self._applied.goal is not settings.goal:
                    self._actor.reset()
                apply(self._actor, settings)
                self._applied = settings
            return self._actor.act(job.state, job.previous_action, job.delay_s, job.since_s)
        except Exception as error:  # the robot is moving: whatever broke the plan, Mode-1 takes over and it is said
            self._applied = None
            if self._lost(error):
                return None
            reason = f'planner failed ({type(error).__name__}: {error})'
            return self._react(settings, job, reason)

    def _react(self, settings: Settings, job: Job, reason: str):
        try:
            decision = react(self._actor, settings, job, reason)
        except Exception as error:  # this thread must live on for the next state
            self._fail(f'{reason}, and so did Mode-1 ({type(error).__name__}: {error})')
            return None
        if decision is None:  # no action is sent: the command gate stops the robot
            self._fail(f'{reason}, and Mode-1 needs a goal given as image or bag')
        return decision


def _timed(decision, budget_ms: float, job: Job):
    """The decision, which says how late it is: its own clock knows nothing of what it waited for."""
    late_ms = (time.perf_counter() - job.since_s) * 1e3 - budget_ms
    if late_ms <= 0 or ' ms late' in decision.degradation:
        return decision
    return replace(decision, degradation=f'{decision.degradation}; {late_ms:.1f} ms late'.removeprefix('; '))


def apply(actor, settings: Settings) -> None:
    """Configure an actor."""
    actor.configure(goal=settings.goal, weights=settings.weights, mode=settings.mode, budget_ms=settings.budget_ms,
                    regions=settings.regions, **settings.more)


def react(actor, settings: Settings, job: Job, reason: str):
    """Decide by Mode-1. Returns None for a goal that the policy cannot take (readouts)."""
    try:
        apply(actor, replace(settings, mode=REACTIVE))
    except ConfigError:
        return None
    decision = actor.act(job.state)  # a reflex answers what is, and needs nothing else that could be wrong
    return replace(decision, degradation=f'{reason}: Mode-1 acts')
