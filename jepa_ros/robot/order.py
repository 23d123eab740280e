"""Messages of many topics put into the order in which they were sent, with log times. Pure; used by the recorder.

An executor hands over waiting messages in any order. In a recording, a command must stand behind the percept it
answers and before the next one, so messages are held back for a moment and sorted by when their publisher sent them.
"""
from dataclasses import dataclass, replace
import heapq
from itertools import count
from typing import Any

from .sim_dates import SimDates

TIME_ONLY = ''               # topic of an arrival that says what time it is and is not written
HOLD_NS = 100_000_000       # longer than a message is under way, or than an executor makes it wait
SKEW_NS = 1_000_000_000     # a sending time further from the reception is that of another clock
PAUSE_NS = 5_000_000_000    # of log time where a simulation began anew: no episode goes on over it


@dataclass(frozen=True)
class Arrival:
    """One serialised message. Wall times in ns; `stamp_ns` is its measurement time on the ROS clock, if it has one.

    `raw` is still in the making for a message that is compressed on its way.
    """

    topic: str
    raw: Any    # bytes, or a Future of them
    sent_ns: int
    received_ns: int
    stamp_ns: int | None = None
    size: int = 0       # of the message as it came, where `raw` is still in the making


class Sequencer:
    """Sorts arrivals by sending time and gives each a log time that always grows.

    With `sim_time` the log time is the newest stamp so far: simulated time stands between two stamps, and a lockstep
    simulation runs many times faster than the wall clock. Where the simulation begins anew, stamps go back, but the
    log goes on PAUSE_NS later, for readers sort by it: from there on the log is ahead of the stamps.

    Without, it is the sending time, which is what live nodes order messages by too. A publisher whose clock is off by
    more than a second gets the time of arrival instead, and its messages are counted in `skewed`.
    """

    def __init__(self, sim_time: bool):
        self.late = 0                     # arrivals that came too late to be put in their place
        self.skewed = 0                   # arrivals whose sending time cannot be used
        self._sim_time = sim_time
        self._waiting: list[tuple[int, int, Arrival]] = []
        self._number = count()
        self._last_sent_ns = 0
        self._last_log_ns = -1
        self._clock = SimDates()
        self._ahead_ns = 0                 # of log times before stamps
        self._undated: list[Arrival] = []  # came before the first stamp of simulated time

    def put(self, arrival: Arrival) -> None:
        """Take a message."""
        if not self._sim_time and abs(arrival.received_ns - arrival.sent_ns) > SKEW_NS:
            self.skewed += 1
            arrival = replace(arrival, sent_ns=arrival.received_ns)
        if arrival.sent_ns < self._last_sent_ns:
            self.late += 1
        heapq.heappush(self._waiting, (arrival.sent_ns, next(self._number), arrival))

    def ready(self, now_ns: int) -> list[tuple[int, Arrival]]:
        """(log time, message) of all that need not wait any longer at wall time `now_ns`."""
        out = []
        while self._waiting and self._waiting[0][0] <= now_ns - HOLD_NS:
            sent_ns, _, arrival = heapq.heappop(self._waiting)
            self._last_sent_ns = max(self._last_sent_ns, sent_ns)
            out += self._dated(arrival)
        return out

    def flush(self) -> list[tuple[int, Arrival]]:
        """All that is left, at the end of a recording."""
        out = self.ready(1 << 63)
        return out + [(self._log_time(arrival), arrival) for arrival in self._undated]

    def _dated(self, arrival: Arrival) -> list[tuple[int, Arrival]]:
        if self._sim_time and self._last_log_ns < 0:
            if arrival.stamp_ns is None:
                self._undated.append(arrival)  # a latched setting: it was there before the first percept
                return []
            self._last_log_ns = max(arrival.stamp_ns - len(self._undated) - 1, -1)
        before, self._undated = self._undated, []
        if arrival.topic == TIME_ONLY:
            out = [(self._log_time(a), a) for a in before]
            self._last_log_ns = max(self._last_log_ns, self._simulated_ns(arrival) - 1)
            return out
        return [(self._log_time(a), a) for a in (*before, arrival)]

    def _log_time(self, arrival: Arrival) -> int:
        moment = self._simulated_ns(arrival) if self._sim_time else arrival.sent_ns
        self._last_log_ns = max(moment, self._last_log_ns + 1)  # strictly growing: any reader keeps this order
        return self._last_log_ns

    def _simulated_ns(self, arrival: Arrival) -> int:
        """Log time that a stamp asks for; 0 where it says nothing about the time."""
        restarts, stamp_ns = self._clock.restarts, arrival.stamp_ns or 0
        if not self._clock.believes(arrival.stamp_ns, arrival.topic):
            return 0
        if self._clock.restarts > restarts:
            self._ahead_ns = self._last_log_ns + PAUSE_NS - stamp_ns
        return stamp_ns + self._ahead_ns
