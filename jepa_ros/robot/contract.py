"""The robot contract: which topics become which tensors, and back (design §7).

One YAML file per robot under `config/robots/`. Everything that touches the robot reads it: recorder, perception,
actor, command gate, training. Imports neither ROS nor torch. The streams are in `streams.py`.
"""
import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_serializer, model_validator, SerializerFunctionWrapHandler, ValidationError
import yaml

from ..errors import ContractError
from ..paths import config_file, known
from .adapters.commands import JOINT_TRAJECTORY
from .drives import Drives
from .streams import ActionField, ActionStream, Key, Observation, Readout, Strict
from .yaml_errors import first_error, read_yaml

__all__ = ['ActionField', 'ActionStream', 'CLOCK', 'Observation', 'Readout', 'RobotContract', 'nearest']

CLOCK = 'clock'     # as a pace: ticks at whole multiples of the control period
# What bears on tensors. Of the second form only what differs from its default is hashed: older hashes stay valid.
_OBSERVATION_1 = {'key', 'type', 'height', 'width', 'encoding', 'align'}
_OBSERVATION_2 = {'stamp', 'required', 'beams', 'range_min_m', 'range_max_m', 'elevation_min_rad', 'elevation_max_rad',
                  'joints', 'fields', 'size', 'parent_frame', 'child_frame'}
_ACTION_2 = {'align', 'joints'}


class RobotContract(Strict):
    """A robot as the agent knows it.

    Action and readout vectors keep the order of the file: A numbers over all action streams, R readouts.
    """

    name: Key
    description: str = ''
    control_period_s: Annotated[float, Field(ge=0.001, le=10)] = Field(description='s from one action to the next')
    clock: Literal['system', 'sim'] = Field('system', description='which clock stamps are on: sim follows /clock')
    pace: str = Field('', description='what makes the ticks: key of an observation (empty: the first one), or clock, '
                      'whole multiples of control_period_s for sensors of uneven rate')
    settle_s: Annotated[float, Field(ge=0, le=1)] = Field(
        0.005, description='live: s that a tick waits for samples sent before it that are still under way')
    observations: Annotated[list[Observation], Field(min_length=1)]
    readouts: list[Readout] = []
    actions: Annotated[list[ActionStream], Field(min_length=1)]
    drives: Drives | None = Field(None, description='what the robot fears and hungers for: readouts of the hard-wired '
                                  'terms battery, clearance, collision and readout_limits')

    @model_validator(mode='after')
    def _unique(self) -> 'RobotContract':
        for what, names in (('observation key', [o.key for o in self.observations]),
                            ('readout name', self.readout_names), ('action key', [a.key for a in self.actions]),
                            ('action name', self.action_names), ('action topic', [a.topic for a in self.actions])):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f'{what} {twice[0]!r} appears twice')
        types: dict[str, str] = {}
        streams: tuple[Observation | Readout | ActionStream, ...] = (*self.observations, *self.readouts, *self.actions)
        for stream in streams:
            if types.setdefault(stream.topic, stream.type) != stream.type:
                raise ValueError(f'topic {stream.topic!r} has two types, {types[stream.topic]} and {stream.type}')
        return self

    @model_validator(mode='after')
    def _paced(self) -> 'RobotContract':
        keys = [o.key for o in self.observations]
        if CLOCK in keys:
            raise ValueError(f'observation key {CLOCK!r} is taken: pace: {CLOCK} means ticks of the clock')
        if self.pace not in ('', CLOCK, *keys):
            raise ValueError(f'pace {self.pace!r} names no observation{nearest(self.pace, [*keys, CLOCK])}')
        if self.pace != CLOCK and not self.pacing.required:
            raise ValueError(f'observation {self.pacing.key!r} makes the ticks (pace), so it cannot be required: false')
        return self

    @model_validator(mode='after')
    def _felt(self) -> 'RobotContract':
        """Drives look at readouts of this robot."""
        for where, name in self.drives.named() if self.drives else ():
            if name not in self.readout_names:
                known_names = nearest(name, self.readout_names) if self.readouts else ': it has no readouts at all'
                raise ValueError(f'drives.{where}: this robot has no readout {name!r}{known_names}')
        return self

    @model_validator(mode='after')
    def _trajectories(self) -> 'RobotContract':
        """A trajectory without a time reaches its point in one control period."""
        filled = [a.model_copy(update={'time_from_start_s': self.control_period_s})
                  if a.type == JOINT_TRAJECTORY and a.time_from_start_s is None else a for a in self.actions]
        object.__setattr__(self, 'actions', filled)     # frozen to everybody else
        return self

    @model_serializer(mode='wrap')
    def _dump(self, handler: SerializerFunctionWrapHandler) -> dict:
        """Without the section `drives` where there is none: as contracts were before there were drives."""
        data = handler(self)
        return data if self.drives else {key: value for key, value in data.items() if key != 'drives'}

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
        """YAML text that `parse` reads back into an equal contract; defaults are written out, absent values are not."""
        return yaml.safe_dump(_present(self.model_dump(mode='json')), sort_keys=False, allow_unicode=True)

    @property
    def pacing(self) -> Observation | None:
        """The observation whose samples make the ticks; None where the clock does."""
        if self.pace == CLOCK:
            return None
        return next((o for o in self.observations if o.key == self.pace), self.observations[0])

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

        Topics, timeouts, rates, units and descriptions are left out: renaming a topic does not change a tensor. So
        are drives: what a robot fears can be said after its model was trained.
        """
        bearing = {
            'name': self.name,
            'control_period_s': self.control_period_s,
            'observations': [_bearing(o, _OBSERVATION_1, _OBSERVATION_2) for o in self.observations],
            'readouts': [r.model_dump(include={'name', 'type', 'field'}) for r in self.readouts],
            'actions': [self._action(a) for a in self.actions],
        }
        if self.pace not in ('', self.observations[0].key):
            bearing['pace'] = self.pace
        return hashlib.sha256(json.dumps(bearing, sort_keys=True, separators=(',', ':')).encode()).hexdigest()

    def _action(self, stream: ActionStream) -> dict:
        bearing = _bearing(stream, {'key', 'type'}, _ACTION_2)
        if stream.time_from_start_s not in (None, self.control_period_s):
            bearing['time_from_start_s'] = stream.time_from_start_s
        return bearing | {'fields': [f.model_dump(include={'name', 'field', 'min', 'max'}) for f in stream.fields]}


def _bearing(stream: Strict, first: set[str], second: set[str]) -> dict:
    """Dump of the keys `first`, without absent ones, and of those of `second` that differ from their default."""
    return (stream.model_dump(include=first, exclude_none=True)
            | stream.model_dump(include=second, exclude_defaults=True))


def _present(value):
    """The same data without keys whose value is None, '' or an empty list."""
    if isinstance(value, dict):
        return {key: _present(inner) for key, inner in value.items() if inner not in (None, '', [])}
    return [_present(inner) for inner in value] if isinstance(value, list) else value


def nearest(name: str, names: list[str]) -> str:
    """`; did you mean …? (known: …)` for an unknown `name`, to end an error line with."""
    listed = f' (known: {", ".join(names)})' if names else ' (none is installed)'
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return (f'; did you mean {close[0]!r}?' if close else '') + listed
