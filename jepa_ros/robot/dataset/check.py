"""Verifying a store: its arrays against its hashes, and the bags it was made from against theirs."""
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import DatasetError, JepaRosError
from .. import bags as bag_files
from .digest import episode_sha256, row_digests, tensors_of
from .layout import digests, Stream
from .plan import find_bags
from .store import Store, StoredEpisode

MOST_PROBLEMS = 100     # of one stream: a store that is damaged throughout need not be listed throughout


@dataclass
class Findings:
    """What a check found. Each problem is one line that names file, episode and step."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    episodes: int = 0
    bags: int = 0


def check(store: Store, bags: list[Path] | None = None, again: bool = False,
          tell: Callable[[str, float], None] = lambda *_: None) -> Findings:
    """Verify all of a store.

    `bags`: the bags it was made from, wherever they are now; None looks where they were. `again` also reads them and
    compares every episode. Raises `DatasetError` only for what is no store.
    """
    found = Findings()
    if _shapes(store, found):
        for episode in store.episodes:
            tell('checking episodes', episode.index / len(store.episodes))
            found.problems += _episode(store, episode)
            found.episodes += 1
    _bags(store, bags, again, found, tell)
    return found


def _shapes(store: Store, found: Findings) -> bool:
    """Shapes and types of all arrays; whether their rows can be looked at."""
    lines = []
    rows = store.array('stamps_ns').shape[0]
    for stream in store.streams():
        for one in (stream, digests(stream)) if stream.large else (stream,):
            try:
                array = store.array(one.name)
            except DatasetError as error:
                lines.append(str(error))
                continue
            if array.shape != (rows, *one.shape) or array.dtype != one.dtype:
                lines.append(f'{store.path / one.name}: is {array.shape} {array.dtype}, robot {store.contract.name} '
                             f'has {(rows, *one.shape)} {one.dtype}')
    lines += _tables(store, rows)
    found.problems += lines
    return not lines


def _tables(store: Store, rows: int) -> Iterator[str]:
    """Episodes must have steps, lie inside the arrays, and not overlap."""
    end = 0
    for episode in sorted(store.episodes, key=lambda e: e.start):
        if episode.length < 1 or episode.start < end or episode.start + episode.length > rows:
            last = episode.start + episode.length - 1
            yield (f'{store.path}/episodes: {episode} has rows {episode.start} to {last}, expected at least one row '
                   f'from {end} to {rows - 1}')
        end = max(end, episode.start + episode.length)
    for bag in store.bags:
        steps = sum(e.length for e in store.episodes if e.bag == bag)
        if steps != bag.rows:
            yield f'{store.path}/episodes: the episodes of {bag.name} have {steps} steps, the store says {bag.rows}'


def _episode(store: Store, episode: StoredEpisode) -> Iterator[str]:
    """Problems of one episode: damaged chunks, rows that changed, numbers that are not finite."""
    tensors: dict[str, np.ndarray] = {}
    named = False
    for stream in store.streams():
        try:
            rows = store.rows(stream.name, episode)
            problems = list(_values(store, stream, episode, rows))
            if stream.large:
                kept, now = store.rows(digests(stream).name, episode), row_digests(rows)
                wrong = np.flatnonzero((kept != now).any(axis=1))
                problems += [f'{store.path / stream.name}: {episode}, step {step}: the tensor differs from its hash'
                             for step in wrong[:MOST_PROBLEMS]]
                rows = now
            tensors[stream.name] = rows
        except DatasetError as error:
            problems = [str(error)]
        named = named or bool(problems)
        yield from problems
    if not named and episode_sha256(store.contract, tensors) != episode.sha256:
        yield f'{store.path}: {episode}: its actions, readouts, stamps or small observations differ from its hash'


def _values(store: Store, stream: Stream, episode: StoredEpisode, rows: np.ndarray) -> Iterator[str]:
    if rows.dtype.kind == 'f' and not np.isfinite(rows).all():
        step = int(np.argwhere(~np.isfinite(rows))[0][0])
        yield f'{store.path / stream.name}: {episode}, step {step}: not a finite number'
    if stream.name == 'stamps_ns' and (np.diff(rows) <= 0).any():
        step = int(np.flatnonzero(np.diff(rows) <= 0)[0]) + 1
        yield f'{store.path / stream.name}: {episode}, step {step}: the stamp is not later than the one before'


def _bags(store: Store, given: list[Path] | None, again: bool, found: Findings,
          tell: Callable[[str, float], None]) -> None:
    """Whether the bags are as they were, and with `again` still give the same episodes."""
    places = _places(store, given, found)
    for number, (bag, path) in enumerate(places):
        tell('checking bags', number / len(places))
        try:
            sha256 = bag_files.bag_sha256(path)
            if sha256 != bag.sha256:
                found.problems.append(f'{path}: the bag has changed since the store was built (sha256 {sha256[:12]}…, '
                                      f'was {bag.sha256[:12]}…); build the store again')
            elif again:
                found.problems += _same_episodes(store, bag, path)
            found.bags += 1
        except JepaRosError as error:
            found.problems.append(str(error))


def _places(store: Store, given: list[Path] | None, found: Findings) -> list[tuple]:
    """(bag of the store, path to look at)."""
    if given is None:
        gone = [bag for bag in store.bags if not Path(bag.path).exists()]
        if gone:
            found.notes.append(f'{len(gone)} of {len(store.bags)} bags are not where they were ({gone[0].path}): name '
                               'them to have them checked')
        return [(bag, Path(bag.path)) for bag in store.bags if bag not in gone]
    places = []
    for path in find_bags(given):
        named = [bag for bag in store.bags if path.resolve().as_posix().endswith(f'/{bag.name}')]
        if named:
            places.append((named[0], path))
        else:
            names = ', '.join(bag.name for bag in store.bags)
            found.problems.append(f'{path}: no bag of this name is in the store ({names})')
    return places


def _same_episodes(store: Store, bag, path: Path) -> Iterator[str]:
    kept = {e.episode_id: e.sha256 for e in store.episodes if e.bag == bag}
    read = {e.episode_id: episode_sha256(store.contract, tensors_of(e, store.contract))
            for e in bag_files.iter_episodes(path, store.contract, report=lambda line: None)}
    for name in sorted({*kept, *read}):
        if kept.get(name) != read.get(name):
            what = 'is not in the bag' if name not in read else 'is not in the store' if name not in kept else \
                'is read from the bag otherwise than it is stored'
            yield f'{store.path}: episode {name} of {bag.name} {what}; build the store again'
