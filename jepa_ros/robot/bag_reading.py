"""One pass over an open bag: its messages through `Ingest` and `Cutter`. Used by `bags.py`."""
from collections.abc import Callable, Iterator

import numpy as np

from ..errors import BagError, ContractError
from .adapters import to_array, TRANSFORM_TYPE
from .bag_open import OpenBag
from .contract import ActionStream, RobotContract
from .cutter import Cutter
from .episode import Episode
from .ingest import Ingest, Percept
from .intake import Convert, header_stamp_ns, static_topic, time_ns
from .sim_dates import LogDates
from .stream_buffer import StreamCounters
from .why_none import EVENTS, why_no_episode, why_no_percept

EVENT_TYPE = 'jepa_ros/msg/EpisodeEvent'
SIMULATED = ('sim', 'lockstep')      # clocks of recordings whose log times are simulated time
_SPAN_MARGIN_NS = 1_000_000_000
_WORTH_A_LINE = ('zero_stamp', 'future', 'duplicate', 'jump_back', 'jump_forward', 'bad', 'frame')


class Reading:
    """An open bag with a contract that fits it. `report` takes lines about what cannot be used."""

    def __init__(self, opened: OpenBag, contract: RobotContract, report: Callable[[str], None] = lambda line: None):
        self.opened, self.contract, self._report = opened, contract, report
        wanted = [o.topic for o in contract.observations] + [r.topic for r in contract.readouts]
        wanted += [static_topic(o.topic) for o in contract.observations if o.type == TRANSFORM_TYPE]
        self._measured = {name: topic for topic in wanted if (name := opened.topic(topic))}
        self._commands: dict[str, list[tuple[int, ActionStream]]] = {}
        for index, stream in enumerate(contract.actions):
            self._commands.setdefault(opened.topic(stream.topic), []).append((index, stream))
        self._action_counters = {stream.key: StreamCounters() for stream in contract.actions}
        name = opened.topic(EVENTS)
        self._events = name if name and opened.type_of(name) == EVENT_TYPE else None

    # ---- percepts

    def percepts(self, ingest: Ingest, start_ns: int | None = None, stop_ns: int | None = None) -> Iterator[Percept]:
        """Percepts of the messages logged within [start, stop)."""
        log_ns = 0
        for topic, log_ns, message in self._messages(list(self._measured), start_ns, stop_ns):
            yield from ingest.put(self._measured[topic], message, log_ns)
        yield from ingest.advance(log_ns)

    def percept_span_ns(self) -> tuple[int, int]:
        """Stamps of the first and of the last percept, without reading the bag whole."""
        ingest = Ingest(self.contract)
        first = next(self.percepts(ingest), None)
        if first is None:
            raise BagError(f'{self.opened.path}: {why_no_percept(self.contract, ingest, self.opened.topic)}')
        start, end = self.opened.log_span_ns
        margin_ns = _SPAN_MARGIN_NS
        while True:     # back from the end
            tail = Ingest(self.contract)
            last = max((p.stamp_ns for p in self.percepts(tail, max(start, end - margin_ns), end)), default=None)
            if last is not None or end - margin_ns <= start:
                return first.stamp_ns, max(first.stamp_ns, last or 0)
            margin_ns *= 10

    # ---- episodes

    def episodes(self, progress: Callable[[float], None] | None = None, convert: Convert = to_array,
                 ) -> Iterator[Episode]:
        """All episodes; `BagError` when there is none. `convert` stands in for the adapters of observations."""
        path, any_yet = self.opened.path, False
        self._report_unknown()
        ingest = Ingest(self.contract, convert)
        cutter = Cutter(self.contract, str(path), self.opened.clock == 'lockstep', None if self._events else path.stem)
        for episode in self._cut(ingest, cutter, progress or (lambda share: None)):
            any_yet = True
            yield episode
        if not any_yet:
            why = why_no_episode(self.contract, ingest, cutter, self._action_counters, self.opened.topic)
            raise BagError('; '.join([f'{path}: {why}', *self._bad_lines()]))
        self._report_troubles(ingest, cutter)

    def _cut(self, ingest: Ingest, cutter: Cutter, progress: Callable[[float], None]) -> Iterator[Episode]:
        topics = list({*self._measured, *self._commands, *([self._events] if self._events else [])})
        total, log_ns = max(self.opened.count(topics), 1), 0
        for done, (topic, log_ns, message) in enumerate(self._messages(topics)):
            if done % 1000 == 0:
                progress(done / total)
            if topic == self._events:
                cutter.event(time_ns(message.header.stamp) or log_ns, message.event, message.episode_id)
            for index, stream in self._commands.get(topic, ()):
                values = self._command(stream, message)
                if values is not None:
                    cutter.command(index, log_ns, values)
            if (name := self._measured.get(topic)) is not None:
                cutter.readout(name, message, log_ns)
                for percept in ingest.put(name, message, log_ns):
                    cutter.percept(percept, log_ns)
            yield from cutter.ready(log_ns)
        for percept in ingest.advance(log_ns):
            cutter.percept(percept, log_ns)
        yield from cutter.finish()
        progress(1.0)

    def _command(self, stream: ActionStream, message) -> np.ndarray | None:
        counters = self._action_counters[stream.key]
        counters.received += 1
        try:
            values = to_array(stream, message)
        except ContractError as error:
            counters.count('bad', str(error))
            return None
        counters.converted += 1
        return np.asarray(values)

    def _messages(self, topics: list[str], start_ns: int | None = None, stop_ns: int | None = None):
        """Messages with the time they were sent, on the contract's clock."""
        messages = self.opened.messages(topics, start_ns, stop_ns)
        simulated = self.opened.clock in SIMULATED
        if self.contract.clock != 'sim' and not simulated:
            yield from messages
            return
        dates = LogDates(simulated)
        for topic, log_ns, message in messages:
            stamp_ns = header_stamp_ns(message) if topic in self._measured else None
            yield topic, dates.date(log_ns, stamp_ns, topic), message

    # ---- what is to be said

    def _report_unknown(self) -> None:
        for topic, kind in self.opened.unknown_types().items():
            self._report(f'{self.opened.path}: topic {topic} is skipped: its message type {kind} is neither installed '
                         'nor defined in the bag')

    def _bad_lines(self) -> list[str]:
        return [f'{topic}: {line}' for topic, line in self.opened.bad_lines().items()]

    def _report_troubles(self, ingest: Ingest, cutter: Cutter) -> None:
        path = self.opened.path
        for line in self._bad_lines():
            self._report(f'{path}: {line}')
        for key, counters in (ingest.counters | self._action_counters).items():
            for kind in _WORTH_A_LINE:
                if count := getattr(counters, kind):
                    line = counters.lines.get(kind, '')
                    self._report(f'{path}: {key}: {count} of {counters.received} messages: {kind.replace("_", " ")}'
                                 + (f', first: {line}' if line else ''))
        for key, count in ingest.withheld.items():
            self._report(f'{path}: {count} ticks have no percept, because {key} was missing or stale')
        for key, (count, line) in ingest.lacking.items():
            if count == cutter.ticks:
                self._report(f'{path}: {key} is zeros and marked invalid in every percept: {line}')
        for line, count in cutter.stale.values():
            self._report(f'{path}: {count} rows are left out, first: {line}')
