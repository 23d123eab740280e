"""Figures from observations: intervals, percentiles, and control timing from the times at which messages came."""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
import math

import numpy as np

Z_95 = 1.959964         # two-sided 95 % quantile of the normal distribution
DEADLINE_MS = 100.0     # one control period


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """95 % interval of a success rate (Wilson 1927); right for few trials and for rates of 0 and 1, too."""
    if trials == 0:
        return 0.0, 1.0
    rate, share = successes / trials, z * z / trials
    centre = (rate + share / 2) / (1 + share)
    half = z / (1 + share) * math.sqrt(rate * (1 - rate) / trials + share / (4 * trials))
    # at the ends the bounds are exact, the sums only nearly
    return 0.0 if successes == 0 else centre - half, 1.0 if successes == trials else centre + half


def percentiles(values: Iterable[float], which: Sequence[int] = (50, 95, 99)) -> dict[str, float | None]:
    """{'p50': …}; None where there is no value: JSON has no NaN."""
    data = np.fromiter(values, float)
    return {f'p{p}': float(np.percentile(data, p)) if len(data) else None for p in which}


@dataclass(frozen=True)
class Timing:
    """How a controller kept time, seen from outside."""

    percepts: int                       # while a goal was pursued
    answered: int                       # of these, how many got an action
    misses: int                         # of these, how many got none within the deadline
    latencies_ms: tuple[float, ...]     # percept to action, of those answered
    control_hz: float                   # actions per second while a goal was pursued; 0 for fewer than two

    @property
    def miss_rate(self) -> float:
        return self.misses / self.percepts if self.percepts else 0.0


def timing(percepts: Mapping[int, float], actions: Mapping[int, float], spans: Iterable[tuple[float, float]],
           deadline_ms: float = DEADLINE_MS) -> Timing:
    """Pair percepts with the actions that answer them. All times are those of arrival at the observer (s, wall clock).

    percepts, actions: stamp of the percept (ns, robot's clock) -> time.
    spans: begin and end of each pursuit. A percept counts when it came during one and its deadline passed before the
    end: the one that shows the goal reached needs no action.
    """
    latencies, misses, count, gaps = [], 0, 0, []
    for first_s, last_s in spans:
        due = [(stamp, s) for stamp, s in percepts.items() if first_s <= s <= last_s - deadline_ms / 1e3]
        delays = [(actions[stamp] - s) * 1e3 if stamp in actions else math.inf for stamp, s in due]
        count += len(due)
        misses += sum(delay > deadline_ms for delay in delays)
        latencies += [delay for delay in delays if math.isfinite(delay)]
        gaps += np.diff(sorted(actions[stamp] for stamp, _ in due if stamp in actions)).tolist()
    hz = len(gaps) / sum(gaps) if gaps and sum(gaps) > 0 else 0.0
    return Timing(count, len(latencies), misses, tuple(latencies), hz)


def path_length_m(path: np.ndarray) -> float:
    """Length of a polyline (T, 2)."""
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
