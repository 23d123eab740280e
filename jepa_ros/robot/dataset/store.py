"""Reading a training store; `layout.py` says what is in it, `build.py` makes it.

    STORE/observations/<key>  (N, …)   one array per observation; images uint8
    STORE/actions             (N, A)   float32, SI unless the contract says otherwise, applied over [t, t + 1)
    STORE/readouts            (N, R)   float32
    STORE/stamps_ns           (N,)     int64
    STORE/valid/<key>         (N,)     bool, False where an observation that is not required was missing
    STORE/digests/<key>       (N, 32)  sha256 of each row of a large stream
    STORE/episodes/…          (E,)     starts, lengths, ids, bags (index into the attribute `bags`), sha256 (E, 32)

Episode e is rows starts[e] … starts[e] + lengths[e] of every array. Each bag's rows begin at a multiple of 32, so there
are rows between bags that belong to no episode. The root's attributes hold the contract and its hash, the bags with
their hashes, statistics, and the version of the code.
"""
from collections.abc import Collection, Iterator
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DatasetError
from ..contract import RobotContract
from ..episode import Episode
from . import zarrs
from .layout import Stream, streams

FORMAT, VERSION = 'jepa_ros.dataset', 1
STAGING = '.build'          # what a build knows until it is complete
TABLES = ('starts', 'lengths', 'ids', 'bags', 'sha256')


@dataclass(frozen=True)
class StoredBag:
    """A bag as it was when the store was built."""

    name: str       # unique in the store
    path: str       # as it was given
    sha256: str
    rows: int
    episodes: int
    notes: tuple[str, ...] = ()     # what in it could not be used


@dataclass(frozen=True)
class StoredEpisode:
    """Where one episode is."""

    index: int
    episode_id: str
    bag: StoredBag
    start: int
    length: int
    sha256: str

    def __str__(self) -> str:
        return f'episode {self.episode_id} of {self.bag.name}'


def is_store(path: Path) -> bool:
    """Whether a folder is a training store, complete or not."""
    return (attributes(path) or {}).get('format') == FORMAT


def attributes(path: Path) -> dict | None:
    """Attributes of a zarr group, without zarr, or None where there is none."""
    try:
        return json.loads((path / '.zattrs').read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None


class Store:
    """An open training store. `DatasetError` in one line for what is not one, is half built, or lacks an array."""

    def __init__(self, path: Path | str):
        self.path = path = Path(path)
        found = attributes(path)
        if found is None or found.get('format') != FORMAT:
            raise DatasetError(f'{path}: {_not_a_store(path)}; jepa-ros dataset build makes one from bags')
        if found.get('version') != VERSION:
            raise DatasetError(f'{path}: store of version {found.get("version")}, this jepa_ros reads version '
                               f'{VERSION}: build it again from the bags')
        if not found.get('complete'):
            raise DatasetError(f'{path}: the store is half built; jepa-ros dataset build with the same bags and '
                               f'-o {path} goes on where it was')
        self.attributes = found
        self._arrays: dict[str, Any] = {}
        self._newest: dict[str, tuple[int, np.ndarray]] = {}    # array -> number and rows of the chunk read last
        self.contract = RobotContract.parse(found['contract'], f'{path}: the contract inside')
        self.bags = [StoredBag(**bag | {'notes': tuple(bag['notes'])}) for bag in found['bags']]
        self.episodes = self._episodes()

    @property
    def hashes(self) -> dict[str, str]:
        """Bag name -> sha256 of the bags whose episodes are here."""
        return {bag.name: bag.sha256 for bag in self.bags}

    @property
    def steps(self) -> int:
        return sum(e.length for e in self.episodes)

    def streams(self) -> list[Stream]:
        return streams(self.contract)

    def array(self, name: str):
        """zarr array of a stream's name."""
        if name not in self._arrays:
            self._at_hand(self.path / name / '.zarray')
            try:
                self._arrays[name] = zarrs.open_array(self.path, name)
            except Exception as error:      # KeyError, FileNotFoundError, ValueError: by version and by what is wrong
                raise DatasetError(f'{self.path}: array {name} is missing or damaged ({_first_line(error)}); build the '
                                   'store again from the bags') from error
        return self._arrays[name]

    def _at_hand(self, file: Path) -> Path:
        """A file of the store before it is read; `remote.py` fetches it."""
        return file

    def rows(self, name: str, episode: StoredEpisode) -> np.ndarray:
        """Rows (T, …) of one episode in one array; `DatasetError` names the array, the episode and the step."""
        array, first, last = self.array(name), episode.start, episode.start + episode.length
        if last > array.shape[0]:
            raise DatasetError(f'{self.path}: {name} has {array.shape[0]} rows, {episode} ends at row {last}; build '
                               'the store again from the bags')
        if 0 in array.shape[1:]:        # a robot without readouts has no files of them
            return np.zeros((episode.length, *array.shape[1:]), array.dtype)
        size = array.chunks[0]
        parts = []
        for number in range(first // size, -(-last // size)):
            start = number * size
            step = max(0, start - first)
            parts.append(self._chunk(name, number, f'{episode}, from step {step}')[max(first - start, 0):last - start])
        return np.concatenate(parts)

    def _chunk(self, name: str, number: int, where: str) -> np.ndarray:
        """Rows of one chunk. The newest of each array is kept: the next episode often begins in it."""
        if self._newest.get(name, (-1,))[0] != number:
            array, path = self.array(name), self.path / name
            file = self._at_hand(zarrs.chunk_file(path, array, number))
            if not file.exists():               # zarr would read it as zeros
                raise DatasetError(f'{file}: the chunk is missing ({where}); build the store again from the bags')
            try:
                if zarrs.is_cut(file):
                    raise ValueError('it was cut off')
                rows = array[number * array.chunks[0]:(number + 1) * array.chunks[0]]
            except Exception as error:          # RuntimeError, ValueError, OSError: by codec and by what is wrong
                raise DatasetError(f'{file}: the chunk is damaged ({_first_line(error)}; {where}); build the store '
                                   'again from the bags') from error
            self._newest[name] = number, rows
        return self._newest[name][1]

    def read(self, episode: StoredEpisode, keys: Collection[str] | None = None) -> Episode:
        """One episode, with all its observations or those of `keys`, bit for bit as from its bag."""
        keys = [o.key for o in self.contract.observations if keys is None or o.key in keys]
        return Episode(
            episode_id=episode.episode_id, source=episode.bag.path, stamps_ns=self.rows('stamps_ns', episode),
            percepts={key: self.rows(f'observations/{key}', episode) for key in keys},
            actions=self.rows('actions', episode), readouts=self.rows('readouts', episode),
            valid={key: self.rows(f'valid/{key}', episode) for key in keys})

    def read_all(self, keys: Collection[str] | None = None) -> Iterator[Episode]:
        """All episodes in the order of the bags as they were given."""
        return (self.read(episode, keys) for episode in self.episodes)

    def _episodes(self) -> list[StoredEpisode]:
        tables = {name: self.array(f'episodes/{name}') for name in TABLES}
        for name, table in tables.items():
            file = self._at_hand(zarrs.chunk_file(self.path / 'episodes' / name, table, 0))
            if not file.exists() or file.stat().st_size != table.nbytes:
                raise DatasetError(f'{file}: the chunk is missing or cut off; build the store again from the bags')
        starts, lengths, ids, bags, hashes = (table[:] for table in tables.values())
        sizes = {len(v) for v in (starts, lengths, ids, bags, hashes)}
        if len(sizes) != 1 or (len(bags) and bags.max() >= len(self.bags)):
            raise DatasetError(f'{self.path}: the tables in episodes/ disagree; build the store again from the bags')
        return [StoredEpisode(i, str(ids[i]), self.bags[bags[i]], int(starts[i]), int(lengths[i]),
                              hashes[i].tobytes().hex()) for i in range(len(starts))]


def _not_a_store(path: Path) -> str:
    if not path.exists():
        return 'there is no such store'
    if path.is_dir() and (path / 'metadata.yaml').exists():
        return 'a bag, not a training store'
    return 'not a training store'


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [''])[0][:160] or type(error).__name__
