"""What the topics of a bag, or of a running robot, hold: counts, times, frames, shapes, values. Needs no ROS.

`check.py` compares it with a contract, `draft.py` makes a contract from it. Both feed `Survey.take` message by message,
so a bag and live topics are described by the same code.
"""
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from .arrivals import Arrivals
from .bag_open import open_bag, OpenBag
from .contract import RobotContract
from .survey_content import describe

EARLY = 5               # messages kept, for an adapter to be tried on: the first may be empty
TICKS_PER_REPORT = 500  # messages between two calls of `progress`


@dataclass(frozen=True)
class OfferedQos:
    """What a publisher offers; None where that is not known."""

    reliable: bool | None
    transient_local: bool | None


@dataclass(eq=False)
class TopicSurvey(Arrivals):
    """One topic, with all its messages; `parts` are those of them that tell of one transform or group of joints."""

    topic: str
    type: str
    qos: list[OfferedQos] = field(default_factory=list)
    wanted_qos: list[OfferedQos] = field(default_factory=list)  # live only: what its subscribers ask for
    publishers: int | None = None      # live only
    subscribers: int | None = None     # live only
    unreadable: str = ''               # why its messages cannot be read
    bad: str = ''                      # of a bag: how many messages cannot be decoded, and why
    forms: Counter = field(default_factory=Counter)         # what messages looked like: '160×120 jpeg', '361 beams'
    facts: dict = field(default_factory=dict)               # what messages say beside: range_max_m, joints
    numbers: dict[str, array] = field(default_factory=dict)  # field path -> its values, message by message
    parts: dict[tuple[str, ...], Arrivals] = field(default_factory=dict)    # (parent, child) frame, or joints -> theirs
    tallies: Counter = field(default_factory=Counter)       # beams: seen, valid, zero, inf, nan, outside
    early: list = field(default_factory=list)               # the first messages

    def take(self, message, log_ns: int) -> None:
        """Add one message, received or logged at `log_ns`."""
        if len(self.early) < EARLY:
            self.early.append(message)
        self.arrive(self.recorded, log_ns, getattr(message, 'header', None))
        describe(self, message)

    def values(self, path: str) -> np.ndarray:
        """(N,) float64 values of a field path; empty when it was never there."""
        return np.frombuffer(self.numbers.get(path, array('d')), np.float64)

    def varying(self) -> list[str]:
        """Field paths whose finite values changed, or are a constant other than zero."""
        finite = {path: v[np.isfinite(v)] for path in self.numbers if len(v := self.values(path))}
        return [path for path, v in finite.items() if len(v) and (np.ptp(v) > 0 or v[0] != 0)]


@dataclass
class Survey:
    """All topics of a source by their full names."""

    source: str
    topics: dict[str, TopicSurvey] = field(default_factory=dict)
    clock: str = ''          # `system`, `sim` or `lockstep` where the recording says so
    contract: RobotContract | None = None       # inside the bag, where it has one

    def find(self, name: str, namespace: str = '') -> str | None:
        """Full name of a contract's topic: in `namespace`, or else the only one that ends in it; None without."""
        if name.startswith('/'):
            return name if name in self.topics else None
        full = f'{namespace}/{name}'
        if full in self.topics:
            return full
        if name in self.topics and not namespace:   # recorded without a slash
            return name
        ending = [n for n in self.topics if n.endswith(f'/{name}')]
        return ending[0] if len(ending) == 1 and not namespace else None

    @property
    def ends_ns(self) -> tuple[int, int]:
        """Log times of the first and of the last message of any topic; zeros without any."""
        ends = [(min(t.log_ns), max(t.log_ns)) for t in self.topics.values() if t.log_ns]
        return (min(first for first, _ in ends), max(last for _, last in ends)) if ends else (0, 0)

    @property
    def span_s(self) -> float:
        """Seconds from the first to the last message of any topic."""
        first, last = self.ends_ns
        return (last - first) * 1e-9


class Watcher(Protocol):
    """Sees every message of a source beside the survey."""

    def begin(self, survey: Survey) -> None:
        """Learn which topics there are, before the first message."""

    def take(self, topic: str, message, log_ns: int) -> None:
        """See one message of the full topic name, received or logged at `log_ns`."""


def survey_bag(bag: Path | str, progress: Callable[[float], None] | None = None,
               watcher: Watcher | None = None) -> Survey:
    """Read a bag once; `watcher` sees every message, `progress` is called with the share done.

    Topics of unknown types are counted and marked `unreadable`. `BagError` for a bag that is missing or damaged.
    """
    with open_bag(Path(bag)) as opened:
        survey = Survey(str(bag), {t.topic: t for t in _topics(opened)}, opened.clock if opened.contract else '',
                        opened.contract)
        messages = _readable(opened, survey, progress or (lambda share: None))
        if watcher is not None:
            watcher.begin(survey)
        for topic, log_ns, message in messages:
            survey.topics[topic].take(message, log_ns)
            if watcher is not None:
                watcher.take(topic, message, log_ns)
        for name, line in opened.bad_lines().items():
            spoilt = survey.topics[name]
            spoilt.bad, spoilt.unreadable = line, '' if spoilt.recorded else line
    return survey


def _topics(opened: OpenBag) -> Iterator[TopicSurvey]:
    seen: dict[str, TopicSurvey] = {}
    for connection in opened.connections:
        topic = seen.setdefault(connection.topic, TopicSurvey(connection.topic, connection.msgtype))
        if connection.msgtype != topic.type:
            topic.unreadable = f'it was recorded with two types, {topic.type} and {connection.msgtype}'
        for qos in connection.ext.offered_qos_profiles:
            offered = OfferedQos(qos.reliability.name == 'RELIABLE', qos.durability.name == 'TRANSIENT_LOCAL')
            if offered not in topic.qos:
                topic.qos.append(offered)
    yield from seen.values()


def _readable(opened: OpenBag, survey: Survey, progress: Callable[[float], None]) -> Iterator[tuple[str, int, object]]:
    """(topic, log time, message) of all topics whose type is known; the others are marked at once."""
    for name, kind in opened.unknown_types().items():
        survey.topics[name].unreadable = f'its message type {kind} is neither installed nor defined in the bag'
    for topic in survey.topics.values():
        if topic.unreadable:
            topic.recorded = opened.count([topic.topic])
    return _counted(opened, [t.topic for t in survey.topics.values() if not t.unreadable], progress)


def _counted(opened: OpenBag, wanted: list[str],
             progress: Callable[[float], None]) -> Iterator[tuple[str, int, object]]:
    total = max(opened.count(wanted), 1)
    for done, item in enumerate(opened.messages(wanted)):
        if done % TICKS_PER_REPORT == 0:
            progress(done / total)
        yield item
    progress(1.0)
