"""Being on time: how much of Mode-2 fits into the budget (LeCun §3.1: Mode-1 acts where there is no time to think).

A ladder of ever cheaper planners: fewer samples, then one iteration, then a shorter horizon; below its last rung is
Mode-1. `Pace` knows what each rung took, and how much slower than that the machine is at present.
"""
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
import time

from jepa_ros.actor.planners import PlannerConfig

LEAST_SAMPLES = 8
LEAST_HORIZON = 4
MARGIN = 1.15           # a plan is expected to take this much longer than it usually does
KEEP_WHEN_SLOWER = 0.5  # of the old slowness, when a plan took longer than expected
KEEP_WHEN_QUICKER = 0.9  # when it took less: a busy machine is busy for a while
QUICKEST = 0.5          # of the calibrated time, the least that a rest makes it expect
FORGET = 0.97           # per tick without a plan: after a while Mode-2 is tried again
LEAST_RESERVE, MOST_RESERVE = 0.1, 0.5     # of the budget
RESERVE_MARGIN = 1.5    # of what once came too late
RESERVE_FALLS = 0.999   # per tick: it is expected for a while (half of it after 70 s at 10 Hz)
# These methods refuse fewer samples, or iterations, than their choices need.
WHOLE = ('beam', 'exhaustive')


@dataclass(frozen=True)
class Rung:
    """Planner settings of all levels, and what they give up of the full ones ('' for nothing)."""

    configs: tuple[PlannerConfig, ...]
    given_up: str = ''


def ladder(configs: Sequence[PlannerConfig]) -> list[Rung]:
    """The full settings first. A rung that gives up nothing more than the one before is left out."""
    full = tuple(configs)
    half, quarter = ([_fewer(c, divisor) for c in full] for divisor in (2, 4))
    once = [_once(c) for c in quarter]
    short = [replace(c, horizon=max(min(c.horizon, LEAST_HORIZON), c.horizon // 2)) for c in once]
    rungs = [Rung(full)]
    for changed in (half, quarter, once, short):
        if tuple(changed) != rungs[-1].configs:
            rungs.append(Rung(tuple(changed), _given_up(full, changed)))
    return rungs


def _fewer(config: PlannerConfig, divisor: int) -> PlannerConfig:
    samples = max(min(config.samples, LEAST_SAMPLES), config.samples // divisor)
    if samples == config.samples or config.method in WHOLE:
        return config
    return replace(config, samples=samples, elites=max(1, min(samples // 2, config.elites)))


def _once(config: PlannerConfig) -> PlannerConfig:
    iterations = config.iterations if config.method in WHOLE else 1
    return replace(config, iterations=iterations, refine=min(config.refine, iterations - 1), joint=0)


def _given_up(full: Sequence[PlannerConfig], configs: Sequence[PlannerConfig]) -> str:
    """What all levels together give up."""
    def all_of(name: str) -> tuple[int, int]:
        return sum(getattr(c, name) for c in configs), sum(getattr(c, name) for c in full)
    said = {'samples': '{} of {} samples', 'iterations': '{} of {} iterations', 'horizon': '{} of {} steps'}
    parts = [text.format(*all_of(name)) for name, text in said.items() if all_of(name)[0] < all_of(name)[1]]
    return ', '.join(parts + ['not refined together'] * (all_of('joint')[0] < all_of('joint')[1]))


@dataclass(frozen=True)
class Tick:
    """The clock of one decision; times are those of `time.perf_counter()`."""

    budget_ms: float
    since_s: float          # when the state was there: the budget counts from then
    began_s: float = field(default_factory=time.perf_counter)   # when thinking about it began

    @property
    def latency_ms(self) -> float:
        """How long ago the state was there."""
        return (time.perf_counter() - self.since_s) * 1e3

    @property
    def thought_ms(self) -> float:
        """How long ago thinking began."""
        return (time.perf_counter() - self.began_s) * 1e3


class Pace:
    """Chooses a rung for a budget from what plans took. What is not known is tried: ignorance must not end Mode-2.

    Slowness is relative to the calibration, and below 1 where the machine was busy then. A busy machine also takes the
    processor away for some milliseconds, at any moment: `reserve_ms` is kept free of the budget for that.
    """

    def __init__(self, rungs: int):
        self._usual_ms: list[float | None] = [None] * rungs
        self._slowness = 1.0
        self._first = 0
        self.reserve_ms = 0.0

    def start_at(self, rung: int) -> None:
        """Never choose a dearer rung again: there was too little memory for it."""
        self._first = rung

    def calibrate(self, rung: int, took_ms: float) -> None:
        """What a plan of that rung takes on a machine that does nothing else; the least counts."""
        known = self._usual_ms[rung]
        self._usual_ms[rung] = took_ms if known is None else min(known, took_ms)

    def expected_ms(self, rung: int) -> float:
        """Milliseconds that a plan of that rung would take now; 0 when nothing is known."""
        usual = self._usual_ms[rung]
        return 0.0 if usual is None else usual * self._slowness

    def deadline(self, tick: Tick) -> float:
        """`time.perf_counter()` at which a search should end, so that the decision is there in time."""
        reserve_ms = min(max(self.reserve_ms, LEAST_RESERVE * tick.budget_ms), MOST_RESERVE * tick.budget_ms)
        return tick.since_s + (tick.budget_ms - reserve_ms) / 1e3

    def ended(self, over_ms: float) -> None:
        """A decision was there so long after the deadline of its search; negative: before it."""
        self.reserve_ms = max(RESERVE_FALLS * self.reserve_ms, RESERVE_MARGIN * over_ms)

    def choose(self, budget_ms: float) -> int | None:
        """The first rung that fits; None when none does."""
        rungs = range(self._first, len(self._usual_ms))
        return next((r for r in rungs if self._usual_ms[r] is None or self.expected_ms(r) * MARGIN <= budget_ms), None)

    def took(self, rung: int, ms: float) -> None:
        """A plan of that rung was made, all its iterations done."""
        usual = self._usual_ms[rung]
        if usual is None:
            self.calibrate(rung, ms)
            return
        now = ms / usual
        keep = KEEP_WHEN_SLOWER if now > self._slowness else KEEP_WHEN_QUICKER
        self._slowness = keep * self._slowness + (1 - keep) * now

    def rested(self) -> None:
        """A tick went by without Mode-2."""
        self._slowness = max(QUICKEST, self._slowness * FORGET)
