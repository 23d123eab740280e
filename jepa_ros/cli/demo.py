"""`jepa-ros demo`: the whole loop at work, goal after goal, then a report and pictures."""
from pathlib import Path
import shutil
import signal

import typer

from jepa_ros.errors import ConfigError

EXIT_BELOW = 1
WANTED = 0.9            # share of the goals to be reached
MARKER = '.jepa_ros_demo'


def demo(
    episodes: int = typer.Option(10, min=1, max=10_000, help='Number of starts and goals, in opposite rooms.'),
    composition: str = typer.Option('true', help='true: the six organs in one process; false: in six.'),
    world: str = typer.Option('two_rooms', help='Name of a file in config/worlds, or the path of a YAML file.'),
    model: str = typer.Option('two_rooms', help='Checkpoint: the name of a shipped model, or the path of a folder.'),
    seed: int = typer.Option(0, min=0, max=2**31 - 1, help='Seed of starts, goals and doors.'),
    output: Path = typer.Option(Path('build/demo'), help='Folder for report, pictures, bag and logs.'),
    task: str = typer.Option('reach', help='Task of each goal: reach leaves to Mode-1 what it gets on with, '
                             'reach_planned thinks about every step, reach_reflex about none.'),
    real_time_factor: float = typer.Option(1.0, min=0.1, max=10.0, help='Simulated seconds per second.'),
    docs: Path = typer.Option(None, help='Also write demo.gif and energy.png into this folder.'),
) -> int:
    """Drive to goals in the other room, over real ROS 2 topics; exit code 1 when less than 90 % are reached.

    Example: jepa-ros demo episodes=3 composition=false output=build/demo_of_three
    """
    from jepa_ros import checkpoint
    from jepa_ros.configurator.pursuit import unknown_task
    from jepa_ros.configurator.tasks import load_tasks
    from jepa_ros.evaluation import live
    from jepa_ros.runtime.stack import Stack
    from jepa_ros.sim.episodes import start_goal_pairs
    from jepa_ros.sim.worlds import make_planar_world

    stack = Stack(model=model, world=world, composition=_flag('composition', composition), seed=seed,
                  real_time_factor=real_time_factor)
    if task not in load_tasks():
        raise ConfigError(unknown_task(task, load_tasks()))
    card = checkpoint.read_card(checkpoint.find(model))
    goals = start_goal_pairs(make_planar_world(world), episodes, seed)
    live.isolate()
    _prepare(output, docs)
    signal.signal(signal.SIGTERM, _interrupt)       # as Ctrl-C: everything started is ended
    pursuits, tape = _run(live.Live, stack, output, card.sha256, goals, task)
    return _conclude(tape, pursuits, stack, card, output, docs, task)


def _flag(name: str, value: str) -> bool:
    if value.lower() not in ('true', 'false'):
        raise ConfigError(f'{name} is {value!r}: give true or false')
    return value.lower() == 'true'


def _interrupt(*_args) -> None:
    raise KeyboardInterrupt


def _prepare(output: Path, docs: Path | None) -> None:
    """Make the folder; a recording of an earlier demo in it is replaced, one of anything else is not."""
    if docs is not None and not docs.is_dir():
        raise ConfigError(f'--docs {docs}: no such folder')
    bag = output / 'bag'
    if bag.exists() and not (output / MARKER).is_file():
        raise ConfigError(f'{bag} exists and is not of a demo: give another --output')
    try:
        shutil.rmtree(bag, ignore_errors=True)
        output.mkdir(parents=True, exist_ok=True)
        (output / MARKER).touch()
        for log in (output / 'logs').glob('*.log'):
            log.unlink()
    except OSError as error:
        raise ConfigError(f'--output {output}: {error.strerror}: give a folder that can be written') from None


def _run(live, stack, output: Path, model_sha256: str, goals, task: str):
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    columns = (TextColumn('[bold]{task.description}'), BarColumn(), MofNCompleteColumn(),
               TextColumn('{task.fields[line]}'))
    with Progress(*columns) as bar:
        shown = bar.add_task('starting', total=len(goals), line=', '.join(stack.processes))
        with live(stack, output, model_sha256, lambda line: bar.console.print(line, highlight=False)) as running:
            running.wait_ready()
            pursuits = []
            for index, goal in enumerate(goals):
                bar.update(shown, description=f'goal {index + 1}', line='')
                pursuit = running.pursue(index, goal, lambda m: bar.update(shown, line=f'{m:.2f} m to go'), task)
                pursuits.append(pursuit)
                bar.update(shown, advance=1)
                bar.console.print(f'goal {index + 1}: {pursuit.verdict}', highlight=False)
            bar.update(shown, description='done', line='')
        return pursuits, running.tape()


def _conclude(tape, pursuits, stack, card, output: Path, docs: Path | None, task: str) -> int:
    """Table, report and pictures; the exit code."""
    from jepa_ros.evaluation import report
    from jepa_ros.evaluation.tape import demo_report
    figures = demo_report(tape, pursuits, stack.composition, card.sha256, stack.seed, task)
    report.write_json(output / 'report.json', figures)
    how = 'one process' if stack.composition else 'six processes'
    report.print_table(f'{card.name} {card.sha256[:12]} in {stack.world}, {how}', report.demo_lines(figures))
    written = _draw(tape, pursuits, stack, card, output, docs)
    typer.echo(f'written: {", ".join(str(p) for p in (output / "report.json", *written, output / "bag"))}')
    if figures['success_rate'] < WANTED:
        typer.echo(f'jepa-ros: only {figures["successes"]} of {figures["episodes"]} goals were reached, '
                   f'{WANTED:.0%} are expected: see {output}/report.json and {output}/logs', err=True)
        return EXIT_BELOW
    return 0


def _draw(tape, pursuits, stack, card, output: Path, docs: Path | None) -> list[Path]:
    """Video and energy plot of one episode; returns the files."""
    from jepa_ros.evaluation import pictures, plots
    from jepa_ros.sim.worlds import make_planar_world
    names = [readout['name'] for readout in card.contract['readouts']]
    columns = [names.index('x_m'), names.index('y_m')] if {'x_m', 'y_m'} <= set(names) else None
    episode = pictures.choose(pursuits)
    film = list(pictures.film(tape, episode, make_planar_world(stack.world), card.name.replace('_', ' '), columns))
    video, plot = output / 'episode.mp4', output / 'energy.png'
    try:
        pictures.write_video(video, film)
        plots.plot_energy(plot, tape, episode, card.goal_tolerance)
        if docs is not None:
            pictures.write_gif(docs / 'demo.gif', film)
            shutil.copyfile(plot, docs / 'energy.png')
    except OSError as error:
        raise ConfigError(f'{error.filename or output}: picture cannot be written: {error.strerror or error}') from None
    return [video, plot, *([docs / 'demo.gif', docs / 'energy.png'] if docs is not None else [])]
