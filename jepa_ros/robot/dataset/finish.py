"""The last step of a build: what needs all bags at once. Small arrays, episode table, hashes, statistics."""
from collections.abc import Callable
from pathlib import Path
import time

import numpy as np

from ...errors import BagError, DatasetError
from ..contract import RobotContract
from . import zarrs
from .digest import episode_sha256, Sums
from .layout import digests, observations, Stream, streams
from .plan import BagPlan, Plan
from .store import VERSION
from .work import bag_folder, read_journal

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
HISTOGRAM_BINS = 50


def finish(store: Path, plan: Plan, contract: RobotContract, tell: Callable[[float], None]) -> None:
    """Write what is missing and say that the store is complete. May be done again after a kill."""
    finishing = _Finishing(store, plan, contract)
    for number, bag in enumerate(plan.bags):
        tell(number / len(plan.bags))
        if bag.path not in plan.skipped:
            finishing.add(number, bag)
    finishing.close()


class _Finishing:
    """Goes through the bags in their order."""

    def __init__(self, store: Path, plan: Plan, contract: RobotContract):
        self.store, self.plan, self.contract = store, plan, contract
        self.large = {key: stream for key, stream in observations(contract).items() if stream.large}
        self.small = [s for s in streams(contract) if not s.large]
        self.arrays = {s.name: zarrs.open_array(store, s.name, write=True)
                       for s in (*self.small, *map(digests, self.large.values()))}
        self.sums = {s.name: Sums() for s in streams(contract) if not s.name.startswith(('valid/', 'stamps_ns'))}
        self.actions: list[np.ndarray] = []
        self.bags: list[dict] = []
        self.rows: list[tuple[int, int, str, int, str]] = []    # start, length, id, bag, sha256
        self.end = 0

    def add(self, number: int, bag: BagPlan) -> None:
        """Take one bag in."""
        folder = bag_folder(self.store, number)
        with np.load(folder / 'grid.npz', allow_pickle=False) as file:
            tables = {name: file[name] for name in file.files}
        rows = int(tables['lengths'].sum())
        for stream in self.large.values():
            tables[stream.name] = self._journal(folder, bag, stream, rows)
        if not rows:
            raise BagError(f'{bag.path}: no episodes in it')
        self._small(bag, tables, rows)
        start = 0
        for name, length in zip(tables['ids'], tables['lengths'].tolist()):
            part = slice(start, start + length)
            sha256 = episode_sha256(self.contract, {s.name: tables[s.name][part] for s in streams(self.contract)})
            self.rows.append((bag.base + start, length, str(name), len(self.bags), sha256))
            start += length
        self.bags.append({'name': bag.name, 'path': bag.path, 'sha256': bag.sha256, 'rows': rows,
                          'episodes': len(tables['lengths']), 'notes': tables['notes'].tolist()})
        self.end = bag.base + rows

    def _journal(self, folder: Path, bag: BagPlan, stream: Stream, rows: int) -> np.ndarray:
        """Digests (rows, 32) of a large stream; its sums are added in the order of the rows."""
        chunks = {n: c for share in range(bag.shares) for n, c in read_journal(folder, stream.key, share).items()}
        found = [chunks[number] for number in sorted(chunks)]
        joined = np.concatenate([c.digests for c in found] or [np.zeros((0, 32), np.uint8)])
        if len(joined) != rows:
            raise DatasetError(f'{self.store}: {stream.name} of {bag.name} has {len(joined)} of {rows} rows; build '
                               'again with --overwrite')
        for chunk in found:
            self.sums[stream.name].merge(chunk.sums)
        return joined

    def _small(self, bag: BagPlan, tables: dict[str, np.ndarray], rows: int) -> None:
        """Write the arrays that one process writes, and sum them up."""
        where = slice(bag.base, bag.base + rows)
        everywhere = np.ones(rows, bool)
        for stream in self.small:
            self.arrays[stream.name][where] = tables[stream.name]
            if stream.name in self.sums:
                valid = tables.get(f'valid/{stream.key}', everywhere)
                if stream.name == 'readouts':
                    self._readouts(stream, tables[stream.name])
                else:
                    self.sums[stream.name].add(stream, tables[stream.name], valid)
        for stream in self.large.values():
            self.arrays[digests(stream).name][where] = tables[stream.name]
        self.actions.append(tables['actions'])

    def _readouts(self, stream: Stream, rows: np.ndarray) -> None:
        self.sums['readouts'].add(stream, rows, np.isfinite(rows).all(axis=1))

    def close(self) -> None:
        """Shrink to what is used, write the table and the attributes."""
        if not self.rows:
            raise BagError(f'{self.store}: no episode in any of the bags')
        for stream in streams(self.contract):
            for one in (stream, digests(stream)) if stream.large else (stream,):
                zarrs.open_array(self.store, one.name, write=True).resize((self.end, *one.shape))
        starts, lengths, ids, bags, hashes = zip(*self.rows)
        table = {'starts': np.array(starts, np.int64), 'lengths': np.array(lengths, np.int64),
                 'ids': np.array(ids, np.str_), 'bags': np.array(bags, np.int64),
                 'sha256': np.array([list(bytes.fromhex(h)) for h in hashes], np.uint8)}
        for name, values in table.items():
            zarrs.make_table(self.store, f'episodes/{name}', values)
        statistics = {name: sums.statistics() for name, sums in self.sums.items()}
        statistics['actions'] |= self._distribution()
        zarrs.make_group(self.store).attrs.update({
            'complete': True, 'version': VERSION, 'built': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()),
            'bags': self.bags, 'skipped': self.plan.skipped, 'statistics': statistics})

    def _distribution(self) -> dict:
        """Quantiles and histogram of each action between the contract's limits."""
        actions = np.concatenate(self.actions)
        bounds = zip(self.contract.action_low, self.contract.action_high)
        counts = [np.histogram(np.clip(actions[:, i], low, high), HISTOGRAM_BINS, (low, high))[0].tolist()
                  for i, (low, high) in enumerate(bounds)]
        return {'quantiles': {f'{q:g}': np.quantile(actions, q, axis=0).tolist() for q in QUANTILES},
                'histogram': counts, 'histogram_low': self.contract.action_low.tolist(),
                'histogram_high': self.contract.action_high.tolist()}
