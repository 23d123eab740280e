"""Numbers of a message by their paths: `pose.pose.position.x`, `data[0]`, `position[elbow]`, `orientation.yaw`.

A bracket holds an index or, in JointState and JointTrajectory, a joint's name. Behind a quaternion stand the derived
`roll`, `pitch` and `yaw` in rad (fixed axes x, y, z, REP-103).
"""
from collections.abc import Callable
from functools import lru_cache
import math
import re
from typing import NamedTuple

import numpy as np
from transforms3d.euler import quat2euler

from ...errors import ContractError

FIELD_PATTERN = r'^[a-z][A-Za-z0-9_]*(\[[^\[\]]+\])?(\.[a-z][A-Za-z0-9_]*(\[[^\[\]]+\])?)*$'
ANGLES = ('roll', 'pitch', 'yaw')
_PART = re.compile(r'([A-Za-z]\w*)(?:\[([^\[\]]+)\])?(?:\.|$)')
_LARGEST = float(np.finfo(np.float32).max)
_NORM_SLACK = 0.05     # of a quaternion's norm: enough for single precision, too little for one nobody has set


class Part(NamedTuple):
    """One step of a path: a field and, in brackets, which of its elements ('' for none)."""

    name: str
    element: str


@lru_cache(maxsize=1024)
def parts_of(path: str) -> tuple[Part, ...]:
    """Steps of a path that fits `FIELD_PATTERN`."""
    return tuple(Part(name, element or '') for name, element in _PART.findall(path))


def read_fields(topic: str, message, paths: list[str]) -> np.ndarray:
    """(n,) float32, one number per path; `ContractError` names topic and field."""
    return np.array([read_field(topic, message, path) for path in paths], np.float32)


def read_field(topic: str, message, path: str) -> float:
    """The finite number at `path`; `ContractError` names topic and field where there is none."""
    value = message
    for part in parts_of(path):
        owner, value = value, getattr(value, part.name, None)
        if value is None and part.name in ANGLES and hasattr(owner, 'w'):
            value = rpy(topic, owner, path)[ANGLES.index(part.name)]
        if value is None:
            raise ContractError(f'{topic}: {_kind(message)} has no field {path!r}; correct it in the robot contract')
        if part.element:
            value = _element(topic, owner, value, part, path)
    return finite(topic, value, path)


def finite(topic: str, value, path: str) -> float:
    """`value` as a float that float32 can hold; `ContractError` otherwise."""
    if isinstance(value, (str, bytes)) or not isinstance(value, (int, float, np.number, np.bool_)):
        raise ContractError(f'{topic}: field {path!r} is {_kind(value)}, not a number')
    number = float(value)
    if not abs(number) <= _LARGEST:     # NaN too
        raise ContractError(f'{topic}: {path} is {number:g}, not a finite number')
    return number


def all_finite(topic: str, values: np.ndarray, names: Callable[[], tuple[str, ...]]) -> np.ndarray:
    """(n,) float32 of float64 `values`; `ContractError` names the first that is not finite."""
    good = np.abs(values) <= _LARGEST
    if not good.all():
        wrong = int(np.argmin(good))
        raise ContractError(f'{topic}: {names()[wrong]} is {values[wrong]:g}, not a finite number')
    return values.astype(np.float32)


def rotation(topic: str, quaternion, path: str) -> tuple[float, float, float, float]:
    """(w, x, y, z) of a geometry_msgs/Quaternion, of norm 1; `ContractError` where it is no rotation."""
    w, x, y, z = (float(getattr(quaternion, axis)) for axis in 'wxyz')
    norm = math.sqrt(w * w + x * x + y * y + z * z)
    if not abs(norm - 1) <= _NORM_SLACK:
        raise ContractError(f'{topic}: {path} is no rotation: quaternion x={x:g} y={y:g} z={z:g} w={w:g} has norm '
                            f'{norm:g}, not 1')
    return w / norm, x / norm, y / norm, z / norm


def rpy(topic: str, quaternion, path: str) -> tuple[float, float, float]:
    """Roll, pitch, yaw in rad about the fixed axes x, y, z."""
    return quat2euler(rotation(topic, quaternion, path), 'sxyz')


def joint_names(message) -> list[str] | None:
    """Names that brackets may hold: those of JointState or JointTrajectory."""
    return getattr(message, 'joint_names', None) or getattr(message, 'name', None)


def _element(topic: str, owner, values, part: Part, path: str):
    names = joint_names(owner)
    if isinstance(names, (list, tuple)) and part.element in names:
        index = names.index(part.element)
    elif part.element.isdecimal():
        index = int(part.element)
    elif isinstance(names, (list, tuple)):
        raise ContractError(f'{topic}: {path}: joint {part.element!r} is missing; the message has '
                            f'{", ".join(names) or "none"}')
    else:
        raise ContractError(f'{topic}: {path}: {_kind(owner)} has no joint names, use a number such as {part.name}[0]')
    try:
        return values[index]
    except (IndexError, TypeError, KeyError):
        count = len(values) if hasattr(values, '__len__') else 'no'
        raise ContractError(f'{topic}: {path}: {part.name} has {count} elements') from None


def _kind(value) -> str:
    return type(value).__name__.rsplit('__', 1)[-1]     # rosbags calls its classes nav_msgs__msg__Odometry
