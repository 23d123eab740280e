"""`jepa-ros eval`: success, time, collisions and latency over many episodes. Needs no ROS and no display.

Alone it drives a simulated robot; `open` (eval_open.py) judges predictions of recordings, `gym` (eval_gym.py) any
environment of Gymnasium.
"""
import dataclasses
from pathlib import Path

import typer

from jepa_ros.cli.eval_gym import eval_gym
from jepa_ros.cli.eval_open import eval_open

eval = typer.Typer(invoke_without_command=True)     # noqa: A001  the command's name
eval.command('open')(eval_open)
eval.command('gym')(eval_gym)


@eval.callback()
def eval_world(
    context: typer.Context,
    model: str = typer.Option('two_rooms', help='Checkpoint: the name of a shipped model, or the path of a folder.'),
    world: str = typer.Option('two_rooms', help='Name of a file in config/worlds, or the path of a YAML file.'),
    episodes: int = typer.Option(100, min=1, max=100_000, help='Number of starts and goals, in opposite rooms.'),
    seed: int = typer.Option(0, min=0, max=2**31 - 1, help='Seed of starts, goals and doors.'),
    levels: int = typer.Option(0, min=0, max=8, help='Levels that plan; 0: as many as the model has; 1: level 0 alone '
                               'with the samples of all.'),
    horizon: int = typer.Option(0, min=0, max=500, help='Steps that level 0 alone looks ahead (--levels 1); 0: 40.'),
    planners: str = typer.Option('', help='Planner settings: a name in config/planners, or a YAML file; empty: those '
                                          'of the model.'),
    task: str = typer.Option('reach', help='Name of a task that takes a goal: in config/tasks, or of your own.'),
    tasks: str = typer.Option('', help='Tasks of your own: a YAML file, or a folder of them; shipped ones stay known.'),
    mode: str = typer.Option('', help="'planned', 'reactive' or 'auto'; empty takes the task's."),
    budget_ms: float = typer.Option(0.0, min=0.0, help='Milliseconds a plan may take; 0: as long as it needs, so that '
                                    'a seed gives the same result on any machine.'),
    workers: int = typer.Option(1, min=1, max=64, help='Processes. Results are the same, latencies get worse.'),
    json: Path = typer.Option(None, help='Write figures and episodes to this file.'),
) -> int:
    """Drive many episodes in lockstep with a simulated robot and print the figures.

    Example: jepa-ros eval model=models/mine episodes=20 world=two_rooms_random_door

    On recordings: jepa-ros eval open models/mine data=bags/mine. In other worlds: jepa-ros eval gym PointMaze_UMaze-v3
    """
    if context.invoked_subcommand is not None:
        return 0
    from jepa_ros.evaluation import closed_loop, report

    report.check_writable(json)
    settings = closed_loop.Settings(
        model, world, mode or None, budget_ms or closed_loop.GENEROUS_BUDGET_MS,
        _planners(model, planners, levels, horizon), task, tasks=tasks)
    card = _card(model)
    results = _with_progress(closed_loop, settings, episodes, seed, workers)
    figures = report.summary(results)
    head = {'model': card.name, 'model_sha256': card.sha256, 'world': world, 'seed': seed, 'task': task,
            'mode': mode or 'task', 'budget_ms': settings.budget_ms, 'workers': workers,
            'planners': [dataclasses.asdict(p) for p in settings.planners or card.planner_settings()]}
    report.print_table(f'{card.name} {card.sha256[:12]} in {world}, seed {seed}',
                       [*_head_lines(head, card.metrics), *report.closed_loop_lines(figures)])
    if json is not None:
        report.write_json(json, {**head, **figures, 'open_loop': card.metrics, 'rows': report.rows(results)})
    return 0


def _card(model: str):
    from jepa_ros import checkpoint
    return checkpoint.read_card(checkpoint.find(model))


def _planners(model: str, planners: str, levels: int, horizon: int):
    """Planner settings that replace the checkpoint's; None keeps them."""
    from jepa_ros.actor.planner_file import load_planners
    from jepa_ros.errors import ConfigError
    from jepa_ros.evaluation.closed_loop import FLAT_HORIZON, flat_planner
    if horizon and levels != 1:
        raise ConfigError('--horizon goes with --levels 1: the horizons of several levels stand in model.yaml')
    card = _card(model)
    own = load_planners(planners, len(card.architecture['levels'])) if planners else card.planner_settings()
    if levels > len(own):
        whose = f'planners {planners}' if planners else f'model {model}'
        raise ConfigError(f'--levels {levels}: {whose} has {len(own)}')
    if levels == 1:
        return (flat_planner(own, horizon or FLAT_HORIZON),)
    return tuple(own[:levels]) if levels else tuple(own) if planners else None


def _with_progress(closed_loop, settings, episodes: int, seed: int, workers: int):
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    reached = 0
    columns = (TextColumn('episodes'), BarColumn(), MofNCompleteColumn(),
               TextColumn('{task.fields[reached]} reached'), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task('', total=episodes, reached=0)

        def show(result) -> None:
            nonlocal reached
            reached += result.success
            bar.update(task, advance=1, reached=reached)
        return closed_loop.evaluate(settings, episodes, seed, workers, show)


def _head_lines(head: dict, metrics: dict[str, float]) -> list[tuple[str, str]]:
    planners = '; '.join(f'level {i}: {p["method"]} {p["samples"]} × {p["iterations"]}, horizon {p["horizon"]}'
                         for i, p in enumerate(head['planners']))
    lines = [('planning', planners)]
    if metrics:
        lines.append(('open loop', ', '.join(f'{name} {value:.3g}' for name, value in metrics.items())))
    return lines
