"""What the scripts of single organs have in common: their options, and what they print and write of their seeds."""
import argparse
from collections.abc import Sequence
import json
from pathlib import Path

import numpy as np

ASKED = ('seed', 'episodes')    # of what was measured, not its outcome


def parser(description: str, episodes: int) -> argparse.ArgumentParser:
    """Options that all of them take; `description` is the script's docstring."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument('--seeds', type=int, default=3)
    made.add_argument('--episodes', type=int, default=episodes, help='of each case')
    made.add_argument('--output', type=Path, default=None, help='JSON file with the figures of each seed')
    return made


def show(found: Sequence[dict[str, float]], output: Path | None) -> None:
    """Print mean and standard deviation of each figure over the seeds; write all of them to `output`, if any."""
    for name in found[0]:
        if name not in ASKED:
            values = [each[name] for each in found]
            print(f'{name:34} {np.mean(values):10.4g} ± {np.std(values):.2g}')
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(found, indent=1) + '\n')
