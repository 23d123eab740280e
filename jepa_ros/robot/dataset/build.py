"""Building a store from bags: plan, workers, and the parts that need all of it. Resumable, in parallel.

While it is built, `STORE/.build` has the plan, what the workers found, and a lock; it goes when the store is complete.
"""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import fcntl
import os
from pathlib import Path
import shutil
import time

from ... import __version__
from ...errors import BagError, DatasetError, JepaRosError
from ..bag_metadata import git_revision
from ..contract import RobotContract
from . import zarrs
from .finish import finish
from .layout import digests, streams
from .plan import BagPlan, find_bags, make_plan, Plan, Task
from .pool import Pool
from .store import attributes, FORMAT, is_store, STAGING, Store, VERSION
from .work import bag_folder, disk_named, is_done

Report = Callable[[str, float], None]       # stage, share done


@dataclass(frozen=True)
class Built:
    """What a build has made."""

    store: Store
    skipped: dict[str, str]     # path -> why
    wall_s: float
    resumed: bool


def build(bags: list[Path], output: Path, contract: RobotContract, workers: int = 0, skip_bad: bool = False,
          overwrite: bool = False, report: Report | None = None) -> Built:
    """Build a store; `workers` 0 means one for each core. A store that is complete already is left as it is.

    `JepaRosError` in one line for a bad bag, an output that holds something else, and a disk that refuses.
    """
    began_s, workers, report = time.monotonic(), workers or len(os.sched_getaffinity(0)), report or (lambda *_: None)
    paths = find_bags([Path(bag) for bag in bags])
    if not paths:
        raise BagError('no bags are given')
    _make_room(output)
    with disk_named(output), _alone(output):
        if overwrite:
            _clear(output)
        plan = make_plan(paths, contract, workers, skip_bad, lambda i, n, name: report(f'checking {name}', i / n))
        before = Store(output) if (attributes(output) or {}).get('complete') else None
        if before is not None:
            _check_same(output, plan, contract, before.hashes, before.contract)
            return Built(before, plan.skipped, time.monotonic() - began_s, True)
        plan, resumed = _begin(output, plan, contract)
        plan = _Build(output, plan, workers, skip_bad, report).run()
        report('finishing', 0.0)
        finish(output, plan, contract, lambda share: report('finishing', share))
    return Built(Store(output), plan.skipped, time.monotonic() - began_s, resumed)


def _make_room(output: Path) -> None:
    """Refuse an output that is something else than a store or the beginning of one."""
    if not output.exists() or output.is_dir() and not any(output.iterdir()):
        return
    if not is_store(output) and not (output / STAGING / 'lock').exists():
        what = 'holds something else' if output.is_dir() else 'is a file'
        raise DatasetError(f'{output} exists and {what}: give another -o')


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Hold the lock of a build, which ends with the process; leave no trace of a build that never had a plan."""
    staging, existed = output / STAGING, output.exists()
    staging.mkdir(parents=True, exist_ok=True)
    with (staging / 'lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(f'{output}: another build is at work in it: wait for it, or give another -o') from None
        try:
            yield
        finally:
            if not (staging / 'plan.json').exists() or (attributes(output) or {}).get('complete'):
                shutil.rmtree(staging)
                if not existed and not any(output.iterdir()):
                    output.rmdir()


def _clear(output: Path) -> None:
    """Delete a store but for the lock; `is_store` was asked before."""
    (output / '.zattrs').unlink(missing_ok=True)        # first: a kill in between leaves nothing that looks complete
    for path in [*output.iterdir(), *(output / STAGING).iterdir()]:
        if path.is_dir() and path.name != STAGING:
            shutil.rmtree(path)
        elif path.is_file() and path.name != 'lock':
            path.unlink()


def _begin(output: Path, plan: Plan, contract: RobotContract) -> tuple[Plan, bool]:
    """The plan to follow: that of the half built store, if it is of the same bags, else `plan` with its arrays."""
    old = Plan.load(output)
    if old is not None:
        _check_same(output, plan, contract, {b.name: b.sha256 for b in old.bags}, RobotContract.parse(old.contract))
        return Plan(old.contract, old.bags, plan.skipped), True
    group = zarrs.make_group(output)
    group.attrs.update({'format': FORMAT, 'version': VERSION, 'complete': False, 'contract': contract.to_yaml(),
                        'contract_sha256': contract.sha256(), 'robot': contract.name,
                        'jepa_ros_version': __version__, 'git_revision': git_revision()})
    for stream in streams(contract):
        zarrs.make_array(output, stream, plan.rows)
        if stream.large:
            zarrs.make_array(output, digests(stream), plan.rows)
    plan.save(output)
    return plan, False


def _check_same(output: Path, plan: Plan, contract: RobotContract, hashes: dict[str, str], old: RobotContract) -> None:
    if old != contract:
        same = 'changed since' if old.name == contract.name else f'of robot {contract.name}'
        raise DatasetError(f'{output} was built for robot {old.name}, the contract given is {same}: give another -o, '
                           'or --overwrite to build it again')
    given = {b.name: b.sha256 for b in plan.bags}
    if given == hashes:
        return
    for name in sorted({*given, *hashes}):
        if given.get(name) != hashes.get(name):
            what = 'is not among the bags given' if name not in given else \
                'is not in it yet' if name not in hashes else 'has changed since'
            raise DatasetError(f'{output} was built from other bags: {name} {what}; give another -o, or --overwrite to '
                               'build it again')


class _Build:
    """The work of one run, task by task."""

    def __init__(self, output: Path, plan: Plan, workers: int, skip_bad: bool, report: Report):
        self.output, self.plan, self.skip_bad, self.report = output, plan, skip_bad, report
        self.pool, self.bad = Pool(workers), dict[int, str]()
        self._weights = {task: plan.bags[task.bag].bound / plan.bags[task.bag].shares for task in plan.tasks()}

    def run(self) -> Plan:
        """Do what is left; returns the plan without the bags that turned out bad."""
        while True:
            tasks = [t for t in self.plan.tasks() if not is_done(self.output, t) and t.bag not in self.bad]
            if not tasks:
                break
            done = sum(w for t, w in self._weights.items() if t not in set(tasks))
            shares = [0.0] * len(tasks)

            def progress(number: int, share: float, tasks=tasks, shares=shares, done=done) -> None:
                shares[number] = share
                now = done + sum(self._weights[t] * s for t, s in zip(tasks, shares))
                self.report('building', now / sum(self._weights.values()))
            for bag in self.pool.run(self.output, self.plan, tasks, progress, self._ended):
                self._read_with_care(bag)
        bags = list(self.plan.bags)
        if len(self.bad) == len(bags):
            raise BagError(f'none of {len(bags)} bag(s) can be used: {next(iter(self.bad.values()))}')
        skipped = self.plan.skipped | {bags[i].path: why for i, why in self.bad.items()}
        return Plan(self.plan.contract, bags, skipped)

    def _ended(self, task: Task, error: Exception | None) -> None:
        if error is None:
            return
        bag: BagPlan = self.plan.bags[task.bag]
        if isinstance(error, DatasetError) or not isinstance(error, JepaRosError):
            raise error
        if not self.skip_bad:
            advice = '; --skip-bad leaves such bags out' if len(self.plan.bags) > 1 else ''
            line = str(error) if bag.path in str(error) else f'{bag.path}: {error}'
            raise type(error)(line + advice) from error
        self.bad[task.bag] = str(error)

    def _read_with_care(self, bag: int) -> None:
        """A picture of this bag cannot be decoded, which changes its grid: begin it again."""
        shutil.rmtree(bag_folder(self.output, bag))
        self.plan = self.plan.careful(bag)
        self.plan.save(self.output)
