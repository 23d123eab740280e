"""What the repairs of .mcap and .db3 files have in common. Used by `bag_repair.py`."""
from dataclasses import dataclass, field
from pathlib import Path

from .bag_metadata import FileSpan, Topic


@dataclass(frozen=True)
class Contents:
    """What a storage file holds: its part of metadata.yaml."""

    span: FileSpan
    topics: list[Topic]
    custom: dict[str, str] = field(default_factory=dict)    # what the file says about its bag
    audits: list[dict] = field(default_factory=list)        # of episodes, as `audit.py` writes them
    cut_bytes: int = 0                                      # that were damaged, and are not in the file any more
    salvaged: int = 0                                       # messages found in those bytes, which are in the file
    doubtful: int = 0                                       # of these, that may hold wrong bytes
    lost: int = 0                                           # messages the old index knew that are in it no more
    kept: str = ''                                          # file beside it that holds the old bytes


def damaged_name(path: Path) -> Path:
    """A free name beside a file for its damaged bytes: those of an earlier repair stay too."""
    name, number = path.with_name(f'{path.name}.damaged'), 1
    while name.exists():
        number += 1
        name = path.with_name(f'{path.name}.damaged.{number}')
    return name
