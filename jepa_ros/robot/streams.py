"""The streams of a robot contract: observations, readouts and actions (design §7). Used by `contract.py`.

Numbers are in SI units unless the name or `units` says otherwise; frames follow REP-103 and REP-105.
"""
import math
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..errors import ContractError
from .adapters import ADAPTERS, check_command, COMMAND_TYPES, FIELD_PATTERN, tensor_spec
from .units import check_units

Topic = Annotated[str, Field(pattern=r'^/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*$')]
MsgType = Annotated[str, Field(pattern=r'^[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*$')]
FieldPath = Annotated[str, Field(pattern=FIELD_PATTERN)]
Key = Annotated[str, Field(pattern=r'^[a-z][a-z0-9_]*$')]
Frame = Annotated[str, Field(pattern=r'^(/?[A-Za-z_][A-Za-z0-9_\-]*(/[A-Za-z0-9_\-]+)*)?$')]
Joint = Annotated[str, Field(pattern=r'^[^\[\]]+$')]
Seconds = Annotated[float, Field(gt=0, le=60)]
Pixels = Annotated[int, Field(ge=1, le=4096)]
Metres = Annotated[float, Field(ge=0)]
Angle = Annotated[float, Field(ge=-math.pi, le=math.pi)]


class Strict(BaseModel):
    """Unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)


class Observation(Strict):
    """A sensor topic that becomes one tensor of the percept; `adapters.tensor_spec` says which."""

    role: ClassVar[str] = 'observation'

    key: Key = Field(description='name of the tensor in the percept')
    topic: Topic
    type: MsgType = Field(description='message type: package/msg/Name', examples=sorted(ADAPTERS))
    align: Literal['hold', 'asof'] = Field(
        'hold', description='hold: newest sample whatever its age; asof: none older than timeout_s')
    timeout_s: Seconds = Field(0.5, description='age in s after which a sample is stale')
    qos: Literal['sensor', 'stream', 'latched'] = Field(
        'sensor', description='sensor: best effort; stream: reliable; latched: reliable, given to late joiners')
    stamp: Literal['header', 'receive'] = Field(
        'header', description="a sample's time: its header's stamp, or when it was sent")
    frame: Frame = Field('', description='frame_id expected in the header; other frames are counted; empty: any')
    units: str = Field('', description='units of the numbers where their names and SI do not say: m/s, rad, normalised')
    required: bool = Field(True, description='false: a percept may lack it, its tensor is zeros and marked invalid')

    height: Pixels | None = Field(None, description='rows of the tensor: images, depth, point clouds')
    width: Pixels | None = Field(None, description='columns of the tensor: images, depth, point clouds')
    encoding: Literal['rgb8', 'mono8', 'depth'] = Field('rgb8', description='of the tensor; messages are converted')
    beams: Annotated[int, Field(ge=2, le=65536)] | None = Field(
        None, description='LaserScan: beams of the tensor, each the nearest one of the message')
    range_min_m: Metres | None = Field(None, description="nearer is invalid; LaserScan: default the message's")
    range_max_m: Metres | None = Field(None, description="farther is invalid; LaserScan: default the message's")
    elevation_min_rad: Angle | None = Field(None, description='PointCloud2: elevation of the lowest row')
    elevation_max_rad: Angle | None = Field(None, description='PointCloud2: elevation of the uppermost row')
    joints: list[Joint] = Field([], description='JointState: names, in the order of the tensor')
    fields: list[FieldPath] = Field([], description='JointState: position, velocity, effort; Imu: orientation, '
                                    'angular_velocity, linear_acceleration; other types: paths of their numbers')
    size: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description='Float64MultiArray, Float32MultiArray: how many numbers')
    parent_frame: Frame = Field('', description='TFMessage: the frame in which child_frame is looked up')
    child_frame: Frame = Field('', description='TFMessage: the frame whose pose becomes x y z qx qy qz qw')

    @field_validator('units')
    @classmethod
    def _units(cls, value: str) -> str:
        return check_units(value)

    @model_validator(mode='after')
    def _fits_its_type(self) -> 'Observation':
        try:
            tensor_spec(self)
        except ContractError as error:
            raise ValueError(str(error)) from None
        return self


class Readout(Strict):
    """One number of a topic that readout heads learn to estimate (LeCun §4.5.2)."""

    role: ClassVar[str] = 'readout'

    name: Key = Field(description='with its unit: x_m')
    topic: Topic
    type: MsgType = Field(description='message type: package/msg/Name')
    field: FieldPath = Field(description='path inside the message: pose.pose.position.x, pose.pose.orientation.yaw, '
                             'position[elbow]')
    align: Literal['hold', 'asof'] = Field(
        'hold', description='hold: newest sample whatever its age; asof: rows of a bag without one that is younger '
        'than timeout_s are left out')
    timeout_s: Seconds = Field(0.5, description='age in s after which a sample is stale')


class ActionField(Strict):
    """One number of a command and its limits."""

    name: Key = Field(description='with its unit: vx_mps')
    field: FieldPath = Field(description='path inside the message: linear.x, position[elbow], data[0]')
    min: float
    max: float
    max_rate: Annotated[float, Field(gt=0)] = Field(description='largest change per second the gate lets through')

    @model_validator(mode='after')
    def _ordered(self) -> 'ActionField':
        if not self.min < self.max:
            raise ValueError(f'min ({self.min:g}) must be less than max ({self.max:g})')
        return self


class ActionStream(Strict):
    """A command topic and what the gate sends on it when it may not move the robot."""

    role: ClassVar[str] = 'action'

    key: Key
    topic: Topic
    type: MsgType = Field(description='message type: package/msg/Name', examples=list(COMMAND_TYPES))
    fields: Annotated[list[ActionField], Field(min_length=1)]
    safe: Literal['zeros', 'hold'] = Field(
        'zeros', description='what is sent when the robot may not move: zeros, or the last command (an arm, a gripper)')
    timeout_s: Seconds = Field(0.25, description='the robot stops by itself after this long without a command')
    align: Literal['asof', 'hold'] = Field(
        'asof', description='how recorded commands are read: asof counts for timeout_s, then the robot has stopped; '
        'hold counts until the next, for publishers that speak only on change')
    frame: Frame = Field('', description='frame_id written into the header of stamped commands')
    units: str = Field('', description='units of the values where their names do not say: m/s, normalised')
    joints: list[Joint] = Field([], description="JointTrajectory: joints in the message's order; default: as in fields")
    time_from_start_s: Seconds | None = Field(
        None, description='JointTrajectory: when the joints are to be there; default: control_period_s')

    @field_validator('units')
    @classmethod
    def _units(cls, value: str) -> str:
        return check_units(value)

    @model_validator(mode='after')
    def _fits_its_type(self) -> 'ActionStream':
        for field in self.fields:
            if self.safe == 'zeros' and not field.min <= 0 <= field.max:
                raise ValueError(f'{field.name}: 0 must lie within [{field.min:g}, {field.max:g}], it is the command '
                                 'that stops the robot; or set safe: hold')
        try:
            check_command(self)
        except ContractError as error:
            raise ValueError(str(error)) from None
        return self
