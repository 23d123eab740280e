"""metadata.yaml of a rosbag2 folder, and what this project keeps in its `custom_data`."""
from dataclasses import dataclass, field
import json
from pathlib import Path
import subprocess

import yaml

from .. import __version__
from .contract import RobotContract

PREFIX = 'jepa_ros.'


@dataclass(frozen=True)
class Provenance:
    """What makes a bag self-describing (design §7)."""

    contract: RobotContract
    clock: str = 'system'          # system, sim, or lockstep: sim time that waits for one command per step
    parameters: dict = field(default_factory=dict)  # of the recording, JSON values
    model_sha256: str = ''         # of the checkpoint that drove, if one did

    def custom_data(self) -> dict[str, str]:
        """Keys and values of metadata.yaml's `custom_data`."""
        data = {'contract': self.contract.to_yaml(), 'contract_sha256': self.contract.sha256(),
                'clock': self.clock, 'parameters': json.dumps(self.parameters, sort_keys=True),
                'model_sha256': self.model_sha256, 'version': __version__, 'git_revision': git_revision()}
        return {PREFIX + key: value for key, value in data.items()}


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


def early_metadata(mcap_name: str, custom: dict[str, str]) -> dict:
    """metadata.yaml of a bag that is being written: whole in form, with nothing counted yet."""
    span = {'duration': {'nanoseconds': 0}, 'starting_time': {'nanoseconds_since_epoch': 0}, 'message_count': 0}
    return {'rosbag2_bagfile_information': {
        'version': 9, 'storage_identifier': 'mcap', 'relative_file_paths': [mcap_name], **span,
        'topics_with_message_count': [], 'compression_format': '', 'compression_mode': '',
        'files': [{'path': mcap_name, **span}], 'custom_data': custom, 'ros_distro': 'rosbags'}}


def write_metadata(folder: Path, metadata: dict) -> None:
    """Write metadata.yaml so that a reader sees the old or the new one, never half of it."""
    partial = folder / 'metadata.yaml.tmp'
    partial.write_text(yaml.safe_dump(metadata, sort_keys=False), encoding='utf-8')
    partial.replace(folder / 'metadata.yaml')
