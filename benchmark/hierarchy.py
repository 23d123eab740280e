"""Does the hierarchy earn its place? Two levels against level 0 alone with as many samples, at several horizons.

    python benchmark/hierarchy.py [--episodes 40] [--workers 1] [--model two_rooms]

Mode-2 plans without Mode-1 and critic, which know the way farther than any horizon here, and would tell it to both.
Prints a table and writes results/hierarchy.json. "Samples" are candidates a tick over all levels and iterations;
"predictor steps" are how often a predictor is applied to find one plan (samples × horizon).
"""
from dataclasses import asdict
from pathlib import Path
import sys

from closed_loop import arguments, head, measure
from rich.console import Console
from rich.table import Table

from jepa_ros import checkpoint
from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.evaluation import closed_loop, report

HORIZONS = (8, 20, 40)
TASKS = Path(__file__).resolve().parent / 'tasks'
WORLDS = ('two_rooms', 'two_rooms_random_door')


def cases(own: list[PlannerConfig]) -> list[tuple[str, tuple[PlannerConfig, ...]]]:
    """(name, planner of each level), the checkpoint's own first."""
    flat = [(f'one level, horizon {h}', (closed_loop.flat_planner(own, h),)) for h in HORIZONS]
    return [(f'{len(own)} levels', tuple(own)), *flat]


def cost(planners: tuple[PlannerConfig, ...]) -> dict[str, int]:
    return {'samples': sum(p.samples * p.iterations for p in planners),
            'predictor_steps': sum(p.samples * p.iterations * p.horizon for p in planners)}


def main() -> None:
    options = arguments(__doc__, 40)
    own = checkpoint.read_card(checkpoint.find(options.model)).planner_settings()
    console, rows = Console(width=None if sys.stdout.isatty() else 140), []
    for world in WORLDS:
        for name, planners in cases(own):
            settings = closed_loop.Settings(options.model, world, 'planned', planners=planners, mode1=False,
                                            task='without_critic', tasks=str(TASKS))
            figures = measure(console, settings, options, f'{world}, {name}')
            rows.append({'world': world, 'case': name, **cost(planners), 'planners': [asdict(p) for p in planners],
                         **figures})
            report.write_json(options.output / 'hierarchy.json', {**head(options), 'rows': rows})
    table = Table('world', 'planning', 'samples', 'predictor steps', 'reached', 'time to goal, s', 'plan, ms')
    for row in rows:
        table.add_row(row['world'], row['case'], str(row['samples']), str(row['predictor_steps']),
                      f'{row["successes"]} of {row["episodes"]}', report.spread(row['time_to_goal_s']),
                      report.spread(row['plan_latency_ms']))
    console.print(table)


if __name__ == '__main__':
    main()
