"""Two rooms behind a wall whose door is drawn per episode, images only: success of models that differ by their seed.

    python benchmark/two_rooms.py two_rooms models/again models/seed_1 [--episodes 100] [--train-minutes 45]

Each model drives the same starts and goals with two levels and with level 0 alone at equal samples (horizon 40). The
commands that make a model again stand in its card; another seed is `jepa-ros train … --seed N`. Success is to be within
0.15 m of the goal within 60 s. Writes the rows of task `two_rooms_random_wall` into results/world_model.json.
"""
import argparse
from pathlib import Path
import statistics

import rows

from jepa_ros import checkpoint
from jepa_ros.errors import JepaRosError
from jepa_ros.evaluation import closed_loop, report

TASK, WORLD = 'two_rooms_random_wall', 'two_rooms_random_door'


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('models', nargs='+', help='shipped names or folders, one for each seed')
    parser.add_argument('--episodes', type=int, default=100, help='of each model')
    parser.add_argument('--seed', type=int, default=0, help='of starts, goals and doors')
    parser.add_argument('--methods', nargs='*', default=['hjepa', 'flat'], choices=('hjepa', 'flat'))
    parser.add_argument('--train-minutes', type=float, help='what training one model took')
    parser.add_argument('--json', type=Path, default=rows.WORLD_MODEL)
    return parser.parse_args()


def settings(model: str, method: str) -> closed_loop.Settings:
    if method == 'hjepa':
        return closed_loop.Settings(model, WORLD)
    planners = checkpoint.read_card(checkpoint.find(model)).planner_settings()
    return closed_loop.Settings(model, WORLD, planners=(closed_loop.flat_planner(planners, closed_loop.FLAT_HORIZON),))


def measure(args: argparse.Namespace, method: str) -> dict:
    rates, latencies = [], []
    for model in args.models:
        results = closed_loop.evaluate(settings(model, method), args.episodes, args.seed)
        figures = report.summary(results)
        rates.append(figures['success_rate'])
        latencies.append(figures['plan_latency_ms']['p50'])
        print(f'{method} {model}: {rates[-1]:.0%}, {latencies[-1]:.1f} ms a plan', flush=True)
    return {'task': TASK, 'method': method, 'success_mean': statistics.mean(rates),
            'success_std': statistics.pstdev(rates), 'seeds': len(rates), 'episodes': args.episodes * len(rates),
            'plan_ms_p50': round(statistics.median(latencies), 2), 'train_minutes': args.train_minutes,
            'success': rates, 'models': [checkpoint.read_card(checkpoint.find(m)).sha256[:12] for m in args.models]}


def main() -> None:
    args = arguments()
    try:
        rows.update_rows(args.json, [measure(args, method) for method in args.methods])
    except JepaRosError as error:
        raise SystemExit(f'two_rooms.py: {error}') from None


if __name__ == '__main__':
    main()
