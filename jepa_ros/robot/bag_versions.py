"""Which learned weights acted when, for `jepa-ros bag versions`: updates, who took them, what was in force. No ROS."""
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BagError
from .bag_open import open_bag
from .learned import LEARNED, learned_versions, ORGANS

UPDATE, ACTION, PLAN = 'jepa_ros/msg/ModelUpdate', 'jepa_ros/msg/Action', 'jepa_ros/msg/Plan'
DIAGNOSTICS = 'diagnostic_msgs/msg/DiagnosticArray'
_REFUSED = 'dropped model_update: '     # of a node's figures, see `ManagedNode.drop`


@dataclass(frozen=True)
class Update:
    """A version of an organ's weights that was published. Seconds of log time since the bag's begin."""

    time_s: float
    organ: str
    version: int
    sha256: str
    note: str
    taken: dict[str, float] = field(default_factory=dict)   # node -> when its diagnostics first named the version
    acted_s: float | None = None        # first action made with it; None: none was


@dataclass(frozen=True)
class Span:
    """A stretch of time in which actions and plans were made with the same versions."""

    begin_s: float
    end_s: float
    versions: dict[str, int]
    actions: int
    plans: int


@dataclass(frozen=True)
class Versions:
    """All that a bag tells of them. `refused`: (time, node, its line)."""

    start_ns: int       # log time of the bag's begin
    updates: list[Update]
    spans: list[Span]
    refused: list[tuple[float, str, str]]
    heard: bool         # whether diagnostics were recorded: without, who took an update is not known


def bag_versions(bag: Path | str) -> Versions:
    """Read them out of a bag. BagError when it cannot be opened, or holds nothing that the agent said."""
    bag = Path(bag)
    with open_bag(bag) as opened:
        kinds = {c.topic: c.msgtype for c in opened.connections
                 if c.msgtype in (UPDATE, ACTION, PLAN, DIAGNOSTICS)}
        if not {UPDATE, ACTION, PLAN} & set(kinds.values()):
            raise BagError(f'{bag}: holds neither actions, plans nor model updates: record the topics action, plan, '
                           'model_update, and /diagnostics to see who took an update')
        start_ns, _ = opened.log_span_ns
        acted: list[tuple[float, str, dict[str, int]]] = []     # what each Action and Plan was made with
        told: list[tuple[float, str, dict[str, str]]] = []      # what each node says
        came: list[tuple[float, Any]] = []
        for topic, log_ns, message in opened.messages(kinds):
            s, kind = (log_ns - start_ns) * 1e-9, kinds[topic]
            if kind == UPDATE:
                came.append((s, message))
            elif kind == DIAGNOSTICS:
                told += [(s, *each) for each in _figures(message)]
            else:
                acted.append((s, kind, _of(message)))
    updates = [_update(s, message, acted, told) for s, message in came]
    return Versions(start_ns, updates, list(_spans(acted)), list(_refusals(told)), bool(told))


def _of(message: Any) -> dict[str, int]:
    """Versions that an Action or Plan names; those of bags older than versions have none."""
    return {organ: int(getattr(message, f'{organ}_version', 0)) for organ in ORGANS}


def _figures(message: Any) -> Iterator[tuple[str, dict[str, str]]]:
    for status in message.status:
        values = {pair.key: pair.value for pair in status.values}
        if LEARNED in values or any(key.startswith(_REFUSED) for key in values):
            yield status.name, values


def _update(time_s: float, message: Any, acted: Sequence[tuple[float, str, dict[str, int]]],
            told: Iterable[tuple[float, str, dict[str, str]]]) -> Update:
    organ, version = message.organ, int(message.version)
    taken: dict[str, float] = {}
    for s, node, values in told:
        if learned_versions(values.get(LEARNED, '')).get(organ) == version:
            taken.setdefault(node, s)
    first = next((s for s, kind, versions in acted if kind == ACTION and versions.get(organ) == version), None)
    return Update(time_s, organ, version, message.sha256, message.note, taken, first)


def _spans(acted: Iterable[tuple[float, str, dict[str, int]]]) -> Iterator[Span]:
    """Runs of the same versions. A plan follows its action: one that comes late belongs to the run before."""
    begin_s = end_s = 0.0
    versions: dict[str, int] | None = None
    counts = {ACTION: 0, PLAN: 0}
    for s, kind, found in acted:
        if found != versions:
            if versions is not None:
                yield Span(begin_s, end_s, versions, counts[ACTION], counts[PLAN])
            begin_s, versions, counts = s, found, {ACTION: 0, PLAN: 0}
        end_s = s
        counts[kind] += 1
    if versions is not None:
        yield Span(begin_s, end_s, versions, counts[ACTION], counts[PLAN])


def _refusals(told: Iterable[tuple[float, str, dict[str, str]]]) -> Iterator[tuple[float, str, str]]:
    known: set[tuple[str, str, str]] = set()
    for s, node, values in told:
        for key, count in values.items():
            if key.startswith(_REFUSED) and (node, key, count) not in known:
                known.add((node, key, count))
                yield s, node, key.removeprefix(_REFUSED)
