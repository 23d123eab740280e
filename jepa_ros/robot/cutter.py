"""From the percepts, commands, readouts and events of a bag to its episodes, while it is read. Pure.

A tick is settled when LAG_S more have been read: by then the events around it, the commands of its row and the
readouts measured at it have come. Memory holds one episode and that much more. Where time goes back, all before is
settled and then forgotten: no command or readout of the run before counts in the next. Used by `bag_reading.py`.
"""
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from .contract import RobotContract
from .episode import Episode
from .grid import actions_in_force
from .ingest import Percept
from .intake import intake, StreamIntake
from .stream_buffer import JUMP_S

LAG_S = 2.0                     # a message is logged at most this long after what it speaks of
MAX_STEP = 1.5                  # periods between two rows; more, and a percept is missing: the episode is cut
ASTRAY = 'clock'
START = 0                       # jepa_ros/EpisodeEvent
ENDS = (2, 3, 4)                # SUCCESS, FAILURE, STOP
_SECOND_NS = 1_000_000_000
_JUMP_NS = round(JUMP_S * _SECOND_NS)   # times that go back by more: the clock was set, or a simulation began anew


@dataclass
class _Span:
    """What the events call an episode: ticks within [start, end); `end_ns` is None while it goes on."""

    name: str
    start_ns: int
    end_ns: int | None = None
    parts: int = 0              # runs of rows without a gap so far


@dataclass
class _Commands:
    """Commands of one action stream that rows may still need, by their sending times."""

    times: deque[int] = field(default_factory=deque)
    values: deque[np.ndarray] = field(default_factory=deque)

    def forget(self, before_ns: int) -> None:
        """Keep the one in force at `before_ns` and all later ones."""
        while len(self.times) > 1 and self.times[1] <= before_ns:
            self.times.popleft()
            self.values.popleft()


@dataclass
class _Part:
    """Rows of one episode without a gap."""

    span: _Span
    number: int
    rows: list[Percept] = field(default_factory=list)
    readouts: list[np.ndarray] = field(default_factory=list)


class Cutter:
    """Give it all that a bag says, in the order of the log; take episodes from `ready` and, at the end, `finish`.

    With `name` the whole bag is one episode of that name, otherwise events make them.
    """

    def __init__(self, contract: RobotContract, source: str, lockstep: bool, name: str | None = None):
        self.ticks = 0                  # all percepts
        self.rows = 0                   # of them, those of an episode whose readouts are known
        self.stale: dict[str, tuple[str, int]] = {}    # readout or ASTRAY -> first line and number of rows left out
        self.parts = 0                  # runs of rows without a gap
        self.tick_span_ns = (0, 0)      # stamps of the first and of the last tick
        self.command_spans_ns = [(0, 0) for _ in contract.actions]     # when the first and the last were given
        self._contract, self._source, self._lockstep = contract, source, lockstep
        self._period_ns = round(contract.control_period_s * _SECOND_NS)
        self._lag_ns = max(round(LAG_S * _SECOND_NS), 3 * self._period_ns)
        self.started = name is not None         # there was an event that starts an episode
        self._spans = [] if name is None else [_Span(name, 0)]
        self._ticks: deque[tuple[Percept, int]] = deque()
        self._commands = [_Commands() for _ in contract.actions]
        self._readouts: list[StreamIntake] = [intake(r, horizon_s=5 * self._lag_ns / _SECOND_NS)
                                              for r in contract.readouts]
        self._part: _Part | None = None
        self._last_tick_ns: int | None = None   # since time last went back
        self._newest_log_ns = 0                 # likewise
        self._behind_ns = 0                     # of the newest tick whose stamp is of the clock of the log
        self._astray = False                    # stamps went back without the log
        self._done: deque[Episode] = deque()    # that ended where time went back

    # ---- what the bag says

    def event(self, stamp_ns: int, event: int, name: str) -> None:
        """An EpisodeEvent. A start ends the episode before; an end belongs to the episode of its name."""
        running = self._spans[-1] if self._spans and self._spans[-1].end_ns is None else None
        if running and (event == START or event in ENDS and name == running.name):
            running.end_ns = stamp_ns
        if event == START:
            self.started = True
            self._spans.append(_Span(name, stamp_ns))

    def command(self, index: int, log_ns: int, values: np.ndarray) -> None:
        """A command (fields,) of the contract's action stream `index`: it counts from when it was given."""
        self._hear(log_ns)
        self.command_spans_ns[index] = self.command_spans_ns[index][0] or log_ns, log_ns
        self._commands[index].times.append(log_ns)
        self._commands[index].values.append(values)

    def readout(self, topic: str, message, log_ns: int) -> None:
        """A message on the topic of a readout: a measurement of the moment it is stamped with, whenever it came."""
        self._hear(log_ns)
        for each in self._readouts:
            if each.stream.topic == topic:
                each.put(topic, message, log_ns)

    def percept(self, percept: Percept, log_ns: int) -> None:
        """A tick."""
        self._hear(log_ns)
        last_ns, behind_ns = self._last_tick_ns, log_ns - percept.stamp_ns
        back_ns = 0 if last_ns is None else last_ns - percept.stamp_ns
        if back_ns > _JUMP_NS:
            self._restart((last_ns + percept.stamp_ns) // 2)
        self._astray = (self._astray or back_ns > _JUMP_NS) and abs(behind_ns - self._behind_ns) > _JUMP_NS
        self._last_tick_ns = percept.stamp_ns
        if self._astray:
            apart_s = abs(behind_ns - self._behind_ns) / _SECOND_NS
            self._leave_out(ASTRAY, f'stamps went back by {apart_s:.3g} s and the log did not: which commands answer '
                            'them is not known')
            return
        self._behind_ns = behind_ns
        self.tick_span_ns = self.tick_span_ns[0] or percept.stamp_ns, percept.stamp_ns
        self.ticks += 1
        self._ticks.append((percept, log_ns))

    # ---- what is made of it

    def ready(self, log_ns: int) -> Iterator[Episode]:
        """Episodes that are complete when all up to `log_ns` was read."""
        self._hear(log_ns)
        yield from self._finished()
        while self._ticks and log_ns - self._ticks[0][1] > self._lag_ns:
            yield from self._settle(self._ticks.popleft()[0])

    def finish(self) -> Iterator[Episode]:
        """Episodes that end with the bag."""
        yield from self._finished()
        while self._ticks:
            yield from self._settle(self._ticks.popleft()[0])
        yield from self._close()

    def _finished(self) -> Iterator[Episode]:
        while self._done:
            yield self._done.popleft()

    def _hear(self, log_ns: int) -> None:
        """Note how far the log is."""
        if self._newest_log_ns - log_ns > _JUMP_NS:
            self._restart(-1)
            self._newest_log_ns = log_ns
        self._newest_log_ns = max(self._newest_log_ns, log_ns)

    def _restart(self, between_ns: int) -> None:
        """Time went back: end what was before. Readouts older than `between_ns` are of now, they went back first."""
        while self._ticks:
            self._done += self._settle(self._ticks.popleft()[0])
        self._done += self._close()
        for commands in self._commands:
            commands.times.clear()
            commands.values.clear()
        for each in self._readouts:
            if each.buffer.newest_ns > between_ns:
                each.buffer.clear()
        self._spans = [s for s in self._spans if s.end_ns is None]      # one that nobody has ended goes on
        for span in self._spans:
            span.start_ns = 0
        self._last_tick_ns = None

    def _settle(self, percept: Percept) -> Iterator[Episode]:
        """Put a tick where it belongs."""
        stamp_ns, part = percept.stamp_ns, self._part
        span = next((s for s in reversed(self._spans)
                     if s.start_ns <= stamp_ns and (s.end_ns is None or stamp_ns < s.end_ns)), None)
        readouts = None if span is None else self._measured(stamp_ns)
        follows = part is not None and part.span is span and readouts is not None and (
            0 < stamp_ns - part.rows[-1].stamp_ns <= MAX_STEP * self._period_ns)
        if part is not None and not follows:
            yield from self._close()
        if part is None or not follows:
            for commands in self._commands:
                commands.forget(stamp_ns)
        if span is None or readouts is None:
            return
        if not follows:
            self._part = _Part(span, span.parts)
            span.parts += 1
            self.parts += 1
        self._part.rows.append(percept)
        self._part.readouts.append(readouts)

    def _measured(self, stamp_ns: int) -> np.ndarray | None:
        """(R,) float32 readouts at a tick; None, counted, where one is missing or stale."""
        values = []
        for each in self._readouts:
            sample, reason = each.sample(stamp_ns)
            if sample is None:
                self._leave_out(each.key, reason)
                return None
            values.append(sample.value)
        self.rows += 1
        return np.array(values, np.float32)

    def _leave_out(self, key: str, line: str) -> None:
        first, count = self.stale.get(key, (line, 0))
        self.stale[key] = (first, count + 1)

    def _close(self) -> Iterator[Episode]:
        part, self._part = self._part, None
        episode = None if part is None else self._episode(part)
        if episode is not None:
            yield episode

    def _episode(self, part: _Part) -> Episode | None:
        """Rows of a part whose commands are known; None where there are none."""
        contract, stamps = self._contract, np.array([row.stamp_ns for row in part.rows], np.int64)
        parts = [actions_in_force(stream, np.array(c.times, np.int64), list(c.values), stamps, self._period_ns,
                                  self._lockstep) for stream, c in zip(contract.actions, self._commands)]
        first, end = max(known.start for _, known in parts), min(known.stop for _, known in parts)
        if end <= first:
            return None
        rows, name = part.rows[first:end], part.span.name
        keys = list(rows[0].values)
        return Episode(
            episode_id=f'{name}+{part.number}' if part.number else name, source=self._source,
            stamps_ns=stamps[first:end],
            percepts={key: _stack([row.values[key] for row in rows]) for key in keys},
            actions=np.concatenate([values[first:end] for values, _ in parts], axis=1),
            readouts=np.stack(part.readouts[first:end]),
            valid={key: np.array([row.valid[key] for row in rows], bool) for key in keys})


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    """(T, …); what a converter puts off for later, 0-d object arrays, becomes (T,) objects, with zeros as they are."""
    if not any(array.dtype.hasobject for array in arrays):
        return np.stack(arrays)
    stacked = np.empty(len(arrays), object)
    for i, array in enumerate(arrays):
        stacked[i] = array[()] if array.dtype.hasobject else array
    return stacked
