"""Opening a bag with all that can be wrong with it said in one line. Used by `bags.py`."""
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from rosbags.rosbag2 import Reader, ReaderError
import yaml

from ..errors import BagError, ContractError
from .bag_metadata import PREFIX
from .bag_types import ensure_type, typestore
from .contract import RobotContract


class OpenBag:
    """An open bag, its topics found by their names in a contract whatever the namespace they were recorded in."""

    def __init__(self, path: Path, reader: Reader):
        self.path = path
        self._reader = reader
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

    def topic(self, name: str) -> str | None:
        """Name in the bag of a contract's topic: the same, or the only one that ends in it; None if it is not there."""
        names = {c.topic for c in self._reader.connections}
        if name.startswith('/'):
            return name if name in names else None
        if f'/{name}' in names:
            return f'/{name}'
        ending = [n for n in names if n.endswith(f'/{name}')]
        return ending[0] if len(ending) == 1 else None

    def type_of(self, topic: str) -> str:
        """Message type of a topic of the bag."""
        return next(c.msgtype for c in self._reader.connections if c.topic == topic)

    def count(self, topics: Collection[str]) -> int:
        """Number of messages on these topics."""
        return sum(c.msgcount for c in self._reader.connections if c.topic in topics)

    def messages(self, topics: Collection[str], until_ns: int | None = None) -> Iterator[tuple[str, int, object]]:
        """(topic, log time in ns, message) in the order of the log times."""
        store = typestore()
        connections = [c for c in self._reader.connections if c.topic in topics]
        for connection in connections:
            ensure_type(connection.msgtype)
        with damage_named(self.path):
            for connection, time_ns, raw in self._reader.messages(connections, stop=until_ns):
                yield connection.topic, time_ns, store.deserialize_cdr(raw, connection.msgtype)

    def messages_between(self, topic: str, start_ns: int, stop_ns: int) -> Iterator[tuple[int, object]]:
        """(log time, message) of one topic, logged within [start, stop)."""
        connections = [c for c in self._reader.connections if c.topic == topic]
        ensure_type(connections[0].msgtype)
        with damage_named(self.path):
            for connection, time_ns, raw in self._reader.messages(connections, start=start_ns, stop=stop_ns):
                yield time_ns, typestore().deserialize_cdr(raw, connection.msgtype)

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
                       f'jepa-ros record --repair {path} saves what can be read') from error


@contextmanager
def open_bag(path: Path) -> Iterator[OpenBag]:
    """Open a bag folder (or a single .mcap or .db3 file); `BagError` says in one line why it cannot be."""
    if not path.exists():
        raise BagError(f'{path}: there is no such bag')
    if path.is_dir() and not (path / 'metadata.yaml').exists():
        hint = f'; jepa-ros record --repair {path} can make one' if any(path.glob('*.mcap')) else ''
        raise BagError(f'{path}: not a rosbag2 folder, metadata.yaml is missing{hint}')
    try:
        reader = Reader(path)
        reader.open()
    except (ReaderError, OSError, AssertionError) as error:
        cut = any(word in str(error) for word in ('magic', 'footer', 'empty', 'Truncated'))
        what = 'the recording was cut off, its index is missing' if cut else f'cannot be opened ({_first_line(error)})'
        hint = f'; jepa-ros record --repair {path} makes it readable' if cut and path.is_dir() else ''
        raise BagError(f'{path}: {what}{hint}') from error
    except Exception as error:
        raise BagError(f'{path}: not a rosbag2 recording ({_first_line(error)})') from error
    try:
        yield OpenBag(path, reader)
    finally:
        if reader.is_open:
            reader.close()


def check_contract(bag: OpenBag, contract: RobotContract) -> None:
    """`BagError` unless the bag has what the contract reads, in its types, from the same robot.

    Height, width and timeouts may differ: images are recorded as they came.
    """
    recorded = bag.contract
    if recorded is not None:
        for field, there, here in _bearing(recorded, contract):
            if there != here:
                raise BagError(f'{bag.path}: recorded with another robot contract: {field} is {there!r} there and '
                               f'{here!r} in {contract.name}')
    for stream in (*contract.observations, *contract.readouts, *contract.actions):
        topic = bag.topic(stream.topic)
        if topic is None:
            raise BagError(f'{bag.path}: topic {stream.topic} of contract {contract.name} is not in the bag')
        if bag.type_of(topic) != stream.type:
            raise BagError(f'{bag.path}: topic {topic} has type {bag.type_of(topic)}, contract {contract.name} '
                           f'says {stream.type}')


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
