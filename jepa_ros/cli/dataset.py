"""`jepa-ros dataset`: training stores from bags. Needs no ROS."""
from contextlib import contextmanager
from pathlib import Path
import signal
import sys

import typer

dataset = typer.Typer(
    name='dataset', no_args_is_help=True,
    help='Training stores: build one from bags, check it, list it, export it.\n\n'
         'Example: jepa-ros dataset build bags/two_rooms_* -o stores/two_rooms')

EXIT_PROBLEMS = 1
MOST_LINES = 50         # of a check: a store that is damaged throughout need not fill the terminal


@dataset.command('build')
def build(
    bags: list[Path] = typer.Argument(..., help='Bags, or folders of bags.'),
    output: Path = typer.Option(..., '--output', '-o', help='Folder of the store; a half built one is '
                                'gone on with.'),
    robot: str = typer.Option('', help='Robot contract: a name in config/robots, or the path of a YAML file; empty: '
                              'the one inside the bags.'),
    workers: int = typer.Option(0, min=0, max=256, help='Processes; 0: one for each core.'),
    skip_bad: bool = typer.Option(False, '--skip-bad', help='Leave bags out that cannot be used, and list them.'),
    overwrite: bool = typer.Option(False, '--overwrite', help='Delete an older store at the output first.'),
) -> int:
    """Build a training store: episodes on the control grid, in chunked and compressed arrays.

    Example: jepa-ros dataset build bags/two_rooms_* -o stores/two_rooms
    """
    from jepa_ros.robot.dataset.build import build as build_store
    from jepa_ros.robot.sources import contract_of

    contract = contract_of(bags, robot)
    signal.signal(signal.SIGTERM, _interrupt)       # as Ctrl-C: the workers are ended, what is done is kept
    try:
        with _bar() as report:
            built = build_store(bags, output, contract, workers, skip_bad, overwrite, report)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f'the same command goes on where {output} is') from None
    for path, why in built.skipped.items():
        typer.echo(f'jepa-ros: left out: {why if path in why else f"{path}: {why}"}', err=True)
    store = built.store
    for line in (line for bag in store.bags for line in bag.notes):
        typer.echo(f'jepa-ros: {line}', err=True)
    how = 'complete already' if built.resumed and built.wall_s < 1 else f'built in {built.wall_s:.1f} s'
    typer.echo(f'{output}: {len(store.episodes)} episodes, {store.steps} steps from {len(store.bags)} bag(s), {how}')
    return 0


@dataset.command('check')
def check(
    store: Path = typer.Argument(..., help='Folder of the store.'),
    bags: list[Path] = typer.Argument(None, help='The bags it was built from, or folders of them; none: those '
                                      'that are still where they were.'),
    read_again: bool = typer.Option(False, '--read-again', help='Also read the bags again and compare every episode.'),
) -> int:
    """Verify a store against its hashes, and its bags against theirs; exit code 1 when something is wrong.

    Example: jepa-ros dataset check stores/two_rooms bags/two_rooms_*
    """
    from jepa_ros.robot.dataset import check as checking
    from jepa_ros.robot.dataset.store import Store

    opened = Store(store)
    with _bar() as report:
        found = checking.check(opened, bags or None, read_again, report)
    for line in found.problems[:MOST_LINES]:
        typer.echo(f'jepa-ros: {line}', err=True)
    if len(found.problems) > MOST_LINES:
        typer.echo(f'jepa-ros: … and {len(found.problems) - MOST_LINES} more', err=True)
    for line in found.notes:
        typer.echo(line)
    typer.echo(f'{store}: {found.episodes} of {len(opened.episodes)} episodes and {found.bags} of {len(opened.bags)} '
               f'bags checked, {len(found.problems)} problem(s)')
    return EXIT_PROBLEMS if found.problems else 0


@dataset.command('info')
def info(store: Path = typer.Argument(..., help='Folder of the store.')) -> int:
    """List what is in a store: episodes, streams, sizes, statistics, bags.

    Example: jepa-ros dataset info stores/two_rooms
    """
    from jepa_ros.robot.dataset.store import Store
    _print_info(Store(store))
    return 0


@dataset.command('export')
def export(
    store: Path = typer.Argument(..., help='Folder of the store.'),
    lerobot: Path = typer.Option(None, help='Write a LeRobot v3.0 dataset into this new folder.'),
    hdf5: Path = typer.Option(None, help='Write one HDF5 file, a group for each episode (as robomimic has it).'),
    task: str = typer.Option('', help="LeRobot's task, a sentence; empty: the description of the robot."),
) -> int:
    """Write a store in the format of another project. Needs: pip install 'jepa_ros[export]'.

    Example: jepa-ros dataset export stores/two_rooms --lerobot exports/two_rooms
    """
    from jepa_ros.errors import ConfigError
    from jepa_ros.robot.dataset.store import Store

    if (lerobot is None) == (hdf5 is None):
        raise ConfigError('give one of --lerobot FOLDER and --hdf5 FILE')
    opened = Store(store)
    with _bar() as report:
        if lerobot is not None:
            from jepa_ros.robot.dataset.export_lerobot import export as write_lerobot
            write_lerobot(opened, lerobot, task, report)
        else:
            from jepa_ros.robot.dataset.export_hdf5 import export as write_hdf5
            write_hdf5(opened, hdf5, report)
    typer.echo(f'{lerobot or hdf5}: {len(opened.episodes)} episodes, {opened.steps} steps')
    return 0


def _interrupt(*_args) -> None:
    raise KeyboardInterrupt


@contextmanager
def _bar():
    """A progress bar on stderr, one line for each stage."""
    from rich import progress
    from rich.console import Console
    columns = (progress.TextColumn('{task.description:<24}'), progress.BarColumn(), progress.TaskProgressColumn(),
               progress.TimeElapsedColumn(), progress.TimeRemainingColumn())
    with progress.Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        shown = bar.add_task('', total=1.0)

        def report(stage: str, share: float) -> None:
            bar.update(shown, description=stage, completed=share)
        yield report


def _print_info(store) -> None:
    from rich.console import Console
    from rich.table import Table

    from jepa_ros.robot.dataset import info as content
    console = Console()
    console.print(f'{store.path}: robot {store.contract.name} ({store.attributes["contract_sha256"][:12]}), '
                  f'{len(store.episodes)} episodes, {store.steps} steps, {content.hours(store):.2f} h at '
                  f'{1 / store.contract.control_period_s:.4g} Hz, built {store.attributes["built"]} by jepa_ros '
                  f'{store.attributes["jepa_ros_version"]}', highlight=False, soft_wrap=True)
    streams = Table('stream', 'shape', 'type', 'MB', 'compressed MB')
    for size in content.sizes(store):
        streams.add_row(size.stream.name, ' × '.join(map(str, size.stream.shape)) or '1', str(size.stream.dtype),
                        f'{size.raw_bytes / 1e6:.2f}', f'{size.bytes / 1e6:.2f}')
    statistics = Table('statistics', '', 'mean', 'std', 'min', 'max', 'valid')
    for row in content.statistics_rows(store):
        statistics.add_row(*row)
    bags = Table('bag', 'sha256', 'episodes', 'steps')
    for bag in store.bags:
        bags.add_row(bag.name, bag.sha256[:12], str(bag.episodes), str(bag.rows))
    for table in (streams, statistics, bags):
        console.print(table)
    for path in store.attributes['skipped']:
        console.print(f'left out: {path}', highlight=False, soft_wrap=True)
