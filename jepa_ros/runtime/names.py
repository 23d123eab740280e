"""Names of the nodes, of the process that holds all six organs, and of namespaces. Imports no ROS."""
import re

from ..errors import ConfigError

ORGANS = ('perception', 'world_model', 'cost', 'actor', 'memory', 'configurator')
GATE, SIM, AGENT = 'command_gate', 'sim', 'agent'

_NAMESPACE = re.compile(r'(/[A-Za-z_][A-Za-z0-9_]*)+')


def full_namespace(given: str) -> str:
    """`/robot/arm` for `robot/arm` or `/robot/arm/`, empty for none; ConfigError for what ROS does not take."""
    name = f'/{given.strip("/")}' if given.strip('/') else ''
    if name and (_NAMESPACE.fullmatch(name) is None or '__' in name):
        raise ConfigError(f'namespace {given!r}: give words of letters, digits and single _, beginning with a letter '
                          'and separated by /, as in robot_1')
    return name
