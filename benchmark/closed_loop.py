"""Success, time, collisions and latency of the shipped model in each mode, in both worlds.

    python benchmark/closed_loop.py [--episodes 100] [--workers 1] [--model two_rooms]

Prints a table and writes results/closed_loop.json. What one row measures is `jepa-ros eval`.
"""
import argparse
from pathlib import Path
import sys

from rich.console import Console
from rich.table import Table

from jepa_ros import checkpoint
from jepa_ros.evaluation import closed_loop, report

RESULTS = Path(__file__).resolve().parent / 'results'
CASES = tuple((world, mode) for mode in ('planned', 'auto', 'reactive')
              for world in ('two_rooms', 'two_rooms_random_door'))


def arguments(description: str, episodes: int) -> argparse.Namespace:
    """Options common to the closed-loop benchmarks."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument('--model', default='two_rooms')
    parser.add_argument('--episodes', type=int, default=episodes)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=1, help='more are quicker, but plan latencies get worse')
    parser.add_argument('--output', type=Path, default=RESULTS)
    return parser.parse_args()


def measure(console: Console, settings: closed_loop.Settings, options: argparse.Namespace, name: str) -> dict:
    """Figures of one case."""
    with console.status(name) as status:
        done: list[closed_loop.EpisodeResult] = []

        def progress(result: closed_loop.EpisodeResult) -> None:
            done.append(result)
            status.update(f'{name}: {sum(r.success for r in done)} of {len(done)} reached')
        results = closed_loop.evaluate(settings, options.episodes, options.seed, options.workers, progress)
    figures = report.summary(results)
    console.print(f'{name}: {figures["successes"]} of {figures["episodes"]} reached, '
                  f'plan {report.spread(figures["plan_latency_ms"], unit="ms")}', highlight=False)
    return figures


def head(options: argparse.Namespace) -> dict:
    """What was measured, and where."""
    card = checkpoint.read_card(checkpoint.find(options.model))
    return {'model': card.name, 'model_sha256': card.sha256, 'seed': options.seed, 'workers': options.workers,
            'machine': report.machine()}


def main() -> None:
    options = arguments(__doc__, 100)
    console, rows = Console(width=None if sys.stdout.isatty() else 140), []
    for world, mode in CASES:
        settings = closed_loop.Settings(options.model, world, mode)
        rows.append({'world': world, 'mode': mode} | measure(console, settings, options, f'{world}, {mode}'))
        report.write_json(options.output / 'closed_loop.json', {**head(options), 'rows': rows})
    table = Table('world', 'mode', 'reached', 'time to goal, s', 'path / shortest', 'collisions', 'plan, ms')
    for row in rows:
        table.add_row(row['world'], row['mode'], f'{row["successes"]} of {row["episodes"]}',
                      report.spread(row['time_to_goal_s']), report.spread(row['path_over_shortest'], 2),
                      str(row['collisions']), report.spread(row['plan_latency_ms']))
    console.print(table)


if __name__ == '__main__':
    main()
