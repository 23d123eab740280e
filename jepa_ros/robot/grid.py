"""Streams of different rates brought onto the control grid of one episode. Pure numpy; used by `bags.py`.

Never a future sample: a row holds what was known at its stamp.
"""
from collections.abc import Sequence

import numpy as np

from .contract import ActionStream


def runs(stamps: np.ndarray, period_ns: int) -> list[slice]:
    """Parts of `stamps` (T,) without a gap of more than 1.5 periods: a lost percept ends a part."""
    cuts = np.flatnonzero(np.diff(stamps) > 1.5 * period_ns) + 1
    bounds = [0, *cuts.tolist(), len(stamps)]
    return [slice(a, b) for a, b in zip(bounds, bounds[1:]) if b > a]


def newest_at(times: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Index (T,) of the newest of the sorted `times` (N,) at each moment (T,); −1 where there is none yet."""
    return np.searchsorted(times, moments, side='right') - 1


def actions_in_force(stream: ActionStream, times: np.ndarray, values: Sequence[np.ndarray], stamps: np.ndarray,
                     period_ns: int, lockstep: bool) -> tuple[np.ndarray, int]:
    """Command of each row and how many rows have one.

    `times` (N,) are sorted log times of commands, `values` N arrays (fields,), `stamps` (T,) of the percepts. Returns
    (T, fields) float32 and the number of rows up to the last that saw a command. In lockstep a row's command is the
    first after its percept; otherwise the one that was in force for most of the row, where a command counts for
    `timeout_s` and nothing in force is the safe command: the robot has stopped by itself.
    """
    ends = np.append(stamps[1:], stamps[-1] + period_ns) if len(stamps) else stamps
    first, last = np.searchsorted(times, stamps), np.searchsorted(times, ends)  # commands within each row
    actions = np.zeros((len(stamps), len(stream.fields)), np.float32)
    for t in range(len(stamps)):
        if lockstep:
            chosen = first[t] if first[t] < last[t] else None
        else:
            chosen = _longest(stream, times, values, range(max(first[t] - 1, 0), last[t]), stamps[t], ends[t])
        if chosen is not None:
            actions[t] = values[chosen]
    answered = np.flatnonzero(first < last)
    return actions, int(answered[-1]) + 1 if len(answered) else 0


def _longest(stream: ActionStream, times, values, candidates: range, start_ns: int, end_ns: int) -> int | None:
    """Index of the command that held for the longest part of [start, end); repeats of a command add up."""
    timeout_ns = stream.timeout_s * 1e9 if stream.safe == 'zeros' else np.inf
    spans: dict[bytes, list] = {}  # command's bytes -> [ns in force, index]
    idle_ns = float(end_ns - start_ns)
    for i in candidates:
        replaced = times[i + 1] if i + 1 < len(times) else np.inf
        held_ns = min(replaced, times[i] + timeout_ns, end_ns) - max(times[i], start_ns)
        if held_ns > 0:
            spans.setdefault(values[i].tobytes(), [0.0, i])[0] += held_ns
            idle_ns -= held_ns
    held_ns, chosen = max(spans.values(), default=(0.0, None))
    return chosen if held_ns >= idle_ns else None
