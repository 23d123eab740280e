"""`jepa-ros record`: episodes of a robot, simulated or real, into a bag; driven by chance, a person or a model."""
from contextlib import ExitStack
import json
from pathlib import Path
import shutil
import signal
import sys
import time

import typer

BAG_FILES = ('metadata.yaml', '.reserve')
EXIT_AUDIT = 1      # the bag is there, but an episode in it failed its audit
KEYS_HELP = 'keys: s start an episode, e end it (success), f end it (failure), q quit'


def record(
    world: str = typer.Option('', help='Simulated world to drive in: a name in config/worlds; empty: a live robot.'),
    robot: str = typer.Option('two_rooms', help='Robot contract: a name in config/robots, or the path of a YAML file.'),
    driver: str = typer.Option('', help='none, random, teleop, policy or curiosity; empty: random in a world, none on '
                               'a live robot.'),
    model: str = typer.Option('', help='Checkpoint for policy and curiosity: a shipped name or the path of a folder; '
                              'empty: the one named as the robot.'),
    output: str = typer.Option('', '--output', '-o', help='Folder of the bag; empty: bags/<robot>_<date and time>.'),
    episodes: int = typer.Option(10, min=1, max=10_000_000, help='Episodes to drive (random, policy, curiosity).'),
    steps: int = typer.Option(100, min=1, max=1_000_000, help='Actions per episode (random, curiosity).'),
    seed: int = typer.Option(0, min=0, max=2**31 - 1, help='Seed of actions, goals and worlds.'),
    first_episode: int = typer.Option(0, min=0, max=10_000_000, help='Number of the first episode: goes on where '
                                      'an earlier recording with the same seed ended.'),
    duration: float = typer.Option(0.0, min=0.0, help='Seconds to record at most; 0: until all is done or Ctrl-C.'),
    topics: str = typer.Option('', help='Topics beyond the contract, separated by commas; name:package/msg/Type for '
                               'types the agent does not know.'),
    split_mb: int = typer.Option(0, min=0, max=1_000_000, help='Begin a new file of the bag after this many MB.'),
    split_s: float = typer.Option(0.0, min=0.0, max=1e6, help='Begin a new file of the bag after this many seconds.'),
    compress_images: str = typer.Option('none', help='Record raw images as jpeg or png, under <topic>/compressed; '
                                        'key=format for single observations. JPEG changes what a model learns from: '
                                        'let the robot read compressed topics too.'),
    quality: int = typer.Option(95, min=1, max=100, help='Quality of jpeg.'),
    min_free_mb: int = typer.Option(500, min=0, max=1_000_000, help='MB of the disk that must be free to begin, and '
                                    'to go on.'),
    joy: str = typer.Option('', help='Topic of a joystick (sensor_msgs/Joy): drives with teleop, and its buttons begin '
                            'and end episodes.'),
    axes: str = typer.Option('1,0', help="Axes of the contract's first action numbers; -1 turns axis 1 round."),
    buttons: str = typer.Option('7,0,1', help='Buttons that start an episode, end it with success, and with failure.'),
    use_sim_time: bool = typer.Option(False, help='Live robot: take times from its stamps (a running simulator).'),
    namespace: str = typer.Option('', help='ROS namespace of the robot.'),
    overwrite: bool = typer.Option(False, help='Delete an older bag at the output first.'),
    repair: str = typer.Option('', help='Make this bag readable, whose recording was cut off; records nothing.'),
) -> int:
    """Record a bag, or repair one. Ctrl-C ends early and keeps what is recorded. Exit code 1: an episode failed its
    audit. In a terminal the keys s, e, f and q start an episode, end it with success or failure, and quit.

    Example: jepa-ros record world=two_rooms episodes=100, or of a live robot: jepa-ros record robot=mine.yaml
    """
    if repair:
        from jepa_ros.robot.bag_repair import repair as repair_bag
        print(f'{repair}: readable, {repair_bag(repair)} messages')
        return 0
    interrupted: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):  # before ROS is loaded, which takes a second
        signal.signal(number, lambda number, _frame: interrupted.append(number))
    from jepa_ros.cli.record_plan import Plan
    from jepa_ros.robot.contract import RobotContract
    from jepa_ros.runtime.names import full_namespace
    from jepa_ros.runtime.ros import domain_id

    contract, namespace = RobotContract.load(robot), full_namespace(namespace)
    domain_id()
    if world:
        from jepa_ros.sim.worlds import load_config
        load_config(world)
    folder = Path(output or f'bags/{contract.name}_{time.strftime("%Y-%m-%d_%H-%M-%S")}')
    plan = Plan(
        robot, folder.absolute(), world, driver, model or contract.name, '', episodes, steps, seed, first_episode,
        namespace, topics, use_sim_time, joy, axes, contract.pacing is None or contract.pacing.stamp == 'receive',
        {'split_mb': split_mb, 'split_s': float(split_s), 'compress_images': compress_images, 'jpeg_quality': quality,
         'min_free_mb': min_free_mb, **_buttons(buttons)})
    plan = _checked(plan, contract)
    _make_room(folder, overwrite)
    return _run(plan, folder, duration, interrupted)


def _buttons(text: str) -> dict[str, int]:
    from jepa_ros.errors import ConfigError
    numbers = text.split(',')
    if len(numbers) != 3 or not all(number.strip().lstrip('-').isdecimal() for number in numbers):
        raise ConfigError(f'--buttons {text!r}: give three numbers, of start, success and failure, as in 7,0,1')
    return dict(zip(('button_start', 'button_success', 'button_failure'), map(int, numbers)))


def _checked(plan, contract):
    """The plan with what only its model knows; errors that would come from a process later are said now."""
    from dataclasses import replace

    from jepa_ros.errors import ConfigError
    from jepa_ros.robot.compress import chosen
    chosen(plan.recorder['compress_images'], contract)
    if plan.driver == 'teleop':
        from jepa_ros.robot.teleop import axes_from, Sticks
        Sticks(contract, axes_from(plan.axes))
        if not plan.joy and not sys.stdin.isatty():
            raise ConfigError('--driver teleop needs a terminal for its keys, or --joy with the topic of a joystick')
    if not plan.needs_model:
        return replace(plan, model='')
    from jepa_ros import checkpoint
    folder = checkpoint.find(plan.model)
    checkpoint.verify(folder, contract)
    return replace(plan, model_sha256=checkpoint.read_card(folder).sha256)


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
    from jepa_ros.cli.keys import Keys
    from jepa_ros.cli.record_session import Session
    from jepa_ros.errors import BagError
    session, began_s = Session(plan), time.monotonic()

    with ExitStack() as stack:
        keys = stack.enter_context(Keys())
        bar, task = stack.enter_context(_bar(plan))
        if sys.stdin.isatty():
            bar.console.print(KEYS_HELP + ('; arrows drive, space stops' if plan.driver == 'teleop' else ''))

        def tell(progress) -> None:
            since_s = progress.recording_since_s
            if interrupted or duration_s and since_s and time.monotonic() - since_s > duration_s:
                session.stop()
            for key in keys.pressed():
                session.press(key)
            while session.lines:
                bar.console.print(session.lines.popleft(), soft_wrap=True, highlight=False)
            bar.update(task, completed=progress.episodes if plan.counts_episodes else progress.messages,
                       figures=_figures(plan, progress, session.stick.axes))
        session.run(tell)
    if not folder.exists():
        raise BagError(f'{folder}: ended before the recording had begun')
    messages = _print_summary(folder, session.progress, time.monotonic() - began_s)
    if not messages:
        reason = session.progress.waiting or 'nothing was published'
        raise BagError(f'{folder} is empty ({reason}): is the robot on, and are ROS_DOMAIN_ID and --namespace its own?')
    failed = _print_audit(folder)
    return 130 if interrupted and plan.counts_episodes else EXIT_AUDIT if failed else 0


def _figures(plan, progress, axes: list[float]) -> str:
    if progress.waiting:
        return progress.waiting
    parts = [f'{progress.steps} steps'] if plan.driver != 'none' else []
    if plan.driver == 'teleop' and not plan.joy:
        parts.append(f'{axes[1]:+.2f} {axes[0]:+.2f}')
    parts += [f'{progress.megabytes:.0f} MB', f'{progress.lost} lost']
    return '  '.join([*parts, *([f'episode {progress.episode}'] if progress.episode else [])])


class _bar:
    """Progress bar on stderr, so that the summary on stdout can be piped."""

    def __init__(self, plan):
        from rich import progress
        from rich.console import Console
        columns = [progress.TextColumn('recording'), progress.TextColumn('{task.completed} messages')]
        if plan.counts_episodes:
            columns[1:] = [progress.BarColumn(), progress.MofNCompleteColumn(), progress.TextColumn('episodes')]
        columns += [progress.TextColumn('{task.fields[figures]}'), progress.TimeElapsedColumn()]
        if plan.counts_episodes:
            columns += [progress.TimeRemainingColumn()]
        self._bar = progress.Progress(*columns, console=Console(file=sys.stderr))
        self._total = plan.episodes if plan.counts_episodes else None

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


def _print_audit(folder: Path) -> bool:
    """One line per episode that failed its audit, on stderr; True if there is one."""
    from jepa_ros.robot.bag_metadata import AUDIT, custom_data
    audit = json.loads(custom_data(folder).get(AUDIT, '{}'))
    for episode, problems in audit.get('failed', {}).items():
        print(f'jepa-ros: episode {episode} failed its audit: {"; ".join(problems)}', file=sys.stderr)
    return bool(audit.get('failed'))


if __name__ == '__main__':
    from jepa_ros.cli.main import main
    sys.exit(main(['record', *sys.argv[1:]]))
