"""What a bag holds, for `jepa-ros bag info`: topics, rates, span, and what it says about itself. Needs no ROS."""
from collections.abc import Iterator
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any

from mcap.reader import make_reader
from mcap.records import Metadata

from .bag_file import DESCRIPTION
from .bag_metadata import AUDIT, custom_data, PREFIX
from .bag_open import open_bag, OpenBag
from .contract import RobotContract

EVENTS = ('START', 'GOAL', 'SUCCESS', 'FAILURE', 'STOP')
EVENT_TYPE = 'jepa_ros/msg/EpisodeEvent'


@dataclass(frozen=True)
class TopicInfo:
    """One topic; `rate_hz` over the whole bag, 0 for less than two messages."""

    name: str
    type: str
    messages: int
    rate_hz: float


@dataclass(frozen=True)
class EpisodeInfo:
    """One episode by its events; `end` is empty where the recording was cut off. Seconds of log time."""

    name: str
    start_s: float
    duration_s: float | None
    end: str
    problems: tuple[str, ...] | None = None     # found by the audit; None where there was none


@dataclass(frozen=True)
class BagInfo:
    """All that is shown. `custom` is what the bag says about itself, keys without the prefix."""

    path: Path
    files: list[Path]
    start_ns: int
    duration_s: float
    messages: int
    topics: list[TopicInfo]
    episodes: list[EpisodeInfo]
    custom: dict[str, str] = field(default_factory=dict)
    contract: str = ''      # name and hash of the robot contract inside


def bag_info(bag: Path | str) -> BagInfo:
    """Look into a bag folder or a single .mcap or .db3 file. `BagError` in one line when it cannot be opened."""
    bag = Path(bag)
    with open_bag(bag) as opened:
        start, end = opened.log_span_ns
        counts = {(c.topic, c.msgtype): 0 for c in opened.connections}
        for connection in opened.connections:
            counts[connection.topic, connection.msgtype] += connection.msgcount
        total = sum(counts.values())
        duration_s = max(end - 1 - start, 0) * 1e-9 if total else 0.0
        topics = [TopicInfo(topic, kind, count, (count - 1) / duration_s if count > 1 and duration_s > 0 else 0.0)
                  for (topic, kind), count in sorted(counts.items())]
        notes = list(_notes(opened.files))
        audits = {note.metadata['episode']: tuple(json.loads(note.metadata['audit'])['problems'])
                  for note in notes if note.name == AUDIT}
        custom = custom_data(bag) or next((dict(note.metadata) for note in notes if note.name == DESCRIPTION), {})
        text = custom.get(f'{PREFIX}contract')
        contract = RobotContract.parse(text, f'{bag}: the contract inside') if text else None
        return BagInfo(bag, opened.files, start if total else 0, duration_s, total, topics,
                       list(_episodes(opened, start, audits)), _said(custom),
                       f'{contract.name} ({contract.sha256()[:12]})' if contract else '')


def _episodes(opened: OpenBag, start_ns: int, audits: dict[str, tuple[str, ...]]) -> Iterator[EpisodeInfo]:
    connections = [c for c in opened.connections if c.msgtype == EVENT_TYPE]
    if not connections:
        return
    running = None
    for _, log_ns, message in opened.messages({c.topic for c in connections}):
        event: Any = message
        ends = event.event >= EVENTS.index('SUCCESS')
        if running and (event.event == 0 or ends and event.episode_id == running[0]):
            name, began_ns = running
            yield EpisodeInfo(name, (began_ns - start_ns) * 1e-9, (log_ns - began_ns) * 1e-9 if ends else None,
                              EVENTS[event.event].lower() if ends else '', audits.get(name))
            running = None
        if event.event == 0:
            running = (event.episode_id, log_ns)
    if running:
        yield EpisodeInfo(running[0], (running[1] - start_ns) * 1e-9, None, '', audits.get(running[0]))


def _notes(files: list[Path]) -> Iterator[Metadata]:
    """The metadata records of all .mcap files."""
    for file in files:
        if file.suffix == '.mcap':
            with file.open('rb') as stream:
                yield from make_reader(stream).iter_metadata()


def _said(custom: dict[str, str]) -> dict[str, str]:
    """What the bag says about itself, without the long texts that have places of their own."""
    short = {key.removeprefix(PREFIX): value for key, value in custom.items() if key.startswith(PREFIX)}
    return {key: value for key, value in short.items() if value and key not in ('contract', 'contract_sha256', 'audit')}
