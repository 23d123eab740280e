"""A contract tried on messages as they come: what training and driving would make of them. Part of `check.py`."""
from collections.abc import Iterable

import numpy as np

from ..errors import ContractError
from .adapters import to_array, TRANSFORM_TYPE
from .arrivals import Arrivals, of_stream
from .bag_reading import EVENT_TYPE, SIMULATED
from .contract import ActionStream, RobotContract
from .cutter import Cutter
from .episode import Episode
from .ingest import Ingest, Percept
from .intake import header_stamp_ns, static_topic, time_ns
from .sim_dates import LogDates
from .stream_buffer import StreamCounters
from .survey import Survey
from .why_none import EVENTS, why_no_episode, why_no_percept


def streams_of(contract: RobotContract) -> list:
    """All streams of a contract in the order of the file."""
    return [*contract.observations, *contract.readouts, *contract.actions]


def key_of(stream) -> str:
    """Key of an observation or action stream, name of a readout."""
    return getattr(stream, 'key', None) or stream.name


class Trial:
    """Reads messages as training and driving would, beside the survey: by the contract's adapters and its ingest.

    Percepts are cut into episodes as training's are, but without the values: all that counts is how many rows they
    have. Of a running robot there are none: nobody may be driving yet.
    """

    def __init__(self, contract: RobotContract, namespace: str = ''):
        self.contract, self.namespace = contract, namespace
        self.found: dict[int, str] = {}                 # id of a stream -> full name of its topic, where the type fits
        self.percepts = self.episodes = self.rows = 0   # rows of the episodes
        self._log_ns = 0
        self._dates: LogDates | None = None
        self._ingest = Ingest(contract)
        self._cutter = Cutter(contract, '', lockstep=False, name='')
        self._begun = False
        self._events = ''                               # full name of the topic of episode events
        self._told = {stream.key: StreamCounters() for stream in contract.actions}
        self._commands: dict[str, list[tuple[int, ActionStream]]] = {}
        self._sensors: dict[str, set[str]] = {}         # full name -> the contract's names for it

    def begin(self, survey: Survey) -> None:
        """Find the contract's topics among those that there are; again when there are more."""
        self._commands.clear()
        self._sensors.clear()
        simulated = survey.clock in SIMULATED
        if self._dates is None and (self.contract.clock == 'sim' or simulated):
            self._dates = LogDates(simulated)       # as in training
        for stream in streams_of(self.contract):
            name = survey.find(stream.topic, self.namespace)
            if name is None or survey.topics[name].type != stream.type:
                continue
            self.found[id(stream)] = name
            if isinstance(stream, ActionStream):
                self._commands.setdefault(name, []).append((self.contract.actions.index(stream), stream))
            else:
                for told, full in self._told_by(stream, name, survey):
                    self._sensors.setdefault(full, set()).add(told)
        if not self._begun:
            self._begun = True
            events = survey.find(EVENTS, self.namespace)
            self._events = events if events and survey.topics[events].type == EVENT_TYPE else ''
            self._cutter = Cutter(self.contract, survey.source, survey.clock == 'lockstep',
                                  None if self._events else survey.source)

    def complete(self, survey: Survey) -> bool:
        """True when there is a topic for every stream, of whatever type."""
        return all(survey.find(s.topic, self.namespace) for s in streams_of(self.contract))

    def topics(self, survey: Survey) -> set[str]:
        """Full names of all topics the contract reads."""
        names = [(s, survey.find(s.topic, self.namespace)) for s in streams_of(self.contract)]
        return {full for stream, name in names if name for _, full in self._told_by(stream, name, survey)}

    def arrivals(self, stream, survey: Survey) -> Arrivals:
        """The messages that tell of a stream whose topic is found: of /tf and joint states only those of its own."""
        static = survey.find(static_topic(stream.topic), self.namespace)
        return of_stream(stream, survey.topics[self.found[id(stream)]], survey.topics.get(static or ''))

    def _told_by(self, stream, name: str, survey: Survey) -> list[tuple[str, str]]:
        """(name in the contract, full name) of the topics that tell of a stream: two for a transform."""
        static = survey.find(static_topic(stream.topic), self.namespace) if stream.type == TRANSFORM_TYPE else None
        return [(stream.topic, name)] + ([(static_topic(stream.topic), static)] if static else [])

    def take(self, topic: str, message, log_ns: int) -> None:
        """Read one message; what an adapter refuses is counted."""
        if self._dates is not None:
            log_ns = self._dates.date(log_ns, header_stamp_ns(message) if topic in self._sensors else None, topic)
        self._log_ns = log_ns
        if topic == self._events:
            self._cutter.event(time_ns(message.header.stamp) or log_ns, message.event, message.episode_id)
        for index, stream in self._commands.get(topic, ()):
            self._command(index, stream, message, log_ns)
        for name in self._sensors.get(topic, ()):
            self._cutter.readout(name, message, log_ns)
            self._cut(self._ingest.put(name, message, log_ns))
        self._count(self._cutter.ready(log_ns))

    def _command(self, index: int, stream: ActionStream, message, log_ns: int) -> None:
        told = self._told[stream.key]
        told.received += 1
        try:
            self._cutter.command(index, log_ns, np.asarray(to_array(stream, message)))
            told.converted += 1
        except ContractError as error:
            told.count('bad', str(error))

    def _cut(self, percepts: Iterable[Percept]) -> None:
        for percept in percepts:
            self.percepts += 1
            self._cutter.percept(Percept(percept.stamp_ns, {}, {}, percept.readouts), self._log_ns)

    def _count(self, episodes: Iterable[Episode]) -> None:
        for episode in episodes:
            self.episodes, self.rows = self.episodes + 1, self.rows + len(episode)

    def finish(self) -> None:
        """Make the ticks that are due at the last message, and the episodes that end with it."""
        self._cut(self._ingest.advance(self._log_ns))
        self._count(self._cutter.finish())

    def why_no_percept(self, survey: Survey) -> str:
        """The reason why not a single percept came out."""
        return why_no_percept(self.contract, self._ingest, lambda name: survey.find(name, self.namespace))

    def why_no_episode(self, survey: Survey) -> str:
        """The reason why training would find no episode."""
        return why_no_episode(self.contract, self._ingest, self._cutter, self._told,
                              lambda name: survey.find(name, self.namespace))

    @property
    def counters(self) -> dict[str, dict]:
        """Observation key or readout name -> what the ingest counted: stale, late, duplicates, …"""
        return {key: counted.counts() for key, counted in self._ingest.counters.items()}

    @property
    def withheld(self) -> dict[str, int]:
        """Ticks without a percept, by the key of the required observation that was missing or stale."""
        return dict(self._ingest.withheld)

    @property
    def lacking(self) -> dict[str, tuple[int, str]]:
        """Key of an observation that is not required -> percepts in which it is invalid, and why in the newest."""
        return dict(self._ingest.lacking)

    def refusals(self, stream) -> tuple[int, int, str]:
        """(messages refused, messages tried, first reason) of a stream."""
        counted = self._told[stream.key] if isinstance(stream, ActionStream) else self._ingest.counters[key_of(stream)]
        return counted.bad, counted.bad + counted.converted, counted.lines.get('bad', '')
