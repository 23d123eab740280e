"""Which learned weights a node uses, as its diagnostics say it: `learned`, as in 'critic 3, policy 1'. No ROS."""
from collections.abc import Mapping
import re

LEARNED = 'learned'     # figure in the heartbeats and diagnostics of an organ
ORGANS = ('policy', 'critic', 'world_model')    # organs that learn; Action and Plan have a field for each


def learned_text(versions: Mapping[str, int]) -> str:
    """Versions by organ in words; those of the checkpoint, 0, are left out."""
    return ', '.join(f'{organ} {version}' for organ, version in versions.items() if version)


def learned_versions(text: str) -> dict[str, int]:
    """The versions by organ that `learned_text` wrote; an organ that is not named has those of the checkpoint."""
    return {organ: int(version) for organ, version in re.findall(r'(\w+) (\d+)', text)}
