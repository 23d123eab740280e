"""`jepa-ros robot`: contracts checked against bags or live topics, drafted from bags or Gymnasium environments."""
from contextlib import contextmanager
import json
from pathlib import Path

import typer

from jepa_ros.errors import ConfigError, ContractError
from jepa_ros.paths import write_whole

EXIT_UNUSABLE = 1

robot = typer.Typer(help="""Robot contracts: which topics become which tensors.

Example: jepa-ros robot init --bag bags/mine -o mine.yaml, then: jepa-ros robot check mine.yaml --bag bags/mine""",
                    no_args_is_help=False, pretty_exceptions_enable=False)


@robot.command()
def check(
    contract: str = typer.Argument(..., metavar='FILE', help='Contract: a YAML file, or a name in config/robots.'),
    bag: Path = typer.Option(None, help='Bag to check against: a rosbag2 folder, or a single .mcap or .db3 file.'),
    live: bool = typer.Option(False, '--live', help='Listen to the running robot instead.'),
    seconds: float = typer.Option(5.0, min=0.5, max=600.0, help='How long to listen.'),
    namespace: str = typer.Option('', help='ROS namespace of the robot.'),
    as_json: bool = typer.Option(False, '--json', help='Print the report as JSON.'),
) -> int:
    """Say what of a contract matches a bag or the running robot, what is missing, and which values would fit.

    Exit code 0: usable; 1: not usable; 2: it could not be checked.

    Example: jepa-ros robot check config/robots/neato.yaml --bag bags/drive_square
    """
    from jepa_ros.robot.contract import RobotContract
    from jepa_ros.runtime.names import full_namespace

    if (bag is None) == (not live):
        raise ConfigError('give exactly one of --bag and --live')
    described, name = RobotContract.load(contract), full_namespace(namespace)
    if live:
        from jepa_ros.runtime.listen import check_live
        with _progress(f'listening for {seconds:g} s') as progress:
            report = check_live(described, name, seconds, progress)
    else:
        from jepa_ros.robot.check import check_bag
        with _progress(f'reading {bag.name}') as progress:
            report = check_bag(described, bag, name, progress)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=1, ensure_ascii=False))
    else:
        from jepa_ros.cli.robot_report import show
        show(report)
    return 0 if report.usable else EXIT_UNUSABLE


@robot.command()
def init(
    bag: Path = typer.Option(None, help='Bag to draft from: a rosbag2 folder, or a single .mcap or .db3 file.'),
    gym: str = typer.Option('', help='Gymnasium environment id to draft from, as in Pendulum-v1.'),
    render: bool = typer.Option(False, help='With --gym: also a camera that sees what the environment draws.'),
    output: Path = typer.Option(None, '--output', '-o', help='File to write; it must not exist yet. Default: standard '
                                'output.'),
    name: str = typer.Option('', help="Name of the robot; default: after the bag's folder."),
    action: list[str] = typer.Option([], help='Command topic, where the bag does not make it clear. May be repeated.'),
) -> int:
    """Draft a contract from a recording; what was guessed is marked in its comments.

    Example: jepa-ros robot init --bag bags/drive_square --name neato -o neato.yaml
    """
    if (bag is None) == (not gym):
        raise ConfigError('give exactly one of --bag and --gym')
    if output is not None and output.exists():
        raise ConfigError(f'{output} exists already: give another --output, or remove it')
    if gym:
        text = _gym_contract(gym, name, render)
    else:
        from jepa_ros.robot.draft import draft
        from jepa_ros.robot.survey import survey_bag
        with _progress(f'reading {bag.name}') as progress:
            survey = survey_bag(bag, progress)
        text = draft(survey, name, action)
    _write(text, output)
    if output is not None:
        again = f'jepa-ros robot check {output}' + (f' --bag {bag}' if bag else '')
        typer.echo(f'{output} is drafted; correct what its comments call a guess, then: {again}', err=True)
    return 0


@robot.command()
def schema(
    output: Path = typer.Option(None, '--output', '-o', help='File to write. Default: standard output.'),
) -> int:
    """Print the JSON schema of robot contracts, with which an editor checks and completes them.

    Example: jepa-ros robot schema -o robot.schema.json
    """
    from jepa_ros.robot.schema import schema_text
    _write(schema_text(), output)
    return 0


@robot.command('list')
def list_robots() -> int:
    """List the robots that are shipped: their observations, actions and rates.

    Example: jepa-ros robot list
    """
    from jepa_ros.cli.robot_report import show_robots
    show_robots()
    return 0


def _gym_contract(environment: str, name: str, render: bool) -> str:
    from jepa_ros.sim.gym_contract import draft
    return draft(environment, name, render)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text, nl=not text.endswith('\n'))
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(output, text)
    except OSError as error:
        raise ContractError(f'{output}: cannot be written: {error.strerror}') from None


@contextmanager
def _progress(what: str):
    """A bar on standard error; yields a function that takes the share done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    console = Console(stderr=True)
    with Progress(TextColumn('{task.description}'), BarColumn(), TaskProgressColumn(), console=console, transient=True,
                  disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=1.0)
        yield lambda share: bars.update(task, completed=share)
