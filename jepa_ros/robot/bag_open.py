"""Opening a bag with all that can be wrong with it said in one line. Used by `bags.py`."""
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import difflib
from pathlib import Path

from rosbags.rosbag2 import Reader, ReaderError
from rosbags.serde import SerdeError
import yaml

from ..errors import BagError, ContractError
from .bag_metadata import PREFIX
from .bag_remedies import agree, BagReader, journal, missing, ros1_line, unpacking
from .bag_types import is_hashed, plain, store_for, unpack
from .contract import RobotContract

# In what rosbags says of files whose end is missing: MCAP's magic and footer, SQLite's pages and tables.
_CUT_OFF = ('magic', 'footer', 'empty', 'Truncated', 'malformed', 'missing tables')
NOT_CDR = 'Serialization format'     # rosbags' words for messages of another kind than ROS 2 sends
IMAGES = {'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'}


@dataclass
class Bad:
    """Messages of a topic whose bytes are no message of its type; they are left out."""

    count: int
    line: str           # about the first one


class OpenBag:
    """An open bag, its topics found by their names in a contract whatever the namespace they were recorded in."""

    def __init__(self, path: Path, reader: Reader):
        self.path = path
        self._reader = reader
        self.bad: dict[str, Bad] = {}       # by topic, of the newest pass of `messages`
        self._custom = _custom_data(path)
        self.clock = self._custom.get(f'{PREFIX}clock', 'system')
        text = self._custom.get(f'{PREFIX}contract')
        self.contract = RobotContract.parse(text, f'{path}/metadata.yaml: the contract inside') if text else None

    @property
    def files(self) -> list[Path]:
        """Storage files in their order."""
        if self.path.is_file():
            return [self.path]
        info = yaml.safe_load((self.path / 'metadata.yaml').read_text(encoding='utf-8'))['rosbag2_bagfile_information']
        return [self.path / Path(name).name for name in info['relative_file_paths']]

    @property
    def connections(self) -> list:
        """rosbags' connections: topic, type, count and offered QoS; a topic may have several."""
        return list(self._reader.connections)

    def topic(self, name: str) -> str | None:
        """Name in the bag of a contract's topic: the same, or the only one that ends in it; None if it is not there."""
        names = {c.topic for c in self._reader.connections}
        if name.startswith('/'):
            return name if name in names else None
        for whole in (f'/{name}', name):    # rosbag2's own writer takes names without a slash
            if whole in names:
                return whole
        ending = self.ending_in(name)
        return ending[0] if len(ending) == 1 else None

    def ending_in(self, name: str) -> list[str]:
        """Topics of the bag that could be a contract's topic in some namespace."""
        return sorted({c.topic for c in self._reader.connections if c.topic.endswith(f'/{name.lstrip("/")}')})

    def type_of(self, topic: str) -> str:
        """Message type of a topic of the bag; a topic that was recorded with several has them all, by commas."""
        return ', '.join(sorted({c.msgtype for c in self._reader.connections if c.topic == topic}))

    def count(self, topics: Collection[str]) -> int:
        """Number of messages on these topics."""
        return sum(c.msgcount for c in self._reader.connections if c.topic in topics)

    def messages(self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None,
                 ) -> Iterator[tuple[str, int, object]]:
        """(topic, log time in ns, message) logged within [start, stop), in the order of the log times.

        Messages that cannot be decoded are left out and counted in `bad`. `BagError` names a topic whose message type
        is not known.
        """
        self.bad = bad = {}
        connections = [c for c in self.connections if c.topic in topics]
        if not connections:
            return  # to rosbags, none would mean all
        with damage_named(self.path):
            stores = {(c.topic, c.msgtype): store_for(c) for c in connections}
            for connection, time_ns, raw in self._all(connections, start_ns, stop_ns):
                store = stores[connection.topic, connection.msgtype]
                try:
                    message = unpack(store, raw, connection.msgtype, is_hashed(connection))
                except SerdeError as error:
                    bad.setdefault(connection.topic, Bad(0, _first_line(error))).count += 1
                    continue
                yield connection.topic, time_ns, message

    def bad_lines(self) -> dict[str, str]:
        """Topic -> what the newest pass of `messages` left out of it."""
        return {topic: f'{bad.count} of {self.count([topic])} messages: bad, first: {bad.line}'
                for topic, bad in self.bad.items()}

    def unknown_types(self) -> dict[str, str]:
        """Topic -> message type of topics that cannot be read here: neither installed nor defined in the bag."""
        unknown = {}
        for connection in self.connections:
            try:
                store_for(connection)
            except BagError:
                form = connection.ext.serialization_format
                unknown[connection.topic] = connection.msgtype + (f' ({form})' if form != 'cdr' else '')
        return unknown

    def raw_messages(self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None,
                     ) -> Iterator[tuple[str, int, bytes]]:
        """(topic, log time in ns, CDR) logged within [start, stop), by log time. Needs no message type."""
        connections = [c for c in self._reader.connections if c.topic in topics]
        if not connections:
            return  # to rosbags, none would mean all
        with damage_named(self.path):
            for connection, time_ns, raw in self._all(connections, start_ns, stop_ns):
                yield connection.topic, time_ns, raw

    def _all(self, connections: list, start_ns: int | None, stop_ns: int | None):
        """rosbags' messages; `BagError` at the end where fewer came than the files or metadata.yaml count.

        Chunks seldom have a checksum (rosbag2 writes none), and a damaged one ends early without an error.
        """
        seen = 0
        for connection, time_ns, raw in self._reader.messages(connections, start=start_ns, stop=stop_ns):
            seen += 1
            yield connection, time_ns, plain(raw)
        storages = getattr(self._reader.storage, 'storages', [self._reader.storage])
        topics = {c.topic for c in connections}
        there = max(sum(c.msgcount for s in storages for c in s.connections if c.topic in topics),
                    sum(c.msgcount for c in connections))
        spans = [(s.metadata.start_time, s.metadata.end_time) for s in storages if s.metadata.message_count]
        whole = all((start_ns is None or start_ns <= start) and (stop_ns is None or stop_ns >= end)
                    for start, end in spans)
        if whole and seen < there:
            raise BagError(f'{self.path}: the recording is damaged: {seen} of {there} messages can be read; '
                           f'jepa-ros bag repair {self.path} saves what can be')

    @property
    def log_span_ns(self) -> tuple[int, int]:
        """Log times of the first message and just behind the last one."""
        return self._reader.start_time, self._reader.end_time


@contextmanager
def damage_named(path: Path):
    """Turn what rosbags and its decompressors raise for damaged data into one line."""
    try:
        yield
    except (BagError, ContractError):
        raise
    except GeneratorExit:
        raise
    except Exception as error:  # the libraries below raise a dozen unrelated types
        raise BagError(f'{path}: the recording is damaged ({_first_line(error)}); '
                       f'jepa-ros bag repair {path} saves what can be read') from error


@contextmanager
def open_bag(path: Path) -> Iterator[OpenBag]:
    """Open a bag folder (or a single .mcap or .db3 file); `BagError` says in one line why it cannot be."""
    if not path.exists():
        raise BagError(f'{path}: there is no such bag')
    if line := ros1_line(path):
        raise BagError(line)
    files = [path] if path.is_file() else [*path.glob('*.mcap'), *path.glob('*.db3')]
    remedy = f'; jepa-ros bag repair {path} saves what can be read' if files else ''
    if path.is_file() and path.suffix == '.zstd':
        raise BagError(f'{path}: is a compressed file of a bag: give its folder, or {unpacking(path)}')
    packed = [] if path.is_file() or files else sorted(path.glob('*.zstd'))
    if path.is_dir() and not (path / 'metadata.yaml').exists():
        remedy = f'; {unpacking(packed[0])}, then jepa-ros bag repair {path}' if packed else remedy
        raise BagError(f'{path}: not a rosbag2 folder, metadata.yaml is missing{remedy}')
    for file in (file for file in files if journal(file)):
        raise BagError(f'{path}: {journal(file)} holds messages that are not in {file.name} yet; '
                       f'jepa-ros bag repair {path} puts them in')
    try:
        reader = BagReader(path)
        reader.open()
        agree(reader)
    except (ReaderError, OSError, AssertionError) as error:
        cut = any(word in str(error) for word in _CUT_OFF)
        what = 'the recording was cut off or is damaged' if cut else 'cannot be opened'
        repairable = cut or path.is_dir() and not isinstance(error, PermissionError) and NOT_CDR not in str(error)
        absent = missing(path) if path.is_dir() else ''
        raise BagError(f'{path}: {what} ({absent or _first_line(error)}){remedy if repairable else ""}'
                       + ('; put it into the folder' if absent and not files else '')) from error
    except Exception as error:
        if packed and isinstance(error, EOFError):
            raise BagError(f'{path}: a file of it was cut off ({_first_line(error)}); {unpacking(packed[-1])}, which '
                           f'keeps what there is, then jepa-ros bag repair {path}') from error
        raise BagError(f'{path}: not a rosbag2 recording ({_first_line(error)}){remedy}') from error
    try:
        yield OpenBag(path, reader)
    finally:
        if reader.is_open:
            reader.close()


def as_recorded(bag: OpenBag, contract: RobotContract) -> RobotContract:
    """The contract to read this bag with: where the bag's images are compressed and the robot's raw, or the other way.

    The bag's own contract says on which topic and in which type it has them; key, encoding and size must agree.
    """
    there = {o.key: o for o in bag.contract.observations} if bag.contract is not None else {}
    streams = []
    for stream in contract.observations:
        own = there.get(stream.key)
        alike = own is not None and {stream.type, own.type} == IMAGES and all(
            getattr(stream, name) == getattr(own, name) for name in ('encoding', 'height', 'width'))
        streams.append(stream.model_copy(update={'topic': own.topic, 'type': own.type}) if alike else stream)
    return contract if streams == contract.observations else contract.model_copy(update={'observations': streams})


def check_contract(bag: OpenBag, contract: RobotContract) -> RobotContract:
    """The contract to read the bag with (`as_recorded`).

    `BagError` unless the bag has what it reads, in its types, from the same robot. Height, width and timeouts may
    differ: images are recorded as they came.
    """
    recorded, contract = bag.contract, as_recorded(bag, contract)
    if recorded is not None:
        for field, there, here in _bearing(recorded, contract):
            if there != here:
                raise BagError(f'{bag.path}: recorded with another robot contract: {field} is {there!r} there and '
                               f'{here!r} in {contract.name}')
    for stream in (*contract.observations, *contract.readouts, *contract.actions):
        topic = bag.topic(stream.topic)
        if topic is None and getattr(stream, 'required', True):
            raise BagError(f'{bag.path}: topic {stream.topic} of contract {contract.name} is not in the bag'
                           + _elsewhere(bag, stream.topic))
        if topic is not None and bag.type_of(topic) != stream.type:
            raise BagError(f'{bag.path}: topic {topic} has type {bag.type_of(topic)}, contract {contract.name} '
                           f'says {stream.type}')
    return contract


def _elsewhere(bag: OpenBag, name: str) -> str:
    """Where a missing topic may be found, to end an error line with."""
    there = bag.ending_in(name)
    if len(there) > 1:
        return f', or in several namespaces: write one of {", ".join(there)} into the contract'
    topics = sorted({c.topic for c in bag.connections})
    close = there or difflib.get_close_matches(f'/{name.lstrip("/")}', topics, n=1, cutoff=0.6)
    return f'; did you mean {close[0]}?' if close else f' (it has {", ".join(topics) or "no topics"})'


def _bearing(recorded: RobotContract, contract: RobotContract):
    """(field, recorded, wanted) of all that must agree for a bag to be read with a contract."""
    yield 'name', recorded.name, contract.name
    yield 'control_period_s', recorded.control_period_s, contract.control_period_s
    for what, old, new in (('readouts', recorded.readouts, contract.readouts),
                           ('observations', recorded.observations, contract.observations)):
        keep = {'name', 'field', 'key', 'type'}
        yield what, [s.model_dump(include=keep) for s in old], [s.model_dump(include=keep) for s in new]
    limits = {'fields': {'__all__': {'name', 'field', 'min', 'max'}}, 'key': True, 'type': True}
    yield 'actions', *[[s.model_dump(include=limits) for s in c.actions] for c in (recorded, contract)]


def _custom_data(path: Path) -> dict[str, str]:
    if path.is_file():
        return {}
    info = yaml.safe_load((path / 'metadata.yaml').read_text(encoding='utf-8'))['rosbag2_bagfile_information']
    return info.get('custom_data') or {}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip('.')
