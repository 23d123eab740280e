"""Writing rosbag2 bags (MCAP, zstd chunks) that describe themselves and survive a kill and a full disk.

Used by the recorder node. One thread at a time may call a writer.
"""
from contextlib import suppress
import os
from pathlib import Path
import shutil

from ..errors import BagError
from .bag_file import BagFile
from .bag_metadata import FileSpan, metadata, Provenance, Topic, write_metadata
from .bag_repair import rebuild_index
from .bag_types import ensure_type, qos_text, typestore

RESERVE_BYTES = 4 << 20   # kept free for the index: about 200 bytes per MB recorded, and metadata.yaml
RESERVE = '.reserve'


class BagWriter:
    """One bag being written; close it, or use it as a context manager.

    With `split_bytes` or `split_ns` (log time) the bag is a folder of several .mcap files of at most about that size
    or length; 0 is one file. Where less than `min_free_bytes` of the disk are left, writing is refused or ended.
    After an error of the disk the bag is finished with what it holds: `BagError` says how much that is, and
    everything before stays readable.
    """

    def __init__(self, path: Path | str, provenance: Provenance, split_bytes: int = 0, split_ns: int = 0,
                 min_free_bytes: int = 0):
        self.path = Path(path)
        self.bytes = 0
        self.counts: dict[str, int] = {}
        self.open = False
        self._split_bytes, self._split_ns, self._min_free = split_bytes, split_ns, min_free_bytes
        self._custom = provenance.custom_data()
        self._topics: dict[str, Topic] = {}
        self._done: list[FileSpan] = []
        self._undescribed = False   # metadata.yaml lacks a topic
        self._reserve = self.path / RESERVE
        if self.path.exists():
            raise BagError(f'{self.path} exists already; give another output or --overwrite')
        if free_bytes(self.path) < min_free_bytes:
            raise BagError(f'{self.path}: only {free_bytes(self.path) / 1e6:.0f} MB are free there, '
                           f'{min_free_bytes / 1e6:.0f} MB are wanted before a recording: free space, give another '
                           'output or a smaller --min-free-mb')
        try:
            self.path.mkdir(parents=True)
            self._file = self._new_file()
            with self._reserve.open('wb') as reserve:
                os.posix_fallocate(reserve.fileno(), 0, RESERVE_BYTES)
        except OSError as error:
            shutil.rmtree(self.path, ignore_errors=True)  # nothing is recorded yet, and the name is wanted again
            raise BagError(f'{self.path}: a bag cannot be written here ({error.strerror or error}): free space or give '
                           'another output') from error
        self.open = True

    def add_topic(self, topic: str, type_name: str, qos: list = ()) -> None:
        """Announce a topic; `BagError` for a type that is not installed."""
        ensure_type(type_name)
        self._topics[topic] = Topic(topic, type_name, qos_text(qos), typestore().hash_rihs01(type_name))
        self._file.add_topic(self._topics[topic])
        self.counts[topic] = 0
        self._undescribed = True

    def write(self, topic: str, time_ns: int, raw: bytes) -> None:
        """Append one serialised message (CDR)."""
        try:
            if self._is_full(time_ns):
                self._next_file()
            self._file.write(topic, time_ns, raw)
        except OSError as error:
            raise BagError(self._rescue(error)) from error
        self.counts[topic] += 1
        self.bytes += len(raw)

    def note(self, name: str, values: dict[str, str]) -> None:
        """Keep something about the recording, as an MCAP metadata record at this place of the bag."""
        try:
            self._file.note(name, values)
        except OSError as error:
            raise BagError(self._rescue(error)) from error

    def describe(self, key: str, value: str) -> None:
        """Keep something about the whole bag in the `custom_data` of metadata.yaml."""
        self._custom[key] = value

    def flush(self) -> None:
        """Hand all to the operating system: a kill takes nothing of it any more."""
        try:
            self._file.flush()
            if self._undescribed:
                self._describe_all()
        except OSError as error:
            raise BagError(self._rescue(error)) from error

    @property
    def short_of_room(self) -> str:
        """Why recording has to end, in one line, once less than `min_free_bytes` are free; else empty."""
        if free_bytes(self.path) >= self._min_free:
            return ''
        return (f'{self.path}: recording ended, less than {self._min_free / 1e6:.0f} MB are free; what was recorded is '
                'kept and readable; free space and record again')

    def close(self) -> None:
        """Write the index and the final metadata.yaml."""
        if not self.open:
            return
        self._reserve.unlink(missing_ok=True)
        try:
            self._file.close(self._topics.values())
            self._describe_all()
        except OSError as error:
            raise BagError(self._rescue(error)) from error
        self.open = False

    def _new_file(self) -> BagFile:
        number = f'_{len(self._done)}' if self._split_bytes or self._split_ns else ''
        file = BagFile(self.path / f'{self.path.name}{number}.mcap', self._custom, self._topics.values())
        self._file = file
        self._describe_all()  # early: a killed recording has a metadata.yaml with all that is known of it
        return file

    def _is_full(self, time_ns: int) -> bool:
        if not self._file.messages:
            return False
        if self._split_ns and time_ns - self._file.start_ns >= self._split_ns:
            return True
        return bool(self._split_bytes) and self._file.size >= self._split_bytes

    def _next_file(self) -> None:
        self._file.close(self._topics.values())
        self._done.append(self._file.span)
        self._file = self._new_file()

    def _describe_all(self) -> None:
        self._undescribed = False
        write_metadata(self.path, metadata([*self._done, self._file.span], self._topics.values(), self._custom))

    def _rescue(self, error: OSError) -> str:
        """Finish the bag with the chunks that reached the disk; returns the line that says so."""
        self.open = False
        with suppress(OSError):
            self._file.abort()
        self._reserve.unlink(missing_ok=True)
        try:
            kept = rebuild_index(self.path)
        except BagError:
            kept = 0    # not one message reached the disk
        written = sum(self.counts.values())
        return (f'{self.path}: recording ended, {error.strerror or error}; {kept} messages are kept and readable, '
                f'the last {max(written + 1 - kept, 1)} are lost; free space and record again')

    def __enter__(self) -> 'BagWriter':
        return self

    def __exit__(self, *_exception) -> None:
        self.close()


def free_bytes(path: Path) -> int:
    """Bytes that are free where `path` is, or will be."""
    while not path.exists() and path != path.parent:
        path = path.absolute().parent
    return shutil.disk_usage(path).free
