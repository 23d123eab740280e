"""`jepa-ros eval gym`: a model in closed loop in any environment of Gymnasium. Needs no ROS and no display."""
from pathlib import Path

import typer
import yaml


def eval_gym(
    env_id: str = typer.Argument(..., help='Id of an environment, CartPole-v1 or package:Env-v0.'),
    model: str = typer.Option(..., help='Checkpoint that was trained on this world: a name or the path of a folder.'),
    episodes: int = typer.Option(50, min=1, max=100_000, help='Number of episodes.'),
    seed: int = typer.Option(0, min=0, max=2**31 - 1, help='Seed of starts and goals.'),
    goal: str = typer.Option('', help='env: its desired_goal; ahead: what random actions lead to; store: recorded; '
                             'none; empty: env where there is one, else ahead.'),
    goal_from: list[Path] = typer.Option([], help='Stores or bags whose later percepts are the goals.'),
    start_option: str = typer.Option('', help='state=KEY: begin where the recording did, by the option `state` of '
                                     'reset with the recorded observation KEY.'),
    ahead: int = typer.Option(25, min=1, max=100_000, help='Control steps from start to goal, for ahead and store.'),
    success: str = typer.Option('', help='env: what its info says; energy: goal energy below the tolerance; empty: env '
                                'for its own goals, else energy.'),
    mode: str = typer.Option('', help="planned, auto, reactive, or random to compare with; empty takes the task's."),
    budget_ms: float = typer.Option(0.0, min=0.0, help='Milliseconds a plan may take; 0: as long as it needs.'),
    most_steps: int = typer.Option(0, min=0, max=10_000_000, help='Control steps of an episode; 0: the limit of the '
                                   'environment, else 300.'),
    argument: list[str] = typer.Option([], help='name=value, an argument of the environment. May be repeated.'),
    json: Path = typer.Option(None, help='Write figures and episodes to this file.'),
) -> int:
    """Success, return, steps and planning time, the model seeing what `jepa-ros sim gym:<id>` shows.

    Examples: jepa-ros eval gym gymnasium_robotics:PointMaze_UMaze-v3 model=models/maze episodes=50

    jepa-ros eval gym CartPole-v1 model=models/cart goal_from=stores/cart ahead=20 json=cart.json
    """
    from jepa_ros.evaluation import gym_report, report
    from jepa_ros.evaluation.gym_loop import evaluate, GENEROUS_BUDGET_MS, GymRunner, GymSettings

    report.check_writable(json)
    settings = GymSettings(model, env_id, goal, tuple(goal_from), _start_option(start_option), ahead, success,
                           mode=mode, budget_ms=budget_ms or GENEROUS_BUDGET_MS, most_steps=most_steps,
                           arguments=_arguments(argument))
    runner = GymRunner(settings, episodes, seed)
    results = _with_progress(evaluate, runner)
    figures = gym_report.summary(results)
    card = runner.agent.card
    report.print_table(f'{card.name} {card.sha256[:12]} in {runner.robot.world.name}, seed {seed}',
                       gym_report.lines(runner, figures))
    if json is not None:
        report.write_json(json, {
            'model': card.name, 'model_sha256': card.sha256, 'env': env_id, 'seed': seed, 'goal': runner.goal,
            'success': runner.success, 'mode': mode or 'task', 'budget_ms': settings.budget_ms, 'notes': runner.notes,
            **figures, 'rows': gym_report.rows(results)})
    return 0


def _start_option(text: str) -> tuple[str, str] | None:
    from jepa_ros.errors import ConfigError
    if not text:
        return None
    name, equals, key = text.partition('=')
    if not (name and equals and key):
        raise ConfigError(f'--start-option {text}: must be NAME=KEY, an option of reset and a recorded observation')
    return name, key


def _arguments(texts: list[str]) -> dict:
    """name=value pairs, values read as YAML: numbers, true, [1, 2]."""
    from jepa_ros.errors import ConfigError
    found = {}
    for text in texts:
        name, equals, value = text.partition('=')
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ''
        if not (name.isidentifier() and equals):
            raise ConfigError(f'--argument {text}: must be NAME=VALUE, as continuing_task=false')
    return found


def _with_progress(evaluate, runner):
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    done = 0
    columns = (TextColumn('episodes'), BarColumn(), MofNCompleteColumn(),
               TextColumn('{task.fields[done]} succeeded'), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task('', total=len(runner.seeds), done=0)

        def show(episode) -> None:
            nonlocal done
            done += bool(episode.success)
            bar.update(task, advance=1, done=done)
        return evaluate(runner, show)
