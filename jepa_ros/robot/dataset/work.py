"""One worker's share of one bag: find the grid, then decode, hash and write the share's pictures, chunk by chunk.

What is done is on the disk before it is said to be: the small tensors of a bag in `grid.npz`, each chunk of pictures
in a line of the share's journal. A killed worker goes on after the last whole line.
"""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import json
from pathlib import Path

import numpy as np

from ...errors import DatasetError
from .. import bags as bag_files
from ..contract import RobotContract
from . import zarrs
from .digest import row_digests, Sums
from .layout import ALIGN, observations, Stream, streams
from .lazy import Converter
from .plan import BagPlan, Plan, Task
from .store import STAGING

READING = 0.2       # share of a task's progress bar for finding the grid


class Stopped(Exception):
    """The build is ending: the worker lays down its task."""


@dataclass(frozen=True)
class Chunk:
    """One chunk of pictures that is in the store: R rows hashed and summed up."""

    number: int             # among the chunks of the bag's rows
    digests: np.ndarray     # (R, 32) uint8
    sums: Sums

    def to_line(self) -> str:
        return json.dumps([self.number, self.digests.tobytes().hex(), self.sums.to_json()]) + '\n'

    @classmethod
    def from_line(cls, line: str) -> 'Chunk':
        number, digests, sums = json.loads(line)
        return cls(number, np.frombuffer(bytes.fromhex(digests), np.uint8).reshape(-1, 32), Sums.from_json(sums))


def bag_folder(store: Path, bag: int) -> Path:
    return store / STAGING / f'bag{bag}'


def read_journal(folder: Path, key: str, share: int) -> dict[int, Chunk]:
    """Chunks of one stream that a share has written; a torn last line is left out."""
    file = folder / f'{key}.{share}.journal'
    if not file.exists():
        return {}
    lines = file.read_text(encoding='ascii', errors='replace').splitlines(keepends=True)
    chunks = [Chunk.from_line(line) for line in lines if line.endswith('\n')]
    return {chunk.number: chunk for chunk in chunks}


def is_done(store: Path, task: Task) -> bool:
    """Whether a task was completed by an earlier run."""
    return (bag_folder(store, task.bag) / f'done.{task.share}').exists()


def run_task(store: Path, plan: Plan, task: Task, tell: Callable[[float], None]) -> None:
    """Do a task, or what is left of it. `tell` takes the share done and may raise `Stopped`.

    `BagError` for the bag, `DatasetError` for the disk, `Undecodable` when the bag has to be read with care.
    """
    contract, bag = RobotContract.parse(plan.contract), plan.bags[task.bag]
    large = {key: stream for key, stream in observations(contract).items() if stream.large}
    folder = bag_folder(store, task.bag)
    with disk_named(store):
        folder.mkdir(parents=True, exist_ok=True)
        with Converter(large, bag.careful, str(folder)) as converter:
            def reading(share: float) -> None:
                tell(READING * share)
            lines: list[str] = []
            episodes = list(bag_files.iter_episodes(bag.path, contract, reading, lines.append, converter))
            rows = sum(len(e) for e in episodes)
            if rows > bag.bound:
                raise DatasetError(f'{bag.path}: {rows} steps, but only {bag.bound} were expected: the bag was changed '
                                   'while the store was built; build again with --overwrite')
            if task.share == 0 and not (folder / 'grid.npz').exists():
                _write_grid(folder, contract, episodes, large, lines)
            kept = {key: [v for e in episodes for v in e.percepts[key]] for key in large}
            valid = {key: np.concatenate([e.valid[key] for e in episodes] or [np.zeros(0, bool)]) for key in large}
            for number, (key, stream) in enumerate(large.items()):
                def writing(share: float, number: int = number) -> None:
                    tell(READING + (1 - READING) * (number + share) / len(large))
                writer = _Writer(store, folder, bag, task, stream)
                writer.write(kept[key], valid[key], converter, writing)
        (folder / f'done.{task.share}').touch()
    tell(1.0)


class _Writer:
    """Writes a share's chunks of one large stream, and keeps the journal."""

    def __init__(self, store: Path, folder: Path, bag: BagPlan, task: Task, stream: Stream):
        self.stream, self.bag, self.task = stream, bag, task
        self.array = zarrs.open_array(store, stream.name, write=True)
        self.folder = folder

    def write(self, kept: list, valid: np.ndarray, converter: Converter, tell: Callable[[float], None]) -> None:
        """Write the rows of `kept` (R,) that belong to the share."""
        size, done = self.stream.chunk_rows, read_journal(self.folder, self.stream.key, self.task.share)
        first, last = share_of(len(kept), self.bag.shares, self.task.share)
        file = self.folder / f'{self.stream.key}.{self.task.share}.journal'
        with file.open('w', encoding='ascii') as journal:   # again, without a torn line
            journal.writelines(chunk.to_line() for chunk in done.values())
            journal.flush()
            for number in range(first // size, -(-last // size)):
                if number not in done:
                    part, sums = slice(number * size, min((number + 1) * size, last)), Sums()
                    rows = self._rows(kept[part], converter)
                    self.array[self.bag.base + part.start:self.bag.base + part.stop] = rows
                    sums.add(self.stream, rows, valid[part])
                    journal.write(Chunk(number, row_digests(rows), sums).to_line())
                    journal.flush()
                tell((number * size - first) / max(last - first, 1))

    def _rows(self, kept: list, converter: Converter) -> np.ndarray:
        """Tensors (n, …) of what was put off."""
        rows = np.empty((len(kept), *self.stream.shape), self.stream.dtype)
        for i, one in enumerate(kept):
            # A camera slower than the grid holds: the same picture again
            rows[i] = rows[i - 1] if i and one is kept[i - 1] else converter.tensor(one, self.stream)
        return rows


def share_of(rows: int, shares: int, share: int) -> tuple[int, int]:
    """Rows [first, last) of a bag that are a share's: about the same number each, bounded by whole chunks."""
    bounds = [-(-rows * i // shares) // ALIGN * ALIGN for i in range(shares)] + [rows]
    return bounds[share], bounds[share + 1]


def _write_grid(folder: Path, contract: RobotContract, episodes: list, large: dict[str, Stream],
                lines: list[str]) -> None:
    """All of a bag but its large streams, in one file that is there whole or not at all."""
    tables = {'ids': np.array([e.episode_id for e in episodes], np.str_),
              'lengths': np.array([len(e) for e in episodes], np.int64), 'notes': np.array(lines, np.str_)}
    for stream in streams(contract):
        if stream.name.rpartition('/')[0] != 'observations' or stream.key not in large:
            rows = [_rows_of(e, stream) for e in episodes]
            tables[stream.name] = np.concatenate(rows).astype(stream.dtype, copy=False)
    partial = folder / 'grid.tmp'
    with partial.open('wb') as file:
        np.savez(file, **tables)    # type: ignore[arg-type]
    partial.replace(folder / 'grid.npz')


def _rows_of(episode, stream: Stream) -> np.ndarray:
    part, _, key = stream.name.rpartition('/')
    return {'observations': episode.percepts, 'valid': episode.valid}[part][key] if part else getattr(episode, key)


@contextmanager
def disk_named(store: Path) -> Iterator[None]:
    """One line for what the disk refuses; what was written is kept."""
    try:
        yield
    except OSError as error:
        raise DatasetError(f'{error.filename or store}: cannot be written ({error.strerror or error}): free space or '
                           'give another -o; the same command goes on where it was') from error
