"""From bags, training stores, URLs of such stores and caches to the data that training reads, through one cache."""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
import fcntl
import logging
import os
from pathlib import Path
import shutil
from typing import TYPE_CHECKING

from jepa_ros.errors import TrainingError
from jepa_ros.robot.contract import RobotContract
from jepa_ros.training import data_cache, data_notes
from jepa_ros.training.data_episodes import EpisodeSet
from jepa_ros.training.data_sources import bags_below, CacheSource, open_source, Source
from jepa_ros.training.data_writer import CacheWriter

if TYPE_CHECKING:       # the loop brings the networks with it, which gathering needs not
    from jepa_ros.training.optimise import Report

# One cache per contract: its limits scale the actions, its sensors shape the percepts.
CACHE = 'episodes-{}'


def gather(sources: Sequence[Path | str], contract: RobotContract, work_dir: Path, report: 'Report | None' = None,
           shard: tuple[int, int] = (0, 1)) -> EpisodeSet:
    """Episodes of all sources, from the cache in `work_dir` when it was made from the same bags.

    Percepts are maps of the cache's files: they are read as they are needed, and the processes of one machine share
    them. The one source may also be such a cache. `shard` (r, w) gathers only every w-th episode, from number r on, for
    one of w processes that keep only their own; one that keeps all can take an `EpisodeSet.shard`. What a killed run
    left is gone on with. `TrainingError` names file, episode, step and stream of what cannot be trained on.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(work_dir, report):
        opened = [open_source(path, contract, work_dir) for source in sources for path in bags_below(source)]
        if len(opened) == 1 and isinstance(opened[0], CacheSource) and shard == (0, 1):
            data = opened[0].data
        else:
            data = _through_cache(opened, contract, work_dir, report, shard)
    for note in data.notes:
        logging.getLogger(__name__).warning(note)
    data_notes.refuse_still(data, contract)
    return data


def _through_cache(sources: list[Source], contract: RobotContract, work_dir: Path, report: 'Report | None',
                   shard: tuple[int, int]) -> EpisodeSet:
    hashes = {name: sha256 for source in sources for name, sha256 in source.hashes.items()}
    names = [name for source in sources for name in source.hashes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TrainingError(f'two bags have the same name, {twice}: leave one out or rename it, the model card lists '
                            'them by name')
    rank, world = shard
    if not 0 <= rank < world:
        raise TrainingError(f'shard {rank} of {world}: must be one of 0 … {world - 1}')
    name = CACHE.format(contract.sha256()[:12]) + (f'-{rank}of{world}' if world > 1 else '')
    cache = work_dir / name
    if data_cache.cached_bags(cache) != hashes:
        _check_space(sources, cache, world)
        _fill(cache, sources, contract, hashes, report, shard)
    for source in sources:      # not after an error: the next try goes on with what was fetched
        source.close()
    return data_cache.load(cache, contract)


def _fill(cache: Path, sources: list[Source], contract: RobotContract, hashes: dict[str, str], report: 'Report | None',
          shard: tuple[int, int]) -> None:
    """Write the cache, from where a killed run left it."""
    rank, world = shard
    with CacheWriter(cache, contract, hashes) as writer:
        done, before = writer.done, 0       # episodes that are in the cache; episodes of the sources before
        for number, source in enumerate(sources):
            def progress(share: float, source: Source = source, number: int = number) -> None:
                if report:
                    report(f'reading {source.name}', int(1000 * (number + share)), 1000 * len(sources), {})

            def wanted(episode: int, before: int = before) -> bool:
                ordinal, owner = divmod(before + episode, world)
                return owner == rank and ordinal >= done

            if number == len(writer.sources):
                for part in source.parts(wanted, progress):
                    writer.add(part)
                writer.source_done(source.episodes)
            before += writer.sources[number]
        if world > 1 and before <= rank:
            raise TrainingError(f'{before} episode(s) cannot be shared by {world} processes: start fewer, leave '
                                '--sharded out, or record more episodes')
        writer.finish()


@contextmanager
def _one_at_a_time(work_dir: Path, report: 'Report | None') -> Iterator[None]:
    """Of several processes that train with one folder, the first fills the cache; the others find it full."""
    handle = os.open(work_dir, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if report:
                report('waiting for another process', 0, 1, {})
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _check_space(sources: list[Source], cache: Path, world: int) -> None:
    """`TrainingError` when the cache cannot fit the disk, before it is filled."""
    left = sum(file.stat().st_size for file in cache.with_name(cache.name + '.partial').glob('*'))
    needed, free = sum(source.bytes for source in sources) / world - left, shutil.disk_usage(cache.parent).free
    if needed > free:
        raise TrainingError(f'{cache}: the training cache needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are '
                            'free: free space or give another --work-dir')
