"""The samples of one stream by the time at which they were measured (design §7). Pure; used by `ingest.py`.

A control tick asks for the newest sample that is not newer than the tick. Messages are converted when a tick wants
them and not before: a 30 Hz camera on a 10 Hz grid is decoded 10 times a second. What can be wrong with stamps has one
outcome and one counter each, live and in bags:

| seen                                                    | outcome                                            |
|---------------------------------------------------------|----------------------------------------------------|
| stamp of zero (the publisher does not fill its header)  | dropped                                            |
| stamp later than the sending time by > FUTURE_S         | dropped                                            |
| stamp later than the tick                               | kept, not used before a tick reaches it            |
| the same stamp again                                    | dropped, the first one counts                      |
| older than its predecessor by up to JUMP_S              | put in its place                                   |
| older than its predecessor by more: the clock went back | buffer emptied, goes on from there                 |
| clock went forward by > JUMP_S against the sending time | kept; older samples are as old as their stamps say |
| interval longer than the stream's timeout               | counted as a gap; the tick decides what is stale   |
| came after a tick that it belonged to                   | kept for the next tick                             |
| cannot be converted                                     | dropped, the next older one is used                |
"""
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from ..errors import ContractError

FUTURE_S = 0.1     # clocks of two machines that are kept together by NTP differ by less
JUMP_S = 1.0       # DDS delivers no message so late: a stamp further back means that the clock was set
HORIZON_S = 2.0    # no sensor is slower than this: what is older than the newest by more waits for no tick
_SECOND_NS = 1_000_000_000
_FUTURE_NS, _JUMP_NS = round(FUTURE_S * _SECOND_NS), round(JUMP_S * _SECOND_NS)


@dataclass
class StreamCounters:
    """What happened to the messages of one stream. `lines` has one example for each kind of trouble."""

    received: int = 0
    converted: int = 0
    zero_stamp: int = 0
    future: int = 0
    duplicate: int = 0
    out_of_order: int = 0
    jump_back: int = 0
    jump_forward: int = 0
    gap: int = 0
    late: int = 0
    bad: int = 0             # could not be converted
    foreign: int = 0         # of other joints or frames on the same topic: not received by this stream
    frame: int = 0           # in another frame than the contract says; used all the same
    missing: int = 0         # ticks before the first sample
    stale: int = 0           # ticks whose newest sample was older than timeout_s
    lines: dict[str, str] = field(default_factory=dict)

    def count(self, kind: str, line: str = '') -> None:
        """One more of a kind; the first line of each kind is kept."""
        setattr(self, kind, getattr(self, kind) + 1)
        if line and kind not in self.lines:
            self.lines[kind] = line

    def counts(self) -> dict[str, int]:
        """All counts that are not zero."""
        return {kind: value for kind, value in asdict(self).items() if kind != 'lines' and value}

    def troubles(self) -> dict[str, int]:
        """Counts of what should not happen."""
        usual = ('received', 'converted', 'foreign')
        return {kind: value for kind, value in self.counts().items() if kind not in usual}

    @property
    def dropped(self) -> int:
        """Messages that can never be used."""
        return self.zero_stamp + self.future + self.duplicate + self.bad


class Put(Enum):
    """What became of a message."""

    DROPPED = 0
    NEWEST = 1          # newer than all before
    INSERTED = 2        # older than another
    CLOCK_BACK = 3      # the first one after the clock went back


class Sample:
    """One measurement; `value` is its array once a tick has used it."""

    __slots__ = ('stamp_ns', 'message', 'value')

    def __init__(self, stamp_ns: int, message, value: np.ndarray | np.float32 | None = None):
        self.stamp_ns = stamp_ns
        self.message = message
        self.value: Any = value


class StreamBuffer:
    """Samples that a coming tick may use. One thread at a time; ticks must not go back, except with the clock.

    `convert(message)` gives the array of a message or raises ContractError; `name` is the topic in error lines.
    """

    def __init__(self, name: str, convert: Callable[[object], np.ndarray | np.float32], timeout_s: float,
                 counters: StreamCounters | None = None, horizon_s: float = HORIZON_S):
        self.counters = counters or StreamCounters()
        self._name, self._convert = name, convert
        self._timeout_ns = round(timeout_s * _SECOND_NS)
        self._horizon_ns = round(horizon_s * _SECOND_NS)
        self._stamps: list[int] = []         # of _samples, ascending
        self._samples: list[Sample] = []
        self._last: tuple[int, int] | None = None    # stamp and sending time of the newest sample so far
        self._asked_ns = self._given_ns = -1         # newest tick, and the stamp of what it got

    @property
    def newest_ns(self) -> int:
        """Newest stamp held; -1 without."""
        return self._stamps[-1] if self._stamps else -1

    def __len__(self) -> int:
        return len(self._samples)

    def put(self, stamp_ns: int, log_ns: int, message, value: np.ndarray | np.float32 | None = None) -> Put:
        """Take a message, measured at `stamp_ns` and sent at `log_ns`; `value` where it is converted already."""
        counters = self.counters
        counters.received += 1
        if stamp_ns <= 0:
            counters.count('zero_stamp', f'{self._name}: the header stamp is {stamp_ns / _SECOND_NS:g}; let the '
                           'publisher fill it, or set stamp: receive in the robot contract')
            return Put.DROPPED
        if stamp_ns - log_ns > _FUTURE_NS:
            counters.count('future', f'{self._name}: a stamp lies {(stamp_ns - log_ns) / _SECOND_NS:.3g} s in the '
                           'future; correct the clock of its publisher, or set stamp: receive in the robot contract')
            return Put.DROPPED
        outcome = self._place(stamp_ns, log_ns)
        if outcome is Put.DROPPED:
            return outcome
        if value is not None:
            counters.converted += 1
        if self._given_ns < stamp_ns <= self._asked_ns:
            counters.count('late')
        at = bisect_right(self._stamps, stamp_ns)
        self._stamps.insert(at, stamp_ns)
        self._samples.insert(at, Sample(stamp_ns, message, value))
        while len(self._stamps) > 1 and self._stamps[-1] - self._stamps[1] > self._horizon_ns:
            del self._stamps[0], self._samples[0]
        return outcome

    def _place(self, stamp_ns: int, log_ns: int) -> Put:
        """Compare with the newest sample so far; count what is odd."""
        if self._last is None:
            self._last = (stamp_ns, log_ns)
            return Put.NEWEST
        counters, (last_ns, last_log_ns) = self.counters, self._last
        step_ns = stamp_ns - last_ns
        if step_ns > 0:
            self._last = (stamp_ns, log_ns)
            if step_ns - (log_ns - last_log_ns) > _JUMP_NS:
                counters.count('jump_forward', f'{self._name}: stamps went forward by {step_ns / _SECOND_NS:.3g} s '
                               f'within {(log_ns - last_log_ns) / _SECOND_NS:.3g} s: the clock was set')
            elif step_ns > self._timeout_ns:
                counters.count('gap', f'{self._name}: no message for {step_ns / _SECOND_NS:.3g} s')
            return Put.NEWEST
        if -step_ns > _JUMP_NS:
            counters.count('jump_back', f'{self._name}: stamps went back by {-step_ns / _SECOND_NS:.3g} s: '
                           'the clock was set or the simulation started again')
            self.clear()
            self._last = (stamp_ns, log_ns)
            return Put.CLOCK_BACK
        if step_ns == 0 or self._holds(stamp_ns):
            counters.count('duplicate', f'{self._name}: two messages have the same stamp')
            return Put.DROPPED
        counters.count('out_of_order')
        return Put.INSERTED

    def _holds(self, stamp_ns: int) -> bool:
        at = bisect_right(self._stamps, stamp_ns)
        return at > 0 and self._stamps[at - 1] == stamp_ns

    def newest(self, tick_ns: int) -> Sample | None:
        """The newest usable sample at or before a tick, converted; None when there is none.

        Older ones are let go: later ticks do not need them.
        """
        at = bisect_right(self._stamps, tick_ns) - 1
        while at >= 0 and not self._converted(self._samples[at]):
            del self._stamps[at], self._samples[at]
            at -= 1
        del self._stamps[:max(at, 0)], self._samples[:max(at, 0)]
        self._asked_ns = tick_ns
        self._given_ns = self._stamps[0] if at >= 0 else -1
        return self._samples[0] if at >= 0 else None

    def _converted(self, sample: Sample) -> bool:
        if sample.value is not None:
            return True
        try:
            sample.value = self._convert(sample.message)
        except ContractError as error:
            self.counters.count('bad', str(error))
            return False
        sample.message = None
        self.counters.converted += 1
        return True

    def restart(self, standing_ns: int | None = None) -> None:
        """Time began anew: forget all samples, or let the newest stand, as of `standing_ns`."""
        if self._samples:
            self.counters.count('jump_back', f'{self._name}: the time of sending went back: the clock was set or the '
                                'simulation started again')
        newest = self._samples[-1:] if standing_ns is not None else []
        self.clear()
        for sample in newest:
            sample.stamp_ns = standing_ns
            self._stamps, self._samples = [standing_ns], [sample]

    def clear(self) -> None:
        """Forget all samples: the clock went back."""
        self._stamps.clear()
        self._samples.clear()
        self._last, self._asked_ns, self._given_ns = None, -1, -1
