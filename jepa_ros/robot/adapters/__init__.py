"""Messages to arrays and back, by the robot contract (design §7).

The same functions take rclpy messages and the dataclasses of `rosbags`, so live topics and bags give identical
tensors:

- `to_array(stream, message)`: Observation -> its tensor, Readout -> () float32, ActionStream -> (fields,) float32
- `tensor_spec(observation)`: shape, type and, for plain numbers, names of that tensor
- `TransformReader(observation)`: the tensor of frames whose links `tf` tells in several messages
- `command_message(action_stream, message_class, values, stamp)`: a command to publish; `to_array` inverts it

Another package adds a message type with an entry point of the group `jepa_ros.adapters`, named by the type:

    [project.entry-points."jepa_ros.adapters"]
    "my_msgs/msg/Sonar" = "my_package.sonar:ADAPTER"

where `ADAPTER = jepa_ros.robot.adapters.Adapter(to_array, tensor_spec, needs=('size',))` holds two functions of the
observation (see `spec.py`). A plain function `(observation, message) -> array` is an adapter too: it makes an image,
uint8 (height, width, 3), unless it has an attribute `tensor_spec`, a function of the observation.
"""
import difflib
from functools import cache
from importlib.metadata import entry_points, EntryPoint

import numpy as np

from ...errors import ContractError
from .commands import check_command, command_message, COMMAND_TYPES, fill, read_command, to_command
from .fields import FIELD_PATTERN, read_field, read_fields
from .images import COMPRESSED_IMAGE, IMAGE, image_spec
from .proprioception import IMU, JOINT_STATE, MULTI_ARRAY, ODOMETRY, PLAIN
from .ranges import LASER_SCAN, POINT_CLOUD
from .spec import Adapter, check_options, OPTIONS, TensorSpec
from .transforms import TRANSFORM, TransformReader, TransformTree
from .transforms import TYPE as TRANSFORM_TYPE

__all__ = ['ADAPTERS', 'Adapter', 'COMMAND_TYPES', 'FIELD_PATTERN', 'JOINT_STATE_TYPE', 'OPTIONS', 'TRANSFORM_TYPE',
           'TensorSpec', 'TransformReader', 'TransformTree', 'check_command', 'command_message', 'fill',
           'observation_types', 'read_fields', 'tensor_spec', 'to_array', 'to_command']

JOINT_STATE_TYPE = 'sensor_msgs/msg/JointState'
ADAPTERS: dict[str, Adapter] = {
    'sensor_msgs/msg/Image': IMAGE, 'sensor_msgs/msg/CompressedImage': COMPRESSED_IMAGE,
    'sensor_msgs/msg/LaserScan': LASER_SCAN, 'sensor_msgs/msg/PointCloud2': POINT_CLOUD,
    JOINT_STATE_TYPE: JOINT_STATE, 'sensor_msgs/msg/Imu': IMU, 'nav_msgs/msg/Odometry': ODOMETRY,
    'std_msgs/msg/Float64MultiArray': MULTI_ARRAY, 'std_msgs/msg/Float32MultiArray': MULTI_ARRAY,
    TRANSFORM_TYPE: TRANSFORM}


def to_array(stream, message) -> np.ndarray | np.float32:
    """Array of one message of a contract's stream.

    Observation -> `tensor_spec(stream)`; Readout -> () float32; ActionStream -> (fields,) float32. `ContractError`
    names topic and field.
    """
    if stream.role == 'observation':
        return adapter_of(stream).to_array(stream, message)
    if stream.role == 'action':
        return read_command(stream, message)
    return np.float32(read_field(stream.topic, message, stream.field))


def tensor_spec(observation) -> TensorSpec:
    """Shape, type and names of an observation's tensor; `ContractError` where its entry makes no sense.

    rgb8 (H, W, 3) uint8; mono8 (H, W, 1) uint8; depth and PointCloud2 (2, H, W), LaserScan (2, beams) float32 with the
    validity as second channel; everything else (n,) float32 with names.
    """
    adapter = adapter_of(observation)
    check_options(observation, adapter)
    return adapter.tensor_spec(observation)


def observation_types() -> list[str]:
    """Message types with an adapter; any other type is read by its field paths."""
    return sorted({*ADAPTERS, *_entries()})


def adapter_of(observation) -> Adapter:
    """Adapter of an observation; `ContractError` with the nearest type where there is none."""
    name = observation.type
    if name in ADAPTERS:
        return ADAPTERS[name]
    if name in _entries():
        return _third_party(name)
    if observation.fields:
        return PLAIN
    names = observation_types()
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f'; did you mean {close[0]!r}?' if close else ''
    raise ContractError(f'no adapter for {name!r}{hint} (known: {", ".join(names)}; a message of another type needs '
                        'fields, the paths of its numbers)')


@cache
def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group='jepa_ros.adapters')}


@cache
def _third_party(name: str) -> Adapter:
    where = f'the entry point {name} of group jepa_ros.adapters'
    try:
        found = _entries()[name].load()
    except Exception as error:  # another package's code: whatever it raises, this is what is wrong
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        raise ContractError(f'{where} cannot be loaded: {reason}') from error
    if isinstance(found, Adapter):
        return found
    if not callable(found):
        raise ContractError(f'{where} is of type {type(found).__name__}, neither an Adapter nor a function')
    return Adapter(found, getattr(found, 'tensor_spec', image_spec), may=tuple(OPTIONS))
