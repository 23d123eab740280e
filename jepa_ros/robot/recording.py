"""The recorder's work without ROS: messages in from any thread, one thread that orders, audits and writes them."""
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
import threading
import time

from ..errors import BagError
from .audit import Auditor, EpisodeAudit, summary
from .bag_metadata import AUDIT
from .bag_types import typestore, unpack
from .bag_writer import BagWriter
from .compress import Compressor
from .order import Arrival, Sequencer, TIME_ONLY

QUEUE_BYTES = 512 << 20   # what may wait for a slow disk; beyond, messages are lost and counted
PAUSE_S = 0.02
FLUSH_S = 0.4             # with the sequencer's hold, a kill takes no more than the last second
EVENT = 'jepa_ros/msg/EpisodeEvent'


@dataclass(frozen=True)
class Totals:
    """What was recorded so far."""

    messages: dict[str, int]   # topic -> count
    bytes: int                 # before compression
    lost: int                  # dropped because the disk was too slow, or reported as lost by DDS
    late: int                  # written out of their order
    skewed: int                # with a time of arrival instead of their sending time


class Recording:
    """Writes to a bag in a thread of its own. `failure` holds the line when writing had to end.

    `on_audit` is called from that thread with the audit of each finished episode. `episode_topic` is where the
    EpisodeEvents come from.
    """

    def __init__(self, writer: BagWriter, sim_time: bool, auditor: Auditor | None = None, episode_topic: str = '',
                 compressor: Compressor | None = None, on_audit: Callable[[EpisodeAudit], None] = lambda audit: None):
        self.failure = ''
        self._writer, self._auditor, self._compressor = writer, auditor, compressor or Compressor({})
        self._episode_topic, self._on_audit = episode_topic, on_audit
        self._sequencer = Sequencer(sim_time)
        self._queue: deque[Arrival] = deque()
        self._pending_bytes = 0         # taken and not yet written
        self._taken: dict[str, int] = {}
        self._lost: dict[str, int] = {}
        self._episodes = 0                          # audited
        self._failed: dict[str, list[str]] = {}     # what was wrong with those that failed
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name='bag writer', daemon=True)
        self._thread.start()

    def put(self, arrival: Arrival) -> None:
        """Take a message; returns at once."""
        if arrival.topic == TIME_ONLY:
            self._queue.append(arrival)     # not written, so nothing that could wait for the disk
            return
        raw: bytes = arrival.raw
        size = len(raw)
        with self._lock:
            full = self._pending_bytes + size > QUEUE_BYTES
            if not full:
                self._pending_bytes += size
        if full or self.failure:
            self.lost(arrival.topic, 1)
            return
        if arrival.topic in self._compressor.formats:
            done = self._compressor.submit(arrival.topic, raw)
            arrival = replace(arrival, topic=f'{arrival.topic}/compressed', raw=done, size=size)
        self._queue.append(arrival)
        self._taken[arrival.topic] = self._taken.get(arrival.topic, 0) + 1

    def taken(self, topic: str) -> int:
        """How many messages of a topic were taken, written or not."""
        return self._taken.get(topic, 0)

    def lost(self, topic: str, count: int) -> None:
        """Count messages of a topic that will not come: DDS says so, or the queue is full."""
        if topic in self._compressor.formats:
            topic = f'{topic}/compressed'
        with self._lock:
            self._lost[topic] = self._lost.get(topic, 0) + count

    def totals(self) -> Totals:
        """Counts so far."""
        with self._lock:
            lost = sum(self._lost.values())
        return Totals(dict(self._writer.counts), self._writer.bytes, lost, self._sequencer.late,
                      self._sequencer.skewed)

    def close(self) -> None:
        """Write all that waits and close the bag; sets `failure` when the disk does not take it."""
        self._end.set()
        self._thread.join()
        self._compressor.close()

    # ---- the writer's thread

    def _work(self) -> None:
        flush_s, short = time.monotonic(), ''
        try:
            while not self._end.wait(PAUSE_S) and not short:
                self._sort()
                self._write(self._sequencer.ready(time.time_ns()))
                if time.monotonic() - flush_s >= FLUSH_S:
                    flush_s = time.monotonic()
                    self._writer.flush()
                    short = self._writer.short_of_room
            self._sort()
            self._write(self._sequencer.flush())
            if self._auditor is not None:
                self._keep(self._auditor.close())
                self._describe_audits()
            self._writer.close()
            self.failure = short
        except BagError as error:
            self.failure = str(error)
            self._writer.close()    # nothing to do after an error of the disk: the writer has finished the bag itself

    def _sort(self) -> None:
        while self._queue:
            self._sequencer.put(self._queue.popleft())

    def _write(self, messages: list[tuple[int, Arrival]]) -> None:
        for log_ns, arrival in messages:
            raw = arrival.raw.result() if isinstance(arrival.raw, Future) else arrival.raw
            self._writer.write(arrival.topic, log_ns, raw)
            with self._lock:
                self._pending_bytes -= arrival.size or len(raw)
            if self._auditor is not None:
                self._audit(self._auditor, log_ns, arrival, raw)

    def _audit(self, auditor: Auditor, log_ns: int, arrival: Arrival, raw: bytes) -> None:
        with self._lock:
            for topic, count in self._lost.items():
                auditor.lost(topic, count)
        self._keep(auditor.take(arrival.topic, log_ns, arrival.stamp_ns))
        if arrival.topic == self._episode_topic:
            event = unpack(typestore(), raw, EVENT)
            stamp = event.header.stamp
            self._keep(auditor.event(event.event, event.episode_id, stamp.sec * 10**9 + stamp.nanosec, log_ns))

    def _keep(self, audit: EpisodeAudit | None) -> None:
        if audit is None:
            return
        self._episodes += 1
        if not audit.passed:
            self._failed[audit.episode] = audit.problems
        self._writer.note(AUDIT, {'episode': audit.episode, 'audit': audit.to_json()})
        self._describe_audits()
        self._on_audit(audit)

    def _describe_audits(self) -> None:
        self._writer.describe(AUDIT, summary(self._episodes, self._failed))
