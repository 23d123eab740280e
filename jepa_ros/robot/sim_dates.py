"""When messages were sent on a simulated clock, and when that clock began anew. Pure.

Live perception, the recorder and the reader of bags date by this one rule, so that all see the same order.
"""
from .stream_buffer import JUMP_S

_JUMP_NS = round(JUMP_S * 1_000_000_000)


class SimDates:
    """Sending times on a simulated clock: the newest stamp so far, growing by 1 ns from message to message.

    A topic whose own stamps go back by more than JUMP_S, to more than that before the newest date, tells that the
    simulation was started again: the dates begin anew with it. What is still under way from the run before then says
    nothing about the time.
    """

    def __init__(self):
        self.restarts = 0
        self._last_ns = 0                   # newest date
        self._now_ns = 0                    # newest stamp of this run
        self._newest: dict[str, int] = {}   # topic -> its newest stamp in this run
        self._before: dict[str, int] = {}   # topics that have not spoken since the restart -> their newest stamp
        self._end_ns = 0                    # of the run before, with what may still be under way

    def date(self, stamp_ns: int | None, topic: str = '') -> int:
        """Sending time of the next message; `stamp_ns` is None for one without header."""
        restarts = self.restarts
        if not self.believes(stamp_ns, topic):
            self._last_ns += 1
        else:
            self._last_ns = stamp_ns if self.restarts > restarts else max(stamp_ns, self._last_ns + 1)
        return self._last_ns

    def believes(self, stamp_ns: int | None, topic: str) -> bool:
        """True for a stamp that says what time it is; `restarts` grows with one that begins the time anew."""
        if not stamp_ns:
            return False
        previous_ns = self._before.get(topic)
        if previous_ns is not None and stamp_ns >= previous_ns and self._now_ns + _JUMP_NS < stamp_ns <= self._end_ns:
            return False
        self._before.pop(topic, None)
        newest_ns = self._newest.get(topic, 0)
        if newest_ns - stamp_ns > _JUMP_NS and self._now_ns - stamp_ns > _JUMP_NS:
            self.restarts += 1
            self._end_ns, self._now_ns = self._now_ns + _JUMP_NS, 0
            self._before = {name: ns for name, ns in self._newest.items() if name != topic}
            self._newest = {}
            newest_ns = 0
        self._newest[topic] = max(newest_ns, stamp_ns)
        self._now_ns = max(self._now_ns, stamp_ns)
        return True


class LogDates:
    """Log times of a recording on its contract's clock: as they are, or on a simulated clock if need be.

    A recording made elsewhere may log simulated stamps at wall times; `simulated` says that this one logs simulated
    time. That never goes back in a bag, so where the simulation was started again, log times are none from there on.
    """

    def __init__(self, simulated: bool):
        self._simulated = simulated
        self._dates = SimDates()

    def date(self, log_ns: int, stamp_ns: int | None, topic: str) -> int:
        """Sending time of the next message; `stamp_ns` is None for what is no measurement with a header."""
        date_ns = self._dates.date(stamp_ns, topic)
        return log_ns if self._simulated and not self._dates.restarts else date_ns
