"""Where training data comes from: bags, training stores here or behind a URL, and caches. All give parts in order."""
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from jepa_ros.errors import TrainingError
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.dataset.plan import find_bags
from jepa_ros.robot.dataset.remote import RemoteStore, url_of
from jepa_ros.robot.dataset.store import is_store, Store, StoredEpisode
from jepa_ros.training import data_cache
from jepa_ros.training.data_parts import check_fit, Part, part_of

Progress = Callable[[float], None]
Wanted = Callable[[int], bool]      # whether the n-th episode of a source is asked for


class Source(ABC):
    """Episodes of one robot; `hashes` are those of the bags they were recorded in."""

    name: str
    hashes: dict[str, str]
    bytes: int = 0          # of all tensors, where it is known before they are read
    episodes: int = 0       # once the parts are all taken

    @abstractmethod
    def parts(self, wanted: Wanted, progress: Progress) -> Iterator[Part | None]:
        """The wanted episodes in their order; None for one too short to learn from."""

    def close(self) -> None:  # noqa: B027 - most sources have nothing to clean up
        """The parts are all in the cache."""


class BagSource(Source):
    """A recording, read from the beginning whatever is wanted of it."""

    def __init__(self, bag: Path, contract: RobotContract):
        from jepa_ros.robot import bags  # a machine with a cache needs no bag reader
        self._bags, self._bag, self._contract = bags, bag, contract
        self.name, self.hashes = bag.name, {bag.name: bags.bag_sha256(bag)}

    def parts(self, wanted: Wanted, progress: Progress) -> Iterator[Part | None]:
        for number, episode in enumerate(self._bags.iter_episodes(self._bag, self._contract, progress)):
            self.episodes = number + 1
            if wanted(number):
                yield part_of(episode, self._contract, self.name)


class StoreSource(Source):
    """A training store; only what is wanted is read."""

    def __init__(self, store: Store, name: str, contract: RobotContract):
        self._store, self.name, self._contract = store, name, contract
        self.hashes, self.episodes = store.hashes, len(store.episodes)
        self.bytes = store.steps * sum(s.row_bytes for s in store.streams() if not s.name.startswith('stamps'))

    def parts(self, wanted: Wanted, progress: Progress) -> Iterator[Part | None]:
        for number, episode in enumerate(self._store.episodes):
            if not wanted(number):
                continue
            self._ready(episode, partial(self._tell, progress, number))
            yield part_of(self._store.read(episode), self._contract, episode.bag.name)
            progress((number + 1) / self.episodes)

    def _tell(self, progress: Progress, number: int, share: float) -> None:
        progress((number + share) / self.episodes)

    def _ready(self, episode: StoredEpisode, progress: Progress) -> None:
        pass


class RemoteSource(StoreSource):
    """A training store behind a URL. What was fetched stays until its episode was taken, or for the next try."""

    _store: RemoteStore

    def _ready(self, episode: StoredEpisode, progress: Progress) -> None:
        self._store.forget(episode.start)   # the episodes before are in the cache by now
        self._store.fetch(episode, progress)

    def close(self) -> None:
        self._store.close()


class CacheSource(Source):
    """Training data that was gathered before, on this machine or another."""

    def __init__(self, path: Path, contract: RobotContract):
        self.data, self.name = data_cache.load(path, contract), path.name
        check_fit(self.data, contract)
        self.hashes, self.episodes = self.data.bags, len(self.data.starts)

    def parts(self, wanted: Wanted, progress: Progress) -> Iterator[Part | None]:
        data = self.data
        for number, (start, length) in enumerate(zip(data.starts.tolist(), data.lengths.tolist())):
            if not wanted(number):
                continue
            rows = slice(start, start + length)
            streams = {'actions': data.actions[rows].numpy(), 'readouts': data.readouts[rows].numpy()}
            for key, percepts in data.percepts.items():
                valid = data.valid.get(key)
                mask = torch.ones(length, dtype=torch.bool) if valid is None else valid[rows]
                streams |= {f'percepts/{key}': percepts[rows].numpy(), f'valid/{key}': mask.numpy()}
            yield Part(data.names[number] if data.names else f'{self.name}: episode {number}', streams)
            progress((number + 1) / self.episodes)


def bags_below(source: Path | str) -> list[Path | str]:
    """The bags in a folder that has some and is nothing else; what else a source is stays as it is."""
    if url_of(source) is not None or data_cache.is_cache(Path(source)) or is_store(Path(source)):
        return [source]
    return [*find_bags([Path(source)])]


def open_source(source: Path | str, contract: RobotContract, mirrors: Path) -> Source:
    """What a path or URL is; `mirrors` is the folder for what is fetched.

    `TrainingError` for a store of another contract; else the error of what cannot be opened.
    """
    url = url_of(source)
    if url is not None:
        store = RemoteStore(url, mirrors)
        return RemoteSource(_of_robot(store, url, contract), url.rpartition('/')[2], contract)
    path = Path(source)
    if data_cache.is_cache(path):
        return CacheSource(path, contract)
    if is_store(path):
        return StoreSource(_of_robot(Store(path), str(path), contract), path.name, contract)
    return BagSource(path, contract)


def _of_robot(store: Store, where: str, contract: RobotContract) -> Store:
    """A store of the robot that is trained for; `TrainingError` when it is of another."""
    if store.contract.sha256() != contract.sha256():
        raise TrainingError(f'{where}: built for robot {store.contract.name} ({store.contract.sha256()[:12]}), '
                            f'training is for {contract.name} ({contract.sha256()[:12]}): give that --robot, or build '
                            'the store again from the bags')
    return store
