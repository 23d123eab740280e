"""What the files in launch/ share: their arguments and how a node is started.

Imports `launch` and `launch_ros`, which the wheels do not have: only launch files import this module.
"""
from collections.abc import Sequence
from pathlib import Path

from launch import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.conditions import IfCondition
from launch.substitutions import (
    AndSubstitution,
    EqualsSubstitution,
    LaunchConfiguration,
    NotEqualsSubstitution,
    NotSubstitution,
)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue

from jepa_ros.errors import ConfigError
from jepa_ros.paths import share_dir
from jepa_ros.runtime.process import EXIT_REFUSED

NO_MODEL = 'none'
RESPAWN_DELAY_S = 1.0

ARGUMENTS = {
    'namespace': ('', 'Namespace of all nodes and relative topics: one agent among several.'),
    'use_sim_time': ('false', 'Take the time from /clock: true with a simulator or a replayed bag.'),
    'params_file': (str(share_dir() / 'config' / 'params.yaml'), 'YAML file with parameters of the nodes.'),
    'robot': ('two_rooms', 'Robot contract: a name in config/robots, or the path of a YAML file.'),
    'model': ('two_rooms', 'Checkpoint: the name of a shipped model, or the path of a folder.'),
    'planners': ('', 'Planner settings: a name in config/planners, or a YAML file; empty: those of the model.'),
    'tasks': ('', 'Tasks of your own: a YAML file, or a folder of them; the shipped ones stay known.'),
    'composition': ('true', 'true: the six organs in one process with one copy of the weights; false: six processes.'),
    'log_level': ('info', 'Least severity that the nodes log: debug, info, warn, error or fatal.'),
}
CHOICES = {'recorder': ('jepa_ros', 'rosbag2'), 'driver': ('random', 'teleop', 'none'),
           'use_sim_time': ('true', 'false'), 'loop': ('true', 'false'), 'paused': ('true', 'false'),
           'with_commands': ('true', 'false'), 'composition': ('true', 'false'),
           'learn': ('true', 'false'), 'log_level': ('debug', 'info', 'warn', 'error', 'fatal')}


# What only files that let the agent drive have, and how it drives when nothing is said.
DRIVING = {'learn': 'true: critic and dynamics learn from what the robot lives through, while it drives.',
           'speed': 'Share of the range of each action that the agent may use: 0.3 for a first try on hardware.'}
AS_EVER = {'learn': 'false', 'speed': '1.0'}


def arguments(descriptions: dict[str, str] | None = None, **defaults: str) -> list[Action]:
    """Declare the common arguments, with other defaults or descriptions, and any further ones that are given both."""
    table = dict(ARGUMENTS)
    for name, default in defaults.items():
        table[name] = (default, table.get(name, ('', ''))[1])
    for name, description in (descriptions or {}).items():
        table[name] = (table[name][0], description)
    declared = [DeclareLaunchArgument(name, default_value=default, description=description, choices=CHOICES.get(name))
                for name, (default, description) in table.items()]
    return [*declared, OpaqueFunction(function=_check_params_file)]


def _check_params_file(context) -> None:
    """Stop where launch itself would only warn and go on with default parameters."""
    path = LaunchConfiguration('params_file').perform(context)
    if not Path(path).is_file():
        raise ConfigError(f'params_file: no file {path!r}')


def text(name: str) -> ParameterValue:
    """An argument as a string parameter, even where it looks like a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def flag(name: str) -> ParameterValue:
    """An argument as a bool parameter."""
    return ParameterValue(LaunchConfiguration(name), value_type=bool)


def number(name: str) -> ParameterValue:
    """An argument as an integer parameter."""
    return ParameterValue(LaunchConfiguration(name), value_type=int)


def decimal(name: str) -> ParameterValue:
    """An argument as a floating-point parameter."""
    return ParameterValue(LaunchConfiguration(name), value_type=float)


def node(executable: str, condition: IfCondition | None = None, vital: bool = False,
         remappings: Sequence[tuple[str, str]] = (), **parameters) -> Node:
    """Start `lib/jepa_ros/<executable>`. It comes back when it dies; the end of a `vital` one ends the launch."""
    # No `name=`: in a composed process it would rename all nodes. What is set here wins over the file.
    return Node(
        package='jepa_ros', executable=executable, namespace=LaunchConfiguration('namespace'), condition=condition,
        parameters=[ParameterFile(LaunchConfiguration('params_file'), allow_substs=True), parameters],
        arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')], remappings=list(remappings),
        respawn=not vital, respawn_delay=RESPAWN_DELAY_S, output='screen',
        on_exit=lambda event, _: _after_exit(executable, event.returncode, vital))


def _after_exit(executable: str, code: int, vital: bool) -> Shutdown | None:
    """Raise what only the user can put right: launch says it and ends with an exit code."""
    if code == EXIT_REFUSED:
        raise ConfigError(f'{executable} refused to go on; its last line above says why')
    if vital and code != 0:
        raise ConfigError(f'{executable} died with exit code {code}')
    return Shutdown(reason=f'{executable} is done') if vital else None


def without_agent() -> IfCondition:
    """Hold when the model is 'none'."""
    return IfCondition(EqualsSubstitution(LaunchConfiguration('model'), NO_MODEL))


def with_agent(composed: bool | None = None) -> IfCondition:
    """Hold when a model is given; with `composed`, only in one process (True) or in six (False)."""
    wanted = NotEqualsSubstitution(LaunchConfiguration('model'), NO_MODEL)
    if composed is None:
        return IfCondition(wanted)
    composition = LaunchConfiguration('composition')
    return IfCondition(AndSubstitution(wanted, composition if composed else NotSubstitution(composition)))
