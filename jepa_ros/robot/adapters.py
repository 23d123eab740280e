"""Messages to arrays and back, by the robot contract (design §7).

The same functions take rclpy messages and the dataclasses of `rosbags`, so live topics and bags give identical
tensors. A new kind of observation is one function `(observation, message) -> array`, registered in `ADAPTERS`
or, from another package, as an entry point of the group `jepa_ros.adapters` named by the message type.
"""
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import entry_points
import math

import numpy as np

from ..errors import ContractError

_CHANNELS = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}


def to_array(stream, message) -> np.ndarray | np.float32:
    """Array of one message of a contract's stream.

    Observation -> its percept, uint8 (height, width, 3) RGB; Readout -> () float32; ActionStream -> (fields,) float32.
    `ContractError` names topic and field.
    """
    if hasattr(stream, 'height'):
        return _adapters()[stream.type](stream, message)
    if hasattr(stream, 'fields'):
        return np.array([_number(stream.topic, message, f.field) for f in stream.fields], np.float32)
    return np.float32(_number(stream.topic, message, stream.field))


def to_command(stream, values: Iterable[float]) -> tuple[str, dict[str, float]]:
    """Message type and `{field path: value}` of one command; `ContractError` for a wrong count or no finite value."""
    values = [float(v) for v in values]
    if len(values) != len(stream.fields):
        names = ', '.join(f.name for f in stream.fields)
        raise ContractError(f'{stream.topic}: {len(values)} values for {len(stream.fields)} fields ({names})')
    for field, value in zip(stream.fields, values):
        if not math.isfinite(value):
            raise ContractError(f'{stream.topic}: {field.field} ({field.name}) is {value}')
    return stream.type, {f.field: v for f, v in zip(stream.fields, values)}


def fill(message, fields: dict[str, float]):
    """Set `{field path: value}` in a ROS message and return it; `ContractError` for an unknown field."""
    for path, value in fields.items():
        *parents, last = path.split('.')
        inner = message
        for part in parents:
            inner = getattr(inner, part, None)
        if not hasattr(inner, last):
            raise ContractError(f'{type(message).__name__} has no field {path!r}; correct it in the robot contract')
        setattr(inner, last, value)
    return message


def image_to_array(observation, message) -> np.ndarray:
    """sensor_msgs/Image in one of `_CHANNELS` -> uint8 (height, width, 3) RGB, resized with area interpolation."""
    topic = observation.topic
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        raise ContractError(f'{topic}: encoding {message.encoding!r} is not supported ({", ".join(_CHANNELS)} are)')
    height, width, row = message.height, message.width, message.step or message.width * channels
    data = np.frombuffer(message.data, np.uint8)
    if height < 1 or width < 1 or row < width * channels or len(data) < row * height:
        raise ContractError(f'{topic}: data has {len(data)} bytes, {width}×{height} {message.encoding} with step {row} '
                            f'needs {row * height}')
    pixels = data[:row * height].reshape(height, row)[:, :width * channels].reshape(height, width, channels)
    if message.encoding == 'mono8':
        pixels = np.repeat(pixels, 3, axis=2)
    elif message.encoding.startswith('bgr'):
        pixels = pixels[:, :, 2::-1]
    else:
        pixels = pixels[:, :, :3]   # without transparency
    return _resize(pixels, observation.height, observation.width)


def _resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (H, W, 3) -> (height, width, 3), always a new contiguous array."""
    if pixels.shape[:2] == (height, width):
        return np.array(pixels, order='C')
    import cv2  # here, so that the command gate starts without loading OpenCV
    return cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA)


ADAPTERS: dict[str, Callable] = {'sensor_msgs/msg/Image': image_to_array}


@cache
def _adapters() -> dict[str, Callable]:
    return {**{entry.name: entry.load() for entry in entry_points(group='jepa_ros.adapters')}, **ADAPTERS}


def observation_types() -> list[str]:
    """Message types an observation may have."""
    return sorted(_adapters())


def _number(topic: str, message, path: str) -> float:
    value = message
    for part in path.split('.'):
        value = getattr(value, part, None)
        if value is None:
            name = type(message).__name__
            raise ContractError(f'{topic}: {name} has no field {path!r}; correct it in the robot contract')
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ContractError(f'{topic}: field {path!r} is {type(value).__name__}, not a number') from None
