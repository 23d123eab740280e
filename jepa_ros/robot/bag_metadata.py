"""metadata.yaml of a rosbag2 folder, and what this project keeps in its `custom_data`."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
import json
from pathlib import Path
import subprocess

from rosbags.rosbag2.metadata import dump_qos_v9, parse_qos
import yaml

from .. import __version__
from .contract import RobotContract

PREFIX = 'jepa_ros.'
AUDIT = f'{PREFIX}audit'    # custom data and MCAP metadata records with the audits of episodes


@dataclass(frozen=True)
class Provenance:
    """What makes a bag self-describing (design §7)."""

    contract: RobotContract
    clock: str = 'system'          # system, sim, or lockstep: sim time that waits for one command per step
    parameters: dict = field(default_factory=dict)  # of the recording, JSON values
    model_sha256: str = ''         # of the checkpoint that drove, if one did
    term_set_sha256: str = ''      # of the intrinsic cost terms in force (cost/term_set.py)

    def custom_data(self) -> dict[str, str]:
        """Keys and values of metadata.yaml's `custom_data`."""
        data = {'contract': self.contract.to_yaml(), 'contract_sha256': self.contract.sha256(),
                'clock': self.clock, 'parameters': json.dumps(self.parameters, sort_keys=True),
                'model_sha256': self.model_sha256, 'term_set_sha256': self.term_set_sha256,
                'version': __version__, 'git_revision': git_revision()}
        return {PREFIX + key: value for key, value in data.items()}


@dataclass(frozen=True)
class Topic:
    """A topic as metadata.yaml describes it. `qos` is the YAML text that rosbag2 keeps with a channel."""

    name: str
    type: str
    qos: str = '[]'
    type_hash: str = ''


@dataclass(frozen=True)
class FileSpan:
    """One storage file: messages per topic, log times of the first and the last message (0 without any)."""

    name: str
    counts: dict[str, int]
    start_ns: int = 0
    end_ns: int = 0

    @property
    def messages(self) -> int:
        return sum(self.counts.values())


def git_revision() -> str:
    """Commit of the source checkout, with `-dirty` for uncommitted changes; empty where it is installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / '.git').exists():
        return ''
    try:
        done = subprocess.run(['git', '-C', str(root), 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*'],
                              capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return done.stdout.strip() if done.returncode == 0 else ''


def metadata(files: Sequence[FileSpan], topics: Iterable[Topic], custom: dict[str, str],
             storage: str = 'mcap') -> dict:
    """metadata.yaml (rosbag2 format 9) of a bag of these files."""
    counts: dict[str, int] = {}
    for file in files:
        for name, count in file.counts.items():
            counts[name] = counts.get(name, 0) + count
    filled = [file for file in files if file.messages]
    start = min((file.start_ns for file in filled), default=0)
    return {'rosbag2_bagfile_information': {
        'version': 9, 'storage_identifier': storage, 'relative_file_paths': [file.name for file in files],
        **_span(start, max((file.end_ns for file in filled), default=start), sum(counts.values())),
        'topics_with_message_count': [
            {'topic_metadata': {'name': t.name, 'type': t.type, 'serialization_format': 'cdr',
                                'offered_qos_profiles': dump_qos_v9(parse_qos(t.qos)),
                                'type_description_hash': t.type_hash}, 'message_count': counts.get(t.name, 0)}
            for t in topics],
        'compression_format': '', 'compression_mode': '',  # of rosbag2's own kind; MCAP's chunks are its own affair
        'files': [{'path': f.name, **_span(f.start_ns, f.end_ns, f.messages)} for f in files],
        'custom_data': custom, 'ros_distro': 'jazzy'}}


def _span(start_ns: int, end_ns: int, messages: int) -> dict:
    return {'duration': {'nanoseconds': end_ns - start_ns}, 'starting_time': {'nanoseconds_since_epoch': start_ns},
            'message_count': messages}


def write_metadata(folder: Path, content: dict) -> None:
    """Write metadata.yaml so that a reader sees the old or the new one, never half of it."""
    partial = folder / 'metadata.yaml.tmp'
    partial.write_text(as_yaml(content), encoding='utf-8')
    partial.replace(folder / 'metadata.yaml')


def as_yaml(content: dict) -> str:
    """Text of a metadata.yaml."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def custom_data(bag: Path) -> dict[str, str]:
    """`custom_data` of a bag folder; empty where there is none or metadata.yaml cannot be read."""
    try:
        text = (bag / 'metadata.yaml').read_text(encoding='utf-8')
        return yaml.safe_load(text)['rosbag2_bagfile_information'].get('custom_data') or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return {}
