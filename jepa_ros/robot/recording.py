"""The recorder's work without ROS: messages in from any thread, one thread that orders and writes them."""
from collections import deque
from dataclasses import dataclass
import threading
import time

from ..errors import BagError
from .bag_writer import BagWriter
from .order import Arrival, Sequencer

QUEUE_BYTES = 512 << 20   # what may wait for a slow disk; beyond, messages are lost and counted
PAUSE_S = 0.02


@dataclass(frozen=True)
class Totals:
    """What was recorded so far."""

    messages: dict[str, int]   # topic -> count
    bytes: int                 # before compression
    lost: int                  # dropped because the disk was too slow
    late: int                  # written out of their order


class Recording:
    """Writes to a bag in a thread of its own. `failure` holds the line when writing had to end."""

    def __init__(self, writer: BagWriter, sim_time: bool):
        self.failure = ''
        self.lost = 0
        self._writer = writer
        self._sequencer = Sequencer(sim_time)
        self._queue: deque[Arrival] = deque()
        self._queued_bytes = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name='bag writer', daemon=True)
        self._thread.start()

    def put(self, arrival: Arrival) -> None:
        """Take a message; returns at once."""
        if self._queued_bytes + len(arrival.raw) > QUEUE_BYTES or self.failure:
            self.lost += 1
            return
        self._queued_bytes += len(arrival.raw)
        self._queue.append(arrival)

    def totals(self) -> Totals:
        """Counts so far."""
        return Totals(dict(self._writer.counts), self._writer.bytes, self.lost, self._sequencer.late)

    def close(self) -> None:
        """Write all that waits and close the bag; sets `failure` when the disk does not take it."""
        self._end.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            while not self._end.wait(PAUSE_S):
                self._sort()
                self._write(self._sequencer.ready(time.time_ns()))
            self._sort()
            self._write(self._sequencer.flush())
            self._writer.close()
        except BagError as error:
            self.failure = str(error)

    def _sort(self) -> None:
        while self._queue:
            arrival = self._queue.popleft()
            self._queued_bytes -= len(arrival.raw)
            self._sequencer.put(arrival)

    def _write(self, messages: list[tuple[int, Arrival]]) -> None:
        for log_ns, arrival in messages:
            self._writer.write(arrival.topic, log_ns, arrival.raw)
