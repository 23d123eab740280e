"""What the recordings of ../shared/data become on the control grid: steps, minutes, valid beams, gaps, commands.

`python benchmark/real_bags.py [--data ../shared/data]` prints one row for each bag, read with the shipped contract of
its folder's name, and merges the numbers into benchmark/results/bags.json. Nothing is timed.
"""
import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rows import BAGS, merge, row

from jepa_ros.robot.bags import iter_episodes
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.survey import survey_bag

SCAN, COMMAND = 'sensor_msgs/msg/LaserScan', 'geometry_msgs/msg/Twist'


@dataclass(frozen=True)
class Numbers:
    """One bag, read with one contract."""

    robot: str
    bag: str
    episodes: int
    steps: int
    minutes: float                # on the grid
    recorded_minutes: float
    valid_beams_percent: float    # NaN without a scan
    gap_s: float                  # longest of the first observation
    commands: int
    silence_s: float              # longest between two commands

    @classmethod
    def of(cls, robot: str, bag: Path) -> 'Numbers':
        """Read a bag twice: its messages, and its episodes."""
        contract = RobotContract.load(robot)
        survey = survey_bag(bag)
        topics = {s.key: survey.topics[survey.find(s.topic)] for s in (*contract.observations, *contract.actions)}
        first, command = topics[contract.observations[0].key], topics[contract.actions[0].key]
        lengths = [len(e) for e in iter_episodes(bag, contract, report=lambda line: None)]
        seen = first.tallies['seen']
        return cls(robot, bag.name, len(lengths), sum(lengths), sum(lengths) * contract.control_period_s / 60,
                   survey.span_s / 60, 100 * first.tallies['valid'] / seen if seen else float('nan'), first.gap_s,
                   command.recorded, command.gap_s)

    def rows(self) -> list[dict]:
        """For the results file."""
        units = {'episodes': 'episodes', 'steps': 'control steps', 'minutes': 'min', 'recorded_minutes': 'min',
                 'valid_beams_percent': '%', 'gap_s': 's', 'commands': 'messages', 'silence_s': 's'}
        values = {name: getattr(self, name) for name in units}
        return [row(f'real_{self.robot}_{self.bag}_{name}', round(value, 3), units[name])
                for name, value in values.items() if not np.isnan(value)]


def main() -> None:
    """Print the table and merge the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, default=Path(__file__).resolve().parents[2] / 'shared' / 'data')
    parser.add_argument('--output', type=Path, default=BAGS)
    options = parser.parse_args()
    found = sorted(p.parent for p in options.data.glob('*/*/metadata.yaml'))
    if not found:
        parser.error(f'no recordings in {options.data}')
    numbers = [Numbers.of(bag.parent.name, bag) for bag in found]
    table = Table(title='recordings on the control grid')
    for name in ('robot', 'bag', 'episodes', 'steps', 'min of', 'min', 'valid beams %', 'longest gap s', 'commands',
                 'longest silence s'):
        table.add_column(name, justify='left' if name in ('robot', 'bag') else 'right', overflow='fold')
    for n in numbers:
        valid = '' if np.isnan(n.valid_beams_percent) else f'{n.valid_beams_percent:.1f}'
        table.add_row(n.robot, n.bag, str(n.episodes), str(n.steps), f'{n.minutes:.2f}', f'{n.recorded_minutes:.2f}',
                      valid, f'{n.gap_s:.2f}', str(n.commands), f'{n.silence_s:.2f}')
    Console(width=140).print(table)
    merge(options.output, [each for n in numbers for each in n.rows()])


if __name__ == '__main__':
    main()
