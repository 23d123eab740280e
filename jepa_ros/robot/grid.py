"""Commands brought onto the ticks of one episode. Pure numpy; used by `cutter.py`."""
from collections.abc import Sequence

import numpy as np

from .contract import ActionStream


def holds(stream: ActionStream) -> bool:
    """True where a command is in force until the next one; otherwise the robot stops by itself after timeout_s."""
    return stream.align == 'hold' or stream.safe == 'hold'


def actions_in_force(stream: ActionStream, times: np.ndarray, values: Sequence[np.ndarray], stamps: np.ndarray,
                     period_ns: int, lockstep: bool) -> tuple[np.ndarray, range]:
    """Command of each row, and the rows whose command is known.

    `times` (N,) are sorted sending times of commands, `values` N arrays (fields,), `stamps` (T,) of the ticks. Returns
    (T, fields) float32 and a range of rows. In lockstep a row's command is the first after its tick; otherwise the one
    that was in force for most of the row.

    A command that holds is in force until the next: rows before the first one are not known, all later ones are. Any
    other counts for `timeout_s`, and nothing in force is the safe command, for the robot has stopped by itself; rows
    behind the last that saw a command are not known, for the recording of commands may have ended.
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
    if holds(stream) and not lockstep:
        return actions, range(int(np.searchsorted(stamps, times[0])) if len(times) else len(stamps), len(stamps))
    answered = np.flatnonzero(first < last)
    return actions, range(int(answered[-1]) + 1 if len(answered) else 0)


def _longest(stream: ActionStream, times, values, candidates: range, start_ns: int, end_ns: int) -> int | None:
    """Index of the command that held for the longest part of [start, end); repeats of a command add up."""
    timeout_ns = np.inf if holds(stream) else stream.timeout_s * 1e9
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
