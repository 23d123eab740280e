"""Can the shipped checkpoint be made again? Its figures beside those of a model made by the commands in its card.

    python benchmark/reproduction.py AGAIN [--episodes 100] [--workers 1] [--model two_rooms]

AGAIN is the folder of the second model: run the `commands` of models/two_rooms/model.yaml with another --output first
(about 55 minutes on two cores). Prints a table and writes results/reproduction.json.
"""
import argparse
from pathlib import Path
import sys

from closed_loop import measure, RESULTS
from rich.console import Console
from rich.table import Table

from jepa_ros import checkpoint
from jepa_ros.evaluation import closed_loop, report

WORLDS = ('two_rooms', 'two_rooms_random_door')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('again', help='folder of the model that was made again')
    parser.add_argument('--model', default='two_rooms')
    parser.add_argument('--episodes', type=int, default=100)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--output', type=Path, default=RESULTS)
    options = parser.parse_args()
    console, rows = Console(width=None if sys.stdout.isatty() else 140), []
    for which, model in (('shipped', options.model), ('made again', options.again)):
        card = checkpoint.read_card(checkpoint.find(model))
        row = {'which': which, 'model_sha256': card.sha256, 'bags': card.bags, 'metrics': card.metrics}
        for world in WORLDS:
            settings = closed_loop.Settings(model, world, 'planned')
            row[world] = measure(console, settings, options, f'{which}, {world}')
        rows.append(row)
    report.write_json(options.output / 'reproduction.json',
                      {'machine': report.machine(), 'seed': options.seed, 'rows': rows})
    table = Table('figure', *(row['which'] for row in rows))
    for world in WORLDS:
        table.add_row(f'{world}: reached (95 % interval)', *(
            '{} of {} ({:.0%} – {:.0%})'.format(row[world]['successes'], row[world]['episodes'],
                                                *row[world]['success_interval_95']) for row in rows))
    for name in rows[0]['metrics']:
        table.add_row(name.replace('_', ' '), *(f'{row["metrics"].get(name, float("nan")):.4g}' for row in rows))
    console.print(table)


if __name__ == '__main__':
    main()
