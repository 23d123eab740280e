"""A memory on disk: recorded in the background, whole again after a crash. Nothing is unpickled.

The file (`chunks.py`) only grows, by what came since the last write; now and then it is written anew with what is still
held, beside itself, and takes the old one's name when the disk has it. A kill costs at most the last FLUSH_S, a full
disk nothing that was recorded.
"""
from collections import deque
from dataclasses import dataclass
import fcntl
import os
from pathlib import Path
import threading
from typing import BinaryIO, Protocol

from jepa_ros.errors import ConfigError
from jepa_ros.memory import chunks
from jepa_ros.memory.chunks import Contents, Header

FLUSH_S = 0.5           # between two writes
RETRY_S = 5.0           # after the disk refused one
PENDING = 8192          # records that wait for the disk at most: more than 13 minutes at 10 Hz
GROWTH = 4096           # records after which a file is written anew, or a quarter of the capacity where that is more


@dataclass(frozen=True)
class Snapshot:
    """Everything that is kept, and the records that were waiting when it was copied."""

    contents: Contents
    pending: list[tuple]
    growth: int             # records after which the file is to be written anew


@dataclass
class Found:
    """A file that is open and locked for this process, and what it held; None for a new one."""

    path: Path
    file: BinaryIO
    header: Header
    contents: Contents | None
    warnings: list[str]


class _Foreign(Exception):
    """The file is no memory of this model; the words say what it is."""


def open_or_beside(path: Path, header: Header) -> Found:
    """Open a memory file, or one beside it where it is no memory of this model. ConfigError where neither can be."""
    try:
        return _open(path, header)
    except _Foreign as foreign:
        beside = path.with_name(f'{path.stem}.{header.model_id}-{header.dim}{path.suffix}')
        said = f'{path}: {foreign}: refused and kept as it is; a fresh memory is written to {beside}'
    try:
        found = _open(beside, header)
    except _Foreign as foreign:
        raise ConfigError(f'{beside}: {foreign}, nor is {path}: give another memory_file') from None
    found.warnings.insert(0, said)
    return found


def _open(path: Path, header: Header) -> Found:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open('r+b' if path.exists() else 'x+b', buffering=0)
    except OSError as error:
        raise ConfigError(f'memory file {path} cannot be written ({error.strerror or error}): '
                          'give another memory_file') from None
    try:
        _lock(path, file)
        data = file.readall()
        if not data:
            _append(file, header.packed())
            return Found(path, file, header, None, [])
        problem, start = chunks.header_problem(data, header)
        if problem:
            raise _Foreign(problem)
        contents, end, damage = chunks.read(data, start, header.dim)
        warnings = []
        if damage:
            warnings.append(f'{path}: {damage} at byte {end} of {len(data)}: {len(contents)} triplets before it are '
                            f'recovered{_set_aside(path, data[end:])}')
            file.truncate(end)
        file.seek(end)
        return Found(path, file, header, contents, warnings)
    except OSError as error:
        file.close()
        raise ConfigError(f'memory file {path} cannot be used ({error.strerror or error}): free space or give another '
                          'memory_file') from None
    except BaseException:
        file.close()
        raise


def _set_aside(path: Path, rest: bytes) -> str:
    """Keep what cannot be read, but for the half of a record that a kill leaves."""
    if chunks.is_cut_short(rest):
        return ''
    aside = path.with_name(path.name + '.damaged')
    aside.write_bytes(rest)
    return f', the rest is kept in {aside}'


def _lock(path: Path, file: BinaryIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f'memory file {path} is in use by another process: give another memory_file') from None


def _append(file: BinaryIO, data: bytes) -> None:
    """All of it, on the disk, or nothing: OSError leaves the file as it was."""
    start = file.tell()
    try:
        view = memoryview(data)
        while view:
            view = view[file.write(view):]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(start)
        file.seek(start)
        raise


class Source(Protocol):
    """Gives a snapshot of the memory."""

    def __call__(self) -> Snapshot:
        """Copy everything, and take the records that wait."""


class Journal:
    """Writes records in a thread of its own. `put` never waits for the disk."""

    def __init__(self, found: Found, source: Source):
        self.path, self.problem, self.lost = found.path, '', 0
        self._file, self._header, self._source = found.file, found.header, source
        self._pending: deque[tuple] = deque()
        self._since = 0             # records written since the file was written anew
        # what is in memory but not in the file: all of it for a new file, much to go through again for an old one
        self._anew = found.contents is None or found.contents.beyond > GROWTH
        self._growth = GROWTH
        self._closing = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name='memory_file', daemon=True)
        self._thread.start()

    def put(self, record: tuple) -> None:
        """Have a record written soon. When too many wait it is left to the next time the file is written anew."""
        if len(self._pending) < PENDING:
            self._pending.append(record)
        else:
            self.lost += 1

    def take(self) -> list[tuple]:
        """The records that wait, which are the caller's from now on."""
        taken = [self._pending.popleft() for _ in range(len(self._pending))]
        return taken

    def close(self) -> None:
        """Write what is left, and close the file."""
        if self._closed:
            return
        self._closed = True
        self._closing.set()
        self._thread.join()
        self._file.close()

    def _run(self) -> None:
        pause_s = 0.0 if self._anew else FLUSH_S
        while not self._closing.wait(pause_s):
            pause_s = FLUSH_S if self._write() else RETRY_S
        self._write()

    def _write(self) -> bool:
        """Append what waits; write the file anew where that is due. False where the disk refuses."""
        taken: list[tuple] = []
        try:
            if self._anew or self.lost or self._since > self._growth:
                snapshot = self._source()
                taken, lost = snapshot.pending, self.lost
                self._append(taken)
                taken = []
                self._compact(snapshot)
                self._anew, self._growth, self.lost = False, snapshot.growth, self.lost - lost
            else:
                taken = self.take()
                self._append(taken)
        except OSError as error:
            self._pending.extendleft(reversed(taken))
            self.problem = (f'{self.path}: cannot be written ({error.strerror or error}): what it holds is kept, what '
                            'is new waits in memory; free space')
            return False
        self.problem = ''
        return True

    def _append(self, records: list[tuple]) -> None:
        if records:
            _append(self._file, chunks.packed(records, self._header.dim))
        self._since += len(records)

    def _compact(self, snapshot: Snapshot) -> None:
        """Write everything to a new file, which then takes the name of the old one."""
        partial = self.path.with_name(self.path.name + '.partial')
        new = partial.open('wb', buffering=0)
        try:
            fcntl.flock(new, fcntl.LOCK_EX)
            _append(new, self._header.packed() + chunks.packed_all(snapshot.contents, self._header.dim))
            partial.replace(self.path)
        except OSError:
            new.close()
            partial.unlink(missing_ok=True)
            raise
        self._file.close()
        self._file, self._since = new, 0
