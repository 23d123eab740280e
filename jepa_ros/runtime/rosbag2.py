"""The command line with which rosbag2's own recorder makes a bag like ours. Used by `launch/record.launch.py`.

What rosbag2 cannot do is missing then: compressed images, episodes by hand, audits, log times that follow the robot's.
"""
import json
from pathlib import Path

import yaml

from ..cost.term_set import term_set_sha256
from ..robot.bag_metadata import PREFIX, Provenance
from ..robot.contract import RobotContract

RECORDER, ROSBAG2 = 'jepa_ros', 'rosbag2'
AGENT_TOPICS = ('action', 'episode', 'state', 'prediction', 'plan', 'energy', 'configuration', 'model_update',
                'sim/collisions')


def record_command(contract: RobotContract, output: Path | str, namespace: str = '', clock: str = 'system',
                   split_mb: int = 0, split_s: int = 0, parameters: dict | None = None) -> list[str]:
    """`ros2 bag record …` for the topics of a contract and of the agent; `namespace` is full, as /robot_1, or empty."""
    names = [*(o.topic for o in contract.observations), *(r.topic for r in contract.readouts),
             *(a.topic for a in contract.actions), *AGENT_TOPICS]
    topics = dict.fromkeys(name if name.startswith('/') else f'{namespace}/{name}' for name in names)
    splits = [*(['--max-bag-size', str(split_mb * 1_000_000)] if split_mb else []),
              *(['--max-bag-duration', str(split_s)] if split_s else [])]
    said = Provenance(contract, clock, parameters or {}, term_set_sha256=term_set_sha256()).custom_data()
    return ['ros2', 'bag', 'record', '--storage', 'mcap', '--storage-preset-profile', 'zstd_fast',
            '--output', str(output), *splits, *(['--use-sim-time'] if clock == 'sim' else []),
            '--custom-data', *(f'{key}={_plain(key, value)}' for key, value in said.items() if value),
            '--topics', *topics]


def _plain(key: str, value: str) -> str:
    """The same value without '=', at which ros2 bag cuts: JSON, which is YAML too, can spell it otherwise."""
    if '=' not in value:
        return value
    content = yaml.safe_load(value) if key == f'{PREFIX}contract' else json.loads(value)
    return json.dumps(content, ensure_ascii=False).replace('=', '\\u003d')
