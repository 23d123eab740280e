"""The robot contract: which topics become which tensors, and back (design §7).

One YAML file per robot under `config/robots/`. Everything that touches the robot reads it: recorder, perception,
actor, command gate, training. Imports neither ROS nor torch.
"""
import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator, ValidationError
import yaml

from ..errors import ContractError
from ..paths import config_file, known
from .adapters import observation_types
from .yaml_errors import first_error, read_yaml

Topic = Annotated[str, Field(pattern=r'^/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*$')]
MsgType = Annotated[str, Field(pattern=r'^[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*$')]
FieldPath = Annotated[str, Field(pattern=r'^[a-z][A-Za-z0-9_]*(\.[a-z][A-Za-z0-9_]*)*$')]
Key = Annotated[str, Field(pattern=r'^[a-z][a-z0-9_]*$')]
Seconds = Annotated[float, Field(gt=0, le=60)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)


class Observation(_Strict):
    """A sensor topic that becomes one percept tensor, uint8 (height, width, 3)."""

    key: Key
    topic: Topic
    type: MsgType
    height: Annotated[int, Field(ge=8, le=2048)]
    width: Annotated[int, Field(ge=8, le=2048)]
    encoding: Literal['rgb8'] = 'rgb8'      # of the tensor; messages in bgr8, rgba8, bgra8 or mono8 are converted
    align: Literal['hold', 'asof'] = 'hold'  # hold: newest sample whatever its age; asof: none older than timeout_s
    timeout_s: Seconds = 0.5

    @field_validator('type')
    @classmethod
    def _known(cls, value: str) -> str:
        names = observation_types()
        if value not in names:
            raise ValueError(f'no adapter for {value!r}{nearest(value, names)}')
        return value


class Readout(_Strict):
    """One number of a topic that readout heads learn to estimate (LeCun §4.5.2)."""

    name: Key               # unit in the name: x_m
    topic: Topic
    type: MsgType
    field: FieldPath        # path inside the message: pose.pose.position.x


class ActionField(_Strict):
    """One number of a command and its limits, in SI units."""

    name: Key               # unit in the name: vx_mps
    field: FieldPath        # path inside the message: linear.x
    min: float
    max: float
    max_rate: Annotated[float, Field(gt=0)]  # largest change per second the gate lets through

    @model_validator(mode='after')
    def _ordered(self) -> 'ActionField':
        if not self.min < self.max:
            raise ValueError(f'min ({self.min:g}) must be less than max ({self.max:g})')
        if not self.min <= 0 <= self.max:
            raise ValueError(f'0 must lie within [{self.min:g}, {self.max:g}], it is the command that stops the robot')
        return self


class ActionStream(_Strict):
    """A command topic and what the gate sends on it when it may not move the robot."""

    key: Key
    topic: Topic
    type: MsgType
    fields: Annotated[list[ActionField], Field(min_length=1)]
    safe: Literal['zeros', 'hold'] = 'zeros'   # hold: repeat the last command (e.g. a gripper)
    timeout_s: Seconds = 0.25                  # the robot stops by itself after this long without a command


class RobotContract(_Strict):
    """A robot as the agent knows it.

    Action and readout vectors keep the order of the file: A numbers over all action streams, R readouts.
    """

    name: Key
    description: str = ''
    control_period_s: Annotated[float, Field(ge=0.001, le=10)]
    observations: Annotated[list[Observation], Field(min_length=1)]
    readouts: list[Readout] = []
    actions: Annotated[list[ActionStream], Field(min_length=1)]

    @model_validator(mode='after')
    def _unique(self) -> 'RobotContract':
        for what, names in (('observation key', [o.key for o in self.observations]),
                            ('readout name', self.readout_names), ('action name', self.action_names),
                            ('action topic', [a.topic for a in self.actions])):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f'{what} {twice[0]!r} appears twice')
        types: dict[str, str] = {}
        streams: tuple[Observation | Readout | ActionStream, ...] = (*self.observations, *self.readouts, *self.actions)
        for stream in streams:
            if types.setdefault(stream.topic, stream.type) != stream.type:
                raise ValueError(f'topic {stream.topic!r} has two types, {types[stream.topic]} and {stream.type}')
        return self

    @classmethod
    def load(cls, name_or_path: str | Path) -> 'RobotContract':
        """Contract of a shipped robot by name, or of a YAML file by path; `ContractError` in one line."""
        path = config_file('robots', str(name_or_path))
        if not path.is_file():
            names = known('robots')
            if path.parent.name == 'robots' and path.stem == str(name_or_path):
                raise ContractError(f'unknown robot {str(name_or_path)!r}{nearest(str(name_or_path), names)}')
            raise ContractError(f'robot contract {path} does not exist (shipped robots: {", ".join(names)})')
        try:
            text = path.read_text(encoding='utf-8')
        except (OSError, UnicodeDecodeError) as error:
            raise ContractError(f'robot contract {path} cannot be read: {error}') from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, source: str = 'robot contract') -> 'RobotContract':
        """Contract from YAML text; `ContractError` names `source`, line and field."""
        try:
            return cls.model_validate(read_yaml(text, source))
        except ValidationError as error:
            raise ContractError(first_error(error, text, source, cls)) from error

    def to_yaml(self) -> str:
        """YAML text that `parse` reads back into an equal contract."""
        return yaml.safe_dump(self.model_dump(mode='json'), sort_keys=False)

    @property
    def action_names(self) -> list[str]:
        return [field.name for stream in self.actions for field in stream.fields]

    @property
    def readout_names(self) -> list[str]:
        return [readout.name for readout in self.readouts]

    @property
    def action_low(self) -> np.ndarray:
        """(A,) float64, lower limits."""
        return np.array([f.min for stream in self.actions for f in stream.fields])

    @property
    def action_high(self) -> np.ndarray:
        """(A,) float64, upper limits."""
        return np.array([f.max for stream in self.actions for f in stream.fields])

    @property
    def action_max_rate(self) -> np.ndarray:
        """(A,) float64, largest change per second."""
        return np.array([f.max_rate for stream in self.actions for f in stream.fields])

    def sha256(self) -> str:
        """Hash over what bears on tensors: a checkpoint fits a contract when their hashes are equal.

        Topics, timeouts, rates and descriptions are left out: renaming a topic does not change a tensor.
        """
        bearing = {
            'name': self.name,
            'control_period_s': self.control_period_s,
            'observations': [o.model_dump(include={'key', 'type', 'height', 'width', 'encoding', 'align'})
                             for o in self.observations],
            'readouts': [r.model_dump(include={'name', 'type', 'field'}) for r in self.readouts],
            'actions': [{'key': a.key, 'type': a.type,
                         'fields': [f.model_dump(include={'name', 'field', 'min', 'max'}) for f in a.fields]}
                        for a in self.actions],
        }
        return hashlib.sha256(json.dumps(bearing, sort_keys=True, separators=(',', ':')).encode()).hexdigest()


def nearest(name: str, names: list[str]) -> str:
    """`; did you mean …? (known: …)` for an unknown `name`, to end an error line with."""
    listed = f' (known: {", ".join(names)})' if names else ' (none is installed)'
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return (f'; did you mean {close[0]!r}?' if close else '') + listed
