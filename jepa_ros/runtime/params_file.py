"""Checks a parameter file before any node reads it: rcl passes over what belongs to no node, and names no remedy."""
from collections.abc import Iterator
from pathlib import Path

import yaml

from ..errors import ConfigError
from ..registry import nearest
from ..robot.yaml_errors import load_yaml, unreadable
from .names import GATE, ORGANS, SIM

NODES = (*ORGANS, GATE, SIM, 'recorder', 'driver', 'goal_driver')
FORM = 'expected is /**/<node>: {ros__parameters: {<name>: <value>}}, as in config/params.yaml'


def check_params_file(path: Path) -> None:
    """ConfigError names what is wrong: the file, its form, or a section whose node the agent does not have."""
    where = f'params_file {path}'
    try:
        data = load_yaml(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise ConfigError(f'{where}: no such file') from None
    except (OSError, ValueError, yaml.YAMLError) as error:      # ValueError: not UTF-8, or a date that is none
        raise ConfigError(unreadable(error, where)) from None
    for section in _sections(data, '', where):
        node = section.rsplit('/', 1)[-1]
        if node not in (*NODES, '*', '**'):
            raise ConfigError(f"{where}: section '{section}': the agent has no node {node!r}{nearest(node, NODES)}; "
                              f'it has {", ".join(NODES)}')


def _sections(data, name: str, where: str) -> Iterator[str]:
    """Names of all sections that hold parameters; namespaces may be nested."""
    if not isinstance(data, dict) or not data:
        raise ConfigError(f'{where}: {f"{name}: " if name else ""}{FORM}')
    if 'ros__parameters' in data:
        if not isinstance(data['ros__parameters'], dict):
            raise ConfigError(f'{where}: {name}: ros__parameters holds no parameters: {FORM}')
        yield name
        return
    for key, below in data.items():
        yield from _sections(below, f'{name}/{key}' if name else str(key), where)
