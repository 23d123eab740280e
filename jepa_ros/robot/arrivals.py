"""When the messages of a stream came, by their headers and by the log: rates, gaps, delays. Pure; used by `survey.py`.

A topic may carry several streams, as the transforms on /tf or the joints of an arm and its gripper: each has its own.
"""
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .adapters import JOINT_STATE_TYPE, TRANSFORM_TYPE
from .stream_buffer import JUMP_S


@dataclass(kw_only=True, eq=False)
class Arrivals:
    """Times in ns, message by message; `stamp_ns` only where messages have a header."""

    recorded: int = 0                                       # messages there are, also where none can be read
    log_ns: array = field(default_factory=lambda: array('q'))
    stamp_ns: array = field(default_factory=lambda: array('q'))
    number: array = field(default_factory=lambda: array('q'))   # which message of its topic, in the order they came
    frames: Counter = field(default_factory=Counter)

    def arrive(self, number: int, log_ns: int, header) -> None:
        """Add the topic's message of that number, received or logged at `log_ns`; `header` may be None."""
        self.recorded += 1
        self.number.append(number)
        self.log_ns.append(log_ns)
        if header is not None:
            self.stamp_ns.append(header.stamp.sec * 1_000_000_000 + header.stamp.nanosec)
            self.frames[header.frame_id] += 1

    @property
    def times(self) -> np.ndarray:
        """(N,) int64 sorted times of the samples: header stamps where they are set, log times otherwise."""
        return np.sort(self._unsorted)

    @property
    def _unsorted(self) -> np.ndarray:
        stamps = np.frombuffer(self.stamp_ns, np.int64)
        use = len(stamps) == len(self.log_ns) and len(stamps) > 0 and bool((stamps > 0).all())
        return stamps if use else np.frombuffer(self.log_ns, np.int64)

    @property
    def intervals_s(self) -> np.ndarray:
        """(M,) float64, seconds between neighbours; a stamp that is repeated is no new sample.

        Where a simulation began anew, the samples of before and of after are no neighbours.
        """
        times = self._unsorted
        runs = np.split(times, np.flatnonzero(np.diff(times) < -JUMP_S * 1e9) + 1)
        return np.concatenate([np.diff(np.unique(run)) for run in runs]) * 1e-9

    @property
    def median_s(self) -> float:
        """Usual time between two samples; 0 when there are fewer than two."""
        intervals_s = self.intervals_s
        return float(np.median(intervals_s)) if len(intervals_s) else 0.0

    @property
    def rate_hz(self) -> float:
        """Messages per second from the first to the last; 0 when there are fewer than two."""
        span_s = float(self.intervals_s.sum())
        return (len(self.log_ns) - 1) / span_s if span_s > 0 else 0.0

    @property
    def gap_s(self) -> float:
        """Longest time between two samples."""
        return float(self.intervals_s.max(initial=0.0))

    @property
    def delay_s(self) -> tuple[float, float, float]:
        """(smallest, median, largest) of log time − header stamp, over stamps that are set; zeros without any."""
        stamps, logs = np.frombuffer(self.stamp_ns, np.int64), np.frombuffer(self.log_ns, np.int64)
        if len(stamps) != len(logs) or not (stamps > 0).any():
            return 0.0, 0.0, 0.0
        delay = (logs - stamps)[stamps > 0] * 1e-9
        return float(delay.min()), float(np.median(delay)), float(delay.max())

    def received(self) -> 'Arrivals':
        """The same messages, timed by the log alone."""
        return Arrivals(recorded=self.recorded, log_ns=self.log_ns, number=self.number, frames=self.frames)


def of_stream(stream, topic, static=None) -> Arrivals:
    """What arrived of a contract's stream on its topic, a `TopicSurvey`: of a transform or of joints, only these.

    `static` is the topic of fixed transforms, which count where the way between the frames has no other.
    """
    if getattr(stream, 'child_frame', '') and stream.type == TRANSFORM_TYPE:
        fixed = static.parts if static is not None else {}
        way = _way({**fixed, **topic.parts}, stream.parent_frame, stream.child_frame)
        moving = [part for pair, part in topic.parts.items() if pair in way]
        return _merged(moving) if moving else _merged([p for pair, p in fixed.items() if pair in way]).received()
    if getattr(stream, 'joints', ()) and stream.type == JOINT_STATE_TYPE:
        return _merged([part for joints, part in topic.parts.items() if not set(joints).isdisjoint(stream.joints)])
    return topic


def _merged(parts: Sequence[Arrivals]) -> Arrivals:
    """Parts of one topic as one: a message counts once, with the newest of its stamps."""
    if len(parts) == 1:
        return parts[0]
    messages: dict[int, tuple[int, int]] = {}       # number -> log time, stamp
    for part in parts:
        for number, log_ns, stamp_ns in zip(part.number, part.log_ns, part.stamp_ns):
            messages[number] = log_ns, max(stamp_ns, messages.get(number, (0, stamp_ns))[1])
    order = sorted(messages)
    return Arrivals(recorded=len(order), number=array('q', order), frames=sum((p.frames for p in parts), Counter()),
                    log_ns=array('q', (messages[n][0] for n in order)),
                    stamp_ns=array('q', (messages[n][1] for n in order)))


def _way(pairs, parent: str, child: str) -> set[tuple[str, str]]:
    """Of the (parent, child) pairs, those on the way between two frames; empty where they are not connected."""
    above = {inner.removeprefix('/'): (outer.removeprefix('/'), (outer, inner)) for outer, inner in pairs}

    def chain(frame: str) -> list[str]:
        names = [frame.removeprefix('/')]
        while names[-1] in above and len(names) <= len(above):
            names.append(above[names[-1]][0])
        return names
    up, down = chain(child), chain(parent)
    common = next((name for name in up if name in down), None)
    if common is None:
        return set()
    return {above[name][1] for names in (up, down) for name in names[:names.index(common)]}
