"""What `jepa-ros` runs: only the chosen command's module is imported, so that `jepa-ros --help` answers at once.

Each command is a typer function, or a group of them (a `typer.Typer`), in a module of its own, both of the command's
name. `key=value` arguments, as `ros2 launch` users know them
(`robot:=…` is understood too), mean the same as `--key value`.
"""
from collections.abc import Callable, Sequence
import importlib
import inspect
import re
import typing
from typing import Any

import typer
import typer.core

from jepa_ros import __version__
from jepa_ros.errors import ConfigError
from jepa_ros.registry import nearest

COMMANDS = {
    'up': 'Run the agent on a robot, or with world=… on a simulated one.',
    'demo': 'Ten goals in the other room, with a report, a video and a plot.',
    'goal': 'Give the running agent a goal and watch it being pursued.',
    'sim': 'Run a simulated robot alone.',
    'record': 'Record episodes into an MCAP bag.',
    'bag': 'Recordings: what is in one, and making a damaged one readable.',
    'replay': 'Replay a recording, or let an agent watch it without acting (--shadow).',
    'robot': 'Robot contracts: check one against a bag or live topics, draft one from a bag, list them.',
    'dataset': 'Training stores: build one from bags, check it, list it, export it.',
    'train': 'Train a model from bags.',
    'distill': 'Teach the reflexes of a trained model what its planner finds.',
    'eval': 'Measure success and latency in a world, prediction of recordings (open), or in any environment (gym).',
    'model': 'Models: import one of other software, export one for it, list what is in one, send one to the agent.',
}
KEY_VALUE_COMMANDS = frozenset({'up', 'sim', 'record', 'demo', 'eval'})

_KEY_VALUE = re.compile(r'^([A-Za-z_][A-Za-z0-9_]*):?=(.*)$', re.DOTALL)
_TRUE, _FALSE = frozenset({'true', '1', 'yes', 'on'}), frozenset({'false', '0', 'no', 'off'})
# typer carries its own copy of click in newer versions: take the exception's base from typer itself
_ClickException: Any = typer.BadParameter.__mro__[2]  # BadParameter < UsageError < ClickException


class _Interrupted(Exception):
    """Ctrl-C on its way through typer, which takes a KeyboardInterrupt for an exit code and drops what it says."""


class _Group(typer.core.TyperGroup):
    """The commands."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise _Interrupted(*interrupt.args) from None


def run(argv: list[str]) -> int:
    """Run one command; returns its exit code.

    JepaRosError for a user's mistake; KeyboardInterrupt for Ctrl-C, with what the user is to know besides, if any.
    """
    try:
        code = _run(argv)
    except _ClickException as error:
        raise ConfigError(' '.join(error.format_message().split()) + _help_hint(argv)) from None
    except _Interrupted as interrupt:
        raise KeyboardInterrupt(*interrupt.args) from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    except typer.Exit as finished:
        return finished.exit_code
    return code if isinstance(code, int) else 0


def load_command(name: str) -> Callable | typer.Typer:
    """Import the module of a command and return its function or group."""
    return getattr(importlib.import_module(f'jepa_ros.cli.{name}'), name)


def key_values_to_options(function: Callable, args: Sequence[str]) -> list[str]:
    """Turn `key=value` into `--key value` (a bool into `--key` or `--no-key`); other arguments pass unchanged.

    Raises ConfigError for a key that `function` has no parameter for, naming the nearest one.
    """
    options = typing.get_type_hints(function)
    names = [name for name in inspect.signature(function).parameters if options.get(name) is not typer.Context]
    out: list[str] = []
    for arg in args:
        match = _KEY_VALUE.match(arg)
        is_value = bool(out) and _awaits_value(out[-1], options)
        out += [arg] if match is None or is_value else _option(match[1], match[2], names, options)
    return out


def _run(argv: list[str]):
    command = next((arg for arg in argv if not arg.startswith('-')), None)
    app = typer.Typer(
        name='jepa-ros', cls=_Group, add_completion=False, pretty_exceptions_enable=False,
        help='A robot that learns a world model from its own recordings and plans in it.')
    app.callback()(_root)
    for name, description in COMMANDS.items():
        if name == command:
            function = load_command(name)
            if isinstance(function, typer.Typer):  # a group: jepa-ros robot check …
                app.add_typer(function, name=name)
            else:
                app.command(name)(function)
            if name in KEY_VALUE_COMMANDS:
                at = argv.index(name) + 1
                if isinstance(function, typer.Typer):
                    function, below = _addressed(function, argv[at:])
                    at += below
                argv = argv[:at] + key_values_to_options(function, argv[at:])
        else:
            app.command(name, help=description)(_root_placeholder)
    if command is not None and command not in COMMANDS:
        raise ConfigError(f"unknown command '{command}'{nearest(command, COMMANDS)}; "
                          f'commands are {", ".join(COMMANDS)}')
    return app(argv or ['--help'], prog_name='jepa-ros', standalone_mode=False)


def _addressed(group: typer.Typer, args: Sequence[str]) -> tuple[Callable, int]:
    """The function of a group that `args` are for, and how many of them name it: 1 for a command, 0 for the group."""
    commands = {command.name: command.callback for command in group.registered_commands}
    if args and args[0] in commands:
        return commands[args[0]], 1
    return group.registered_callback.callback, 0


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f'jepa-ros {__version__}')
        raise typer.Exit


def _root(version: bool = typer.Option(
        False, '--version', help='Print the version and exit.', is_eager=True, callback=_print_version)) -> None:
    pass


def _root_placeholder() -> None:
    """List a command in the help without importing it."""


def _option(key: str, value: str, names: Sequence[str], hints: dict) -> list[str]:
    name = key.replace('-', '_')
    if name not in names:
        raise ConfigError(f"unknown argument '{key}='{nearest(name, names)}; known are {', '.join(names)}")
    flag = name.replace('_', '-')
    if hints.get(name) is not bool:
        return [f'--{flag}={value}']
    if value.lower() not in _TRUE | _FALSE:
        raise ConfigError(f'argument {key}={value}: expected true or false')
    return [f'--{flag}' if value.lower() in _TRUE else f'--no-{flag}']


def _awaits_value(previous: str, hints: dict) -> bool:
    if not previous.startswith('-') or '=' in previous:
        return False
    name = previous.lstrip('-').replace('-', '_')
    return bool not in (hints.get(name), hints.get(name.removeprefix('no_')))


def _help_hint(argv: Sequence[str]) -> str:
    command = next((arg for arg in argv if arg in COMMANDS), None)
    return f' (see jepa-ros {command} --help)' if command else ' (see jepa-ros --help)'
