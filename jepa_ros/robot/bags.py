"""Reading recorded bags: episodes on the control grid for training, single percepts for goals.

The same adapters serve live topics and bags, so both give identical tensors (design §7). Needs no ROS.
"""
from collections.abc import Callable, Iterator
import hashlib
from pathlib import Path

import numpy as np

from ..errors import BagError
from .adapters import to_array
from .bag_open import check_contract, open_bag, OpenBag
from .bag_repair import repair
from .bag_writer import BagWriter
from .contract import Observation, RobotContract
from .episode import Episode
from .grid import actions_in_force, newest_at, runs

__all__ = ['BagWriter', 'Episode', 'bag_duration_s', 'bag_sha256', 'read_episodes', 'read_percept', 'repair']

START = 0                       # jepa_ros/EpisodeEvent
ENDS = (2, 3, 4)                # SUCCESS, FAILURE, STOP


def read_episodes(bag: Path | str, contract: RobotContract,
                  progress: Callable[[float], None] | None = None) -> list[Episode]:
    """All episodes of a bag, split where its `episode` topic says START and STOP, SUCCESS or FAILURE.

    An episode without an end (a killed recorder) ends with the bag. Rows without a following command are dropped at
    the end. `progress` is called with the share done, 0 … 1. `BagError` in one line for a bag that is missing,
    damaged, of another contract, or without episodes.
    """
    bag = Path(bag)
    with open_bag(bag) as opened:
        check_contract(opened, contract)
        episodes = list(_Tape(opened, contract, progress).episodes())
    if not episodes:
        raise BagError(f'{bag}: its episodes hold no percept that is followed by a command')
    return episodes


def read_percept(bag: Path | str, contract: RobotContract, time_s: float) -> dict[str, np.ndarray]:
    """Percept in force `time_s` seconds after the first one: observation key -> (H, W, 3) uint8.

    `BagError` for a time before the start or past the end, naming the bag's length.
    """
    with open_bag(Path(bag)) as opened:
        check_contract(opened, contract)
        first, last = _percept_span(opened, contract)
        if not 0 <= time_s <= (last - first) * 1e-9 + contract.control_period_s / 2:
            raise BagError(f'{bag}: {time_s:g} s is outside the bag, which is {(last - first) * 1e-9:.1f} s long')
        moment = first + round(time_s * 1e9)
        return {o.key: to_array(o, _newest(opened, o, moment)) for o in contract.observations}


def bag_duration_s(bag: Path | str, contract: RobotContract) -> float:
    """Seconds from the first to the last percept."""
    with open_bag(Path(bag)) as opened:
        check_contract(opened, contract)
        first, last = _percept_span(opened, contract)
        return (last - first) * 1e-9


def bag_sha256(bag: Path | str) -> str:
    """Hash over the bag's recorded data: its storage files in the order of metadata.yaml."""
    with open_bag(Path(bag)) as opened:
        files = opened.files
    digest = hashlib.sha256()
    for file in files:
        with file.open('rb') as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _percept_span(opened: OpenBag, contract: RobotContract) -> tuple[int, int]:
    """Stamps in ns of the first and the last message of the first observation."""
    topic = opened.topic(contract.observations[0].topic)
    start, end = opened.log_span_ns
    first = next(opened.messages_between(topic, start, end), None)
    if first is None:
        raise BagError(f'{opened.path}: no message on {topic}')
    margin_ns = 1_000_000_000
    while True:  # back from the end, so that a long bag is not read whole
        last = [_stamp(m, t) for t, m in opened.messages_between(topic, max(start, end - margin_ns), end)]
        if last:
            return _stamp(first[1], first[0]), max(last)
        margin_ns *= 10


def _newest(opened: OpenBag, observation: Observation, moment_ns: int):
    """Newest message of an observation stamped at `moment_ns` or before."""
    topic = opened.topic(observation.topic)
    start, end = opened.log_span_ns
    # Log times follow stamps within the latency of a camera; half a microsecond absorbs the rounding of seconds.
    for margin_ns in (2_000_000_000, end - start):
        window = opened.messages_between(topic, max(start, moment_ns - margin_ns), min(end, moment_ns + 2_000_000_000))
        held = [(_stamp(m, t), m) for t, m in window if _stamp(m, t) <= moment_ns + 500]
        if held:
            return max(held, key=lambda pair: pair[0])[1]
    raise BagError(f'{opened.path}: no message on {topic} up to that time')


def _stamp(message, log_ns: int) -> int:
    """Header stamp in ns, or the log time of a message without header."""
    header = getattr(message, 'header', None)
    return log_ns if header is None else header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


class _Track:
    """One stream of a bag: times (N,) int64 sorted, and N values; a list while it is being read."""

    def __init__(self):
        self.times, self.values = [], []

    def sort(self) -> None:
        """Sort by time; the recorder of a live robot may log messages slightly out of order."""
        order = np.argsort(np.array(self.times, np.int64), kind='stable')
        self.times = np.array(self.times, np.int64)[order]
        self.values = [self.values[i] for i in order]


class _Tape:
    """All of one bag that bears on tensors, converted while it is read: images take most of the memory."""

    def __init__(self, opened: OpenBag, contract: RobotContract, progress: Callable[[float], None] | None):
        self.opened, self.contract = opened, contract
        streams = (*contract.observations, *contract.readouts, *contract.actions)
        self._tracks = {id(stream): _Track() for stream in streams}
        self._events: list[tuple[int, int, str]] = []  # stamp, event, episode id
        sinks: dict[str, list] = {}
        for stream in streams:
            sinks.setdefault(opened.topic(stream.topic), []).append((stream, self._tracks[id(stream)]))
        self._read(sinks, opened.topic('episode'), progress or (lambda share: None))
        for track in self._tracks.values():
            track.sort()

    def _read(self, sinks: dict[str, list], episode: str | None, progress: Callable[[float], None]) -> None:
        topics = [*sinks, episode] if episode else list(sinks)
        total = max(self.opened.count(topics), 1)
        for done, (topic, log_ns, message) in enumerate(self.opened.messages(topics)):
            if done % 1000 == 0:
                progress(done / total)
            if topic == episode:
                self._events.append((_stamp(message, log_ns), message.event, message.episode_id))
                continue
            for stream, track in sinks[topic]:
                # Commands count from when they were given, measurements from when they were taken.
                track.times.append(log_ns if stream in self.contract.actions else _stamp(message, log_ns))
                track.values.append(to_array(stream, message))
        progress(1.0)

    def episodes(self) -> Iterator[Episode]:
        """Episodes by their events, each cut again where percepts are missing."""
        grid = self._tracks[id(self.contract.observations[0])].times
        period_ns = round(self.contract.control_period_s * 1e9)
        for name, first_ns, last_ns in self._spans(int(grid[-1]) if len(grid) else 0):
            stamps = np.unique(grid[np.searchsorted(grid, first_ns):np.searchsorted(grid, last_ns, side='right')])
            for number, part in enumerate(runs(stamps, period_ns)):
                episode = self._cut(f'{name}+{number}' if number else name, stamps[part], period_ns)
                if episode is not None:
                    yield episode

    def _spans(self, last_stamp_ns: int) -> list[tuple[str, int, int]]:
        """(episode id, first stamp, last stamp); an episode without an end ends at the next start or with the bag.

        The percept of the end itself is no row: what was done after it is no part of the episode.
        """
        spans, running = [], None
        for stamp, event, name in self._events:
            if running and (event == START or event in ENDS and name == running[0]):
                spans.append((*running, stamp - 1))
                running = None
            if event == START:
                running = (name, stamp)
        if running:
            spans.append((*running, last_stamp_ns))
        if not spans:
            raise BagError(f'{self.opened.path}: topic episode has no START event, so there is no episode in it')
        return spans

    def _cut(self, name: str, stamps: np.ndarray, period_ns: int) -> Episode | None:
        """Rows of one episode; None when no percept is followed by a command."""
        contract, tracks = self.contract, self._tracks
        parts = [actions_in_force(a, tracks[id(a)].times, tracks[id(a)].values, stamps, period_ns,
                                  self.opened.clock == 'lockstep') for a in contract.actions]
        rows = min(known for _, known in parts)
        if rows == 0:
            return None
        stamps = stamps[:rows]
        percepts = {o.key: np.stack(self._held(o, name, stamps)) for o in contract.observations}
        readouts = [self._held(r, name, stamps) for r in contract.readouts]
        return Episode(
            episode_id=name, source=str(self.opened.path), stamps_ns=stamps, percepts=percepts,
            actions=np.concatenate([values[:rows] for values, _ in parts], axis=1),
            readouts=np.array(readouts, np.float32).reshape(len(readouts), rows).T.copy())

    def _held(self, stream, name: str, stamps: np.ndarray) -> list[np.ndarray]:
        """Newest value of a stream at each stamp."""
        track = self._tracks[id(stream)]
        index = newest_at(track.times, stamps)
        if index[0] < 0:
            raise BagError(f'{self.opened.path}: episode {name} starts before the first message on {stream.topic}')
        if getattr(stream, 'align', 'hold') == 'asof':
            age_s = (stamps - track.times[index]).max() * 1e-9
            if age_s > stream.timeout_s:
                raise BagError(f'{self.opened.path}: episode {name}: {stream.topic} is missing for {age_s:.2f} s, '
                               f'its timeout_s is {stream.timeout_s:g}')
        return [track.values[i] for i in index]
