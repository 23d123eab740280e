"""Live messages in the order in which they were sent, as a bag has them. Pure; used by `perception/node.py`.

An executor hands over waiting messages in any order, and a small message overtakes a large one. A message that can
make a tick therefore waits `settle_s` from its sending for those that were sent before it; when it is due, all that has
come is to be given to `receive` before `poll` is called. Where one topic alone makes the percepts there is nothing to
wait for.
"""
from collections.abc import Collection
import heapq
from itertools import count

from .ingest import Ingest, Percept
from .intake import header_stamp_ns
from .order import SKEW_NS
from .sim_dates import SimDates

MOST_WAITING = 64      # messages; more only wait where what makes the ticks has fallen silent
_SECOND_NS = 1_000_000_000


def sending_time_ns(source_ns: int, received_ns: int) -> int:
    """When a message was sent: DDS's source timestamp, or when it came if that is missing or of another clock.

    The recorder logs messages by the same rule.
    """
    return source_ns if abs(received_ns - source_ns) <= SKEW_NS else received_ns


class LiveOrder:
    """Feeds an Ingest from subscriptions to `topics`. Wall times in ns since the epoch, `sim_time` as in ROS."""

    def __init__(self, ingest: Ingest, topics: Collection[str], sim_time: bool = False):
        contract = ingest.contract
        self.ingest = ingest
        self._dates = SimDates() if sim_time or contract.clock == 'sim' else None
        self._by_clock = contract.pacing is None
        alone = len(set(topics)) == 1 and not self._by_clock
        self._settle_ns = 0 if alone else round(contract.settle_s * _SECOND_NS)
        self._ticking = '' if contract.pacing is None else contract.pacing.topic
        self._waiting: list[tuple[int, int, int, str, object]] = []  # sent, number, due, topic, message
        self._urgent: list[int] = []     # of those that can make a tick: when they are due
        self._number = count()

    @property
    def needs_timer(self) -> bool:
        """False where messages alone do all: `due_ns` is always None."""
        return self._settle_ns > 0 or self._by_clock and self._dates is None

    def receive(self, topic: str, message, source_ns: int, received_ns: int) -> list[Percept]:
        """Take a message with DDS's source timestamp and the time it came; percepts only where nothing waits."""
        sent_ns = sending_time_ns(source_ns, received_ns)
        if not self._settle_ns:
            return self._put(topic, message, sent_ns)
        due_ns = min(sent_ns, received_ns) + self._settle_ns    # received: a clock that is ahead makes nobody wait
        heapq.heappush(self._waiting, (sent_ns, next(self._number), due_ns, topic, message))
        if topic == self._ticking or self._by_clock and self._dates:
            heapq.heappush(self._urgent, due_ns)
        return []

    def poll(self, now_ns: int) -> list[Percept]:
        """Let all messages go that have waited long enough at wall time `now_ns`; returns the percepts that are due."""
        percepts: list[Percept] = []
        while self._waiting and self._waiting[0][2] <= now_ns:
            sent_ns, _, _, topic, message = heapq.heappop(self._waiting)
            percepts += self._put(topic, message, sent_ns)
        while self._urgent and self._urgent[0] <= now_ns:
            heapq.heappop(self._urgent)
        if self._by_clock and self._dates is None:
            percepts += self.ingest.advance(now_ns - self._settle_ns)
        return percepts

    def due_ns(self) -> int | None:
        """Wall time at which `poll` has something to do; None when the next message will be early enough."""
        if not self._waiting and not self._by_clock:
            return None
        first_ns = self._waiting[0][2] if self._waiting else None
        if self._by_clock and self._dates is None:
            tick_ns = self.ingest.due_ns()
            due_ns = first_ns if tick_ns is None else tick_ns + self._settle_ns
        else:
            due_ns = max(first_ns, self._urgent[0]) if self._urgent else None
        return first_ns if len(self._waiting) > MOST_WAITING else due_ns

    def _put(self, topic: str, message, sent_ns: int) -> list[Percept]:
        if self._dates:
            sent_ns = self._dates.date(header_stamp_ns(message), topic)
        return self.ingest.put(topic, message, sent_ns)
