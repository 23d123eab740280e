"""What a build has to do, decided once and kept in the store until it is complete: a killed build goes on by it."""
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
import json
from pathlib import Path

from ...errors import BagError, DatasetError, JepaRosError
from .. import bags as bag_files
from ..bag_open import check_contract, open_bag
from ..contract import RobotContract
from .layout import ALIGN, observations
from .store import STAGING

LEAST_SHARE = 512       # rows below which another worker would only read the bag once more


@dataclass(frozen=True)
class BagPlan:
    """One bag and the rows that are its own, whether it fills them or not."""

    name: str
    path: str
    sha256: str
    base: int = 0           # first row in the store
    bound: int = 0          # no more rows than this
    shares: int = 1         # workers that divide its pictures
    careful: bool = False   # decode pictures while the grid is found: one of them is damaged


@dataclass(frozen=True)
class Task:
    """One worker's share of one bag."""

    bag: int
    share: int


@dataclass(frozen=True)
class Plan:
    """All bags of a store in their order."""

    contract: str           # YAML
    bags: list[BagPlan]
    skipped: dict[str, str] = field(default_factory=dict)   # path -> why

    @property
    def rows(self) -> int:
        last = self.bags[-1]
        return last.base + last.bound

    def tasks(self) -> list[Task]:
        """Largest first, so that the workers end together."""
        order = sorted(range(len(self.bags)), key=lambda i: -self.bags[i].bound / self.bags[i].shares)
        return [Task(i, share) for i in order for share in range(self.bags[i].shares)]

    def save(self, store: Path) -> None:
        file = store / STAGING / 'plan.json'
        partial = file.with_suffix('.tmp')
        partial.write_text(json.dumps(asdict(self)), encoding='utf-8')
        partial.replace(file)

    @classmethod
    def load(cls, store: Path) -> 'Plan | None':
        """The plan of a half built store; None when it was killed before it had one."""
        try:
            values = json.loads((store / STAGING / 'plan.json').read_text(encoding='utf-8'))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DatasetError(f'{store / STAGING}/plan.json cannot be read ({error}); build again with --overwrite'
                               ) from None
        return cls(values['contract'], [BagPlan(**bag) for bag in values['bags']], values['skipped'])

    def careful(self, bag: int) -> 'Plan':
        """The same with one bag to be read with care."""
        bags = list(self.bags)
        bags[bag] = replace(bags[bag], careful=True)
        return replace(self, bags=bags)


def find_bags(paths: list[Path]) -> list[Path]:
    """Bags as given; a folder that is no bag but has bags in it stands for those, by name."""
    found: list[Path] = []
    for path in paths:
        inside = []
        if path.is_dir() and not (path / 'metadata.yaml').exists():
            inside = sorted(file.parent for file in path.glob('*/metadata.yaml'))
        found += inside or [path]
    twice = next((p for i, p in enumerate(found) if p.resolve() in {q.resolve() for q in found[:i]}), None)
    if twice is not None:
        raise BagError(f'{twice} is given twice: leave one out')
    return found


def make_plan(paths: list[Path], contract: RobotContract, workers: int, skip_bad: bool,
              progress: Callable[[int, int, str], None]) -> Plan:
    """Open and hash all bags, and divide them; the first bad one is refused, or skipped and listed."""
    names, bags, skipped = _names(paths), [], {}
    for number, path in enumerate(paths):
        progress(number, len(paths), names[path])
        try:
            with open_bag(path) as opened:
                bound = _most_rows(opened, check_contract(opened, contract))
            bags.append(BagPlan(names[path], str(path), bag_files.bag_sha256(path), bound=bound))
        except JepaRosError as error:
            if not skip_bad:
                raise _with_advice(error, len(paths)) from error
            skipped[str(path)] = str(error)
    same = next((b for i, b in enumerate(bags) if b.sha256 in {c.sha256 for c in bags[:i]}), None)
    if same is not None:
        first = next(b for b in bags if b.sha256 == same.sha256)
        raise BagError(f'{same.path}: the same recording as {first.path}: leave one out')
    if not bags:
        raise BagError(f'none of {len(paths)} bag(s) can be used: {next(iter(skipped.values()))}')
    pictures = any(stream.large for stream in observations(contract).values())
    return Plan(contract.to_yaml(), _divide(bags, workers if pictures else 1), skipped)


def _with_advice(error: JepaRosError, count: int) -> JepaRosError:
    return type(error)(f'{error}; --skip-bad leaves such bags out') if count > 1 else error


def _divide(bags: list[BagPlan], workers: int) -> list[BagPlan]:
    """Give each bag its rows and its number of workers: tasks of at most half of what one worker has to do."""
    most = max(LEAST_SHARE, -(-sum(b.bound for b in bags) // (2 * workers)))
    base, placed = 0, []
    for bag in bags:
        shares = 1 if workers == 1 else min(workers, -(-bag.bound // most))
        placed.append(replace(bag, base=base, shares=shares))
        base += -(-bag.bound // ALIGN) * ALIGN
    return placed


def _most_rows(opened, contract: RobotContract) -> int:
    """No grid has more rows than the stream that makes its ticks has messages."""
    pace = contract.pace or contract.observations[0].key
    if pace == 'clock':
        start, end = opened.log_span_ns
        return int((end - start) / (contract.control_period_s * 1e9)) + 2
    topic = next(o.topic for o in contract.observations if o.key == pace)
    return max(1, opened.count([opened.topic(topic)]))


def _names(paths: list[Path]) -> dict[Path, str]:
    """The shortest ends of the paths that tell them apart: training lists bags by name."""
    names = {path: path.name or str(path) for path in paths}
    for depth in range(2, 1 + max((len(p.resolve().parts) for p in paths), default=1)):
        double = [p for p in paths if list(names.values()).count(names[p]) > 1]
        for path in double:
            names[path] = '/'.join(path.resolve().parts[-depth:])
    return names
