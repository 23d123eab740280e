"""Messages of many topics put into the order in which they were sent, with log times. Pure; used by the recorder.

An executor hands over waiting messages in any order. In a recording, a command must stand behind the percept it
answers and before the next one, so messages are held back for a moment and sorted by when their publisher sent them.
"""
from dataclasses import dataclass
import heapq
from itertools import count

HOLD_NS = 100_000_000   # longer than a message is under way, or than an executor makes it wait


@dataclass(frozen=True)
class Arrival:
    """One serialised message. Wall times in ns; `stamp_ns` is its measurement time on the ROS clock, if it has one."""

    topic: str
    raw: bytes
    sent_ns: int
    received_ns: int
    stamp_ns: int | None = None


class Sequencer:
    """Sorts arrivals by sending time and gives each a log time that always grows.

    With `sim_time` the log time is the newest stamp so far: simulated time stands between two stamps, and a lockstep
    simulation runs many times faster than the wall clock. Otherwise it is the time of arrival, as in rosbag2.
    """

    def __init__(self, sim_time: bool):
        self.late = 0                     # arrivals that came too late to be put in their place
        self._sim_time = sim_time
        self._waiting: list[tuple[int, int, Arrival]] = []
        self._number = count()
        self._last_sent_ns = 0
        self._last_log_ns = -1
        self._undated: list[Arrival] = []  # came before the first stamp of simulated time

    def put(self, arrival: Arrival) -> None:
        """Take a message."""
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
        return [(self._log_time(a), a) for a in (*before, arrival)]

    def _log_time(self, arrival: Arrival) -> int:
        moment = arrival.received_ns if not self._sim_time else arrival.stamp_ns or 0
        self._last_log_ns = max(moment, self._last_log_ns + 1)  # strictly growing: any reader keeps this order
        return self._last_log_ns
