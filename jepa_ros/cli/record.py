"""`jepa-ros record`: episodes of a simulated robot that explores, or the topics of a live one, into an MCAP bag."""
from pathlib import Path
import shutil
import signal
import sys
import time

import typer

BAG_FILES = ('metadata.yaml', '.reserve')


def record(
    world: str = typer.Option('', help='Simulated world to explore: a name in config/worlds; empty: a live robot.'),
    robot: str = typer.Option('two_rooms', help='Robot contract: a name in config/robots, or the path of a YAML file.'),
    output: str = typer.Option('', '--output', '-o', help='Folder of the bag; empty: bags/<robot>_<date and time>.'),
    episodes: int = typer.Option(10, min=1, max=10_000_000, help='Episodes to drive (with a world).'),
    steps: int = typer.Option(100, min=1, max=1_000_000, help='Actions per episode (with a world).'),
    seed: int = typer.Option(0, min=0, max=2**31 - 1, help='Seed of actions and worlds.'),
    first_episode: int = typer.Option(0, min=0, max=10_000_000, help='Number of the first episode: goes on where '
                                      'an earlier recording with the same seed ended.'),
    duration: float = typer.Option(0.0, min=0.0, help='Seconds to record (live robot); 0: until Ctrl-C.'),
    topics: str = typer.Option('', help='Topics beyond the contract, separated by commas; name:package/msg/Type for '
                               'types the agent does not know.'),
    use_sim_time: bool = typer.Option(False, help='Live robot: take times from its stamps (a running simulator).'),
    namespace: str = typer.Option('', help='ROS namespace of the robot.'),
    overwrite: bool = typer.Option(False, help='Delete an older bag at the output first.'),
    repair: str = typer.Option('', help='Make this bag readable, whose recording was cut off; records nothing.'),
) -> int:
    """Record a bag, or repair one. Ctrl-C ends early and keeps what is recorded.

    Example: jepa-ros record world=two_rooms episodes=100, or of a live robot: jepa-ros record robot=mine.yaml
    """
    if repair:
        from jepa_ros.robot.bag_repair import repair as repair_bag
        print(f'{repair}: readable, {repair_bag(repair)} messages')
        return 0
    interrupted: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):  # before ROS is loaded, which takes a second
        signal.signal(number, lambda number, _frame: interrupted.append(number))
    from jepa_ros.cli.record_session import Plan
    from jepa_ros.robot.contract import RobotContract
    from jepa_ros.runtime.names import full_namespace
    from jepa_ros.runtime.ros import domain_id

    contract, namespace = RobotContract.load(robot), full_namespace(namespace)
    domain_id()
    if world:
        from jepa_ros.sim.worlds import load_config
        load_config(world)
    folder = Path(output or f'bags/{contract.name}_{time.strftime("%Y-%m-%d_%H-%M-%S")}')
    _make_room(folder, overwrite)
    plan = Plan(robot, folder.absolute(), world, episodes, steps, seed, first_episode, namespace, topics, use_sim_time)
    return _run(plan, folder, duration, interrupted)


def _make_room(folder: Path, overwrite: bool) -> None:
    """Refuse an output that holds something; `--overwrite` deletes a bag, and nothing but a bag."""
    from jepa_ros.errors import BagError
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    if not folder.exists():
        return
    if not overwrite:
        raise BagError(f'{folder} exists already: give another --output, or --overwrite to delete it')
    if not folder.is_dir():
        raise BagError(f'{folder} is a file, not a bag: it is not overwritten')
    foreign = [p.name for p in folder.iterdir() if p.suffix not in ('.mcap', '.tmp') and p.name not in BAG_FILES]
    if foreign:
        raise BagError(f'{folder} is not a bag (it holds {foreign[0]}): it is not overwritten')
    shutil.rmtree(folder)


def _run(plan, folder: Path, duration_s: float, interrupted: list[int]) -> int:
    from jepa_ros.cli.record_session import Session
    session, began_s = Session(plan), time.monotonic()

    with _bar(plan) as (bar, task):
        def tell(progress) -> None:
            since_s = progress.recording_since_s
            if interrupted or duration_s and since_s and time.monotonic() - since_s > duration_s:
                session.stop()
            bar.update(task, completed=progress.episodes if plan.world else progress.messages,
                       figures=_figures(plan, progress))
        session.run(tell)
    from jepa_ros.errors import BagError
    if not folder.exists():
        raise BagError(f'{folder}: ended before the recording had begun')
    messages = _print_summary(folder, session.progress, time.monotonic() - began_s)
    if not messages:
        reason = session.progress.waiting or 'nothing was published'
        raise BagError(f'{folder} is empty ({reason}): is the robot on, and are ROS_DOMAIN_ID and --namespace its own?')
    return 130 if interrupted and plan.world else 0


def _figures(plan, progress) -> str:
    if progress.waiting:
        return progress.waiting
    steps = f'{progress.steps} steps  ' if plan.world else ''
    return f'{steps}{progress.megabytes:.0f} MB  {progress.lost} lost'


class _bar:
    """Progress bar on stderr, so that the summary on stdout can be piped."""

    def __init__(self, plan):
        from rich import progress
        from rich.console import Console
        columns = [progress.TextColumn('recording'), progress.TextColumn('{task.completed} messages')]
        if plan.world:
            columns[1:] = [progress.BarColumn(), progress.MofNCompleteColumn(), progress.TextColumn('episodes')]
        columns += [progress.TextColumn('{task.fields[figures]}'), progress.TimeElapsedColumn()]
        if plan.world:
            columns += [progress.TimeRemainingColumn()]
        self._bar = progress.Progress(*columns, console=Console(file=sys.stderr))
        self._total = plan.episodes if plan.world else None

    def __enter__(self):
        self._bar.start()
        return self._bar, self._bar.add_task('', total=self._total, figures='starting')

    def __exit__(self, *_error) -> None:
        self._bar.stop()


def _print_summary(folder: Path, progress, wall_s: float) -> int:
    """Messages per topic, lost ones, duration and size of the finished bag; returns the number of messages."""
    from rich.console import Console
    from rich.table import Table
    from rosbags.rosbag2 import Reader
    table = Table('topic', 'type', 'messages')
    with Reader(folder) as reader:
        for connection in reader.connections:
            if connection.msgcount:
                table.add_row(connection.topic, connection.msgtype, str(connection.msgcount))
        recorded_s, messages = reader.duration * 1e-9 if reader.message_count else 0.0, reader.message_count
    size = sum(file.stat().st_size for file in folder.iterdir())
    console = Console()
    console.print(table)
    rate = f', {progress.steps / wall_s:.0f} steps/s' if progress.steps else ''
    console.print(f'{folder}: {messages} messages, {progress.lost} lost, {recorded_s:.1f} s of robot time in '
                  f'{wall_s:.1f} s{rate}, {size / 1e6:.1f} MB', soft_wrap=True, highlight=False)
    return messages


if __name__ == '__main__':
    from jepa_ros.cli.main import main
    sys.exit(main(['record', *sys.argv[1:]]))
