"""Typed, bounded, described ROS parameters, declared from one table per node.

A value that a YAML file or `-p` gives outside its bounds, of another type, or under an unknown name does not crash
the node where it is declared: it is kept as a problem, and `configure` fails with the line that names it.
"""
from collections.abc import Iterable
from dataclasses import dataclass
import math
from types import SimpleNamespace

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, ParameterType, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from jepa_ros.errors import ConfigError
from jepa_ros.registry import nearest

_TYPES = {bool: ParameterType.PARAMETER_BOOL, int: ParameterType.PARAMETER_INTEGER,
          float: ParameterType.PARAMETER_DOUBLE, str: ParameterType.PARAMETER_STRING}
_TYPE_NAMES = {bool: 'true or false', int: 'an integer', float: 'a number with a decimal point', str: 'a string'}
# rclpy declares topic-specific parameters under this prefix when a publisher or subscription allows overrides
_RESERVED_PREFIXES = ('qos_overrides.',)


@dataclass(frozen=True)
class Param:
    """One parameter. `low` and `high` are inclusive bounds of a number, `choices` the only strings allowed."""

    name: str
    default: bool | int | float | str
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False

    @property
    def bounds(self) -> str:
        """What is allowed, in words for an error message."""
        if self.choices:
            return f'one of {", ".join(self.choices)}'
        if self.low is None or self.high is None:
            return _TYPE_NAMES[type(self.default)]
        return f'{_TYPE_NAMES[type(self.default)]} from {self.low:g} to {self.high:g}'

    def problem(self, value: object) -> str:
        """Say in one line why `value` cannot be taken, or return an empty string."""
        wrong = type(value) is not type(self.default)
        wrong = wrong or bool(self.choices) and value not in self.choices
        if not wrong and isinstance(value, (int, float)) and self.low is not None and self.high is not None:
            wrong = not math.isfinite(value) or not self.low <= value <= self.high
        return f'parameter {self.name} is {value!r}, but must be {self.bounds}' if wrong else ''

    def descriptor(self) -> ParameterDescriptor:
        """Return what `ros2 param describe` shows."""
        text = f'{self.description} ({self.bounds})' if self.choices else self.description
        out = ParameterDescriptor(
            name=self.name, description=text, type=_TYPES[type(self.default)], read_only=self.read_only)
        if self.low is not None and self.high is not None:
            if isinstance(self.default, int):
                out.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high), step=0)]
            else:
                out.floating_point_range = [
                    FloatingPointRange(from_value=float(self.low), to_value=float(self.high), step=0.0)]
        return out


class Parameters:
    """The declared parameters of one node."""

    def __init__(self, node: Node, params: Iterable[Param]):
        self._node = node
        self._params = {param.name: param for param in params}
        declared = {param.name: self._declare(param) for param in self._params.values()}
        self._problems = {name: problem for name, problem in {**declared, **self._unknown()}.items() if problem}
        node.add_on_set_parameters_callback(self._check)

    def values(self) -> SimpleNamespace:
        """Return all values, as attributes. Raises ConfigError with the first problem found at declaration."""
        for problem in self._problems.values():
            raise ConfigError(problem)
        return SimpleNamespace(**{name: self.value(name) for name in self._params})

    def value(self, name: str):
        """Return one value. Raises ConfigError when it was given wrong."""
        if name in self._problems:
            raise ConfigError(self._problems[name])
        return self._node.get_parameter(name).value

    def _declare(self, param: Param) -> str:
        given = self._node._parameter_overrides.get(param.name)  # rclpy has no public way to see them
        problem = param.problem(given.value) if given is not None else ''
        try:
            self._node.declare_parameter(param.name, param.default, param.descriptor(), ignore_override=bool(problem))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ConfigError(f'parameter {param.name}: {error}') from error
        return problem

    def _unknown(self) -> dict[str, str]:
        known = list(self._node._parameters)
        out = {}
        for name in self._node._parameter_overrides:
            if self._node.has_parameter(name) or name.startswith(_RESERVED_PREFIXES):
                continue
            has = f'{self._node.get_name()} has {", ".join(self._params)}'
            out[name] = f'unknown parameter {name}{nearest(name, known)}; {has}'
        return out

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            param = self._params.get(change.name)
            problem = param.problem(change.value) if param else ''
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        for change in changes:  # a value that came wrong from a file and is now set right
            self._problems.pop(change.name, None)
        return SetParametersResult(successful=True)
