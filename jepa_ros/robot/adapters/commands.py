"""Commands: values of an action stream to its ROS message, and recorded messages back to values.

`command_message` makes the message to publish; `read_command` inverts it. Any type whose fields are numbers works;
those of Twist, TwistStamped, JointTrajectory, Float64MultiArray and AckermannDriveStamped are checked beforehand.
Loads no OpenCV and no torch: the command gate starts with it.
"""
from collections.abc import Iterable
import math

import numpy as np

from ...errors import ContractError
from ..ros_types import message_class
from .fields import finite, parts_of, read_fields

JOINT_TRAJECTORY = 'trajectory_msgs/msg/JointTrajectory'
TIME_FROM_START = 'time_from_start'     # of the one point of a JointTrajectory, in s
POINT_FIELDS = {'position': 'positions', 'velocity': 'velocities', 'acceleration': 'accelerations', 'effort': 'effort'}
_TWIST = tuple(f'{part}.{axis}' for part in ('linear', 'angular') for axis in 'xyz')
_ACKERMANN = ('steering_angle', 'steering_angle_velocity', 'speed', 'acceleration', 'jerk')
FIELDS = {
    'geometry_msgs/msg/Twist': _TWIST,
    'geometry_msgs/msg/TwistStamped': tuple(f'twist.{path}' for path in _TWIST),
    'ackermann_msgs/msg/AckermannDrive': _ACKERMANN,
    'ackermann_msgs/msg/AckermannDriveStamped': tuple(f'drive.{path}' for path in _ACKERMANN)}
ARRAYS = ('std_msgs/msg/Float64MultiArray', 'std_msgs/msg/Float32MultiArray')
COMMAND_TYPES = (*FIELDS, JOINT_TRAJECTORY, *ARRAYS)     # whose fields are checked when a contract is read


def command_message(stream, kind: type, values: Iterable[float], stamp=None):
    """Message of ROS class `kind` with one command (fields,) in SI units.

    `stamp`, a builtin_interfaces/Time, and the stream's frame go into the header where the type has one.
    """
    message = fill(kind(), to_command(stream, values)[1])
    if hasattr(message, 'header'):
        message.header.frame_id = stream.frame
        if stamp is not None:
            message.header.stamp = stamp
    return message


def to_command(stream, values: Iterable[float]) -> tuple[str, dict[str, float]]:
    """Message type and `{field path: value}` of one command; `ContractError` for a wrong count or no finite value.

    For a JointTrajectory the paths come in the order of its joints, and `time_from_start` in s with them.
    """
    values = [float(v) for v in values]
    if len(values) != len(stream.fields):
        names = ', '.join(f.name for f in stream.fields)
        raise ContractError(f'{stream.topic}: {len(values)} values for {len(stream.fields)} fields ({names})')
    for field, value in zip(stream.fields, values):
        if not math.isfinite(value):
            raise ContractError(f'{stream.topic}: {field.field} ({field.name}) is {value}')
    command = {f.field: v for f, v in zip(stream.fields, values)}
    if stream.type == JOINT_TRAJECTORY:
        rank = {joint: i for i, joint in enumerate(stream.joints)}
        order = sorted(command, key=lambda path: rank.get(parts_of(path)[0].element, 0))
        command = {path: command[path] for path in order} | {TIME_FROM_START: stream.time_from_start_s or 0.0}
    return stream.type, command


def fill(message, fields: dict[str, float]):
    """Set `{field path: value}` in a ROS message and return it; `ContractError` for an unknown field."""
    if hasattr(message, 'joint_names') and hasattr(message, 'points'):
        return _fill_trajectory(message, dict(fields))
    elements: dict[str, dict[int, float]] = {}      # path of a sequence -> its elements
    for path, value in fields.items():
        if path.endswith(']'):
            sequence, _, index = path[:-1].rpartition('[')
            if not index.isdecimal():
                raise ContractError(f'{type(message).__name__}: {path!r} needs a number in its brackets; correct it in '
                                    'the robot contract')
            elements.setdefault(sequence, {})[int(index)] = value
        else:
            owner, last = _owner(message, path)
            current = getattr(owner, last)
            if not isinstance(current, (int, float)) or isinstance(current, bool):
                raise ContractError(f'{type(message).__name__}: {path!r} is no number; correct it in the robot '
                                    'contract')
            setattr(owner, last, round(value) if isinstance(current, int) else value)
    for path, values in elements.items():
        _fill_sequence(message, path, values)
    return message


def _owner(message, path: str):
    """What holds the last field of a path, and that field's name."""
    *parents, last = path.split('.')
    inner = message
    for part in parents:
        inner = getattr(inner, part, None)
    if not hasattr(inner, last):
        raise ContractError(f'{type(message).__name__} has no field {path!r}; correct it in the robot contract')
    return inner, last


def _fill_sequence(message, path: str, values: dict[int, float]) -> None:
    owner, last = _owner(message, path)
    current = getattr(owner, last)
    if max(values) < len(current):
        for index, value in values.items():
            current[index] = value
    elif len(current) == 0 and sorted(values) == list(range(len(values))):
        setattr(owner, last, [values[i] for i in range(len(values))])
    else:
        raise ContractError(f'{type(message).__name__}: {path} must be given whole, from {path}[0] on without gaps; '
                            'correct it in the robot contract')


def _fill_trajectory(message, fields: dict[str, float]):
    """One point that names its joints: the state to reach `time_from_start` from now."""
    seconds = fields.pop(TIME_FROM_START, 0.0)
    by_kind: dict[str, dict[str, float]] = {}       # 'position' -> joint -> value
    for path, value in fields.items():
        part, *more = parts_of(path)
        if more or not part.element or part.name not in POINT_FIELDS:
            raise ContractError(f'JointTrajectory has no field {path!r}, it has position[<joint>]; correct it in the '
                                'robot contract')
        by_kind.setdefault(part.name, {})[part.element] = value
    joints = list(next(iter(by_kind.values())))
    point = message_class('trajectory_msgs/msg/JointTrajectoryPoint', 'joint trajectory')()
    for kind, values in by_kind.items():
        setattr(point, POINT_FIELDS[kind], [values[joint] for joint in joints])
    nanoseconds = round(seconds * 1e9)
    point.time_from_start.sec, point.time_from_start.nanosec = divmod(nanoseconds, 1_000_000_000)
    message.joint_names, message.points = joints, [point]
    return message


def read_command(stream, message) -> np.ndarray:
    """(fields,) float32 of one recorded command; `ContractError` names topic and field."""
    if stream.type != JOINT_TRAJECTORY:
        return read_fields(stream.topic, message, [f.field for f in stream.fields])
    if len(message.points) != 1:
        raise ContractError(f'{stream.topic}: the trajectory has {len(message.points)} points; a command has one')
    point, where = message.points[0], {name: i for i, name in enumerate(message.joint_names)}
    return np.array([_trajectory_value(stream.topic, point, where, f.field) for f in stream.fields], np.float32)


def _trajectory_value(topic: str, point, where: dict[str, int], path: str) -> float:
    part = parts_of(path)[0]
    if part.element not in where:
        raise ContractError(f'{topic}: joint {part.element!r} is missing; the trajectory has '
                            f'{", ".join(where) or "none"}')
    values = getattr(point, POINT_FIELDS[part.name])
    if len(values) != len(where):
        raise ContractError(f'{topic}: {POINT_FIELDS[part.name]} has {len(values)} values for {len(where)} joints')
    return finite(topic, values[where[part.element]], path)


def check_command(stream) -> None:
    """`ContractError` where the fields cannot be those of the stream's message type."""
    paths = [field.field for field in stream.fields]
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise ContractError(f'field {twice[0]!r} is commanded twice')
    if stream.type != JOINT_TRAJECTORY:
        if stream.joints or stream.time_from_start_s is not None:
            key = 'joints' if stream.joints else 'time_from_start_s'
            raise ContractError(f'{key} belongs to {JOINT_TRAJECTORY}, not to {stream.type}')
    known = FIELDS.get(stream.type)
    wrong = [path for path in paths if known and path not in known]
    if wrong:
        raise ContractError(f'{stream.type} has no field {wrong[0]!r}, it has {", ".join(known or ())}')
    if stream.type in ARRAYS and sorted(paths) != sorted(f'data[{i}]' for i in range(len(paths))):
        raise ContractError(f'the fields of {stream.type} must be data[0] to data[{len(paths) - 1}], each once')
    if stream.type == JOINT_TRAJECTORY:
        _check_joints(stream, paths)


def _check_joints(stream, paths: list[str]) -> None:
    joints: dict[str, list[str]] = {}       # 'position' -> joints
    for path in paths:
        part, *more = parts_of(path)
        if more or not part.element or part.name not in POINT_FIELDS:
            raise ContractError(f'{stream.type} has no field {path!r}, it has '
                                f'{", ".join(f"{kind}[<joint>]" for kind in POINT_FIELDS)}')
        joints.setdefault(part.name, []).append(part.element)
    named = stream.joints or next(iter(joints.values()))
    twice = [joint for joint in named if named.count(joint) > 1]
    if twice:
        raise ContractError(f'joints lists {twice[0]!r} twice')
    for kind, have in joints.items():
        odd = sorted(set(have) ^ set(named))
        if odd:
            raise ContractError(f'joint {odd[0]!r} has no field {kind}[{odd[0]}] or is not in joints: each joint needs '
                                'the same fields')
