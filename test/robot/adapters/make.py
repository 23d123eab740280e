"""Observations and messages for the tests of the adapters."""
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from jepa_ros.robot.bag_types import typestore, unpack
from jepa_ros.robot.streams import ActionStream, Observation


def observation(kind: str, **fields) -> Observation:
    """Observation of `package/msg/Name` on topic `sensor`."""
    return Observation(**dict({'key': 'it', 'topic': 'sensor', 'type': kind}, **fields))


def action(kind: str, paths: list[str], **fields) -> ActionStream:
    """Action stream on topic `command`, one field of ±2 for each path."""
    numbers = [dict(name=f'a{i}', field=path, min=-2.0, max=2.0, max_rate=1.0) for i, path in enumerate(paths)]
    return ActionStream(**dict({'key': 'it', 'topic': 'command', 'type': kind, 'fields': numbers}, **fields))


def recorded(message):
    """The same message as a bag gives it: a dataclass of `rosbags`."""
    kind = type(message)
    name = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
    return unpack(typestore(), serialize_message(message), name)


def image(pixels: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> Image:
    """Image message of (H, W) or (H, W, C) of any element type, with `padding` bytes behind each row."""
    swapped = pixels.astype(pixels.dtype.newbyteorder('>' if big_endian else '<'))
    rows = np.ascontiguousarray(swapped).view(np.uint8).reshape(len(pixels), -1)
    data = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=data.shape[1],
                    is_bigendian=int(big_endian))
    message.data.frombytes(np.ascontiguousarray(data).tobytes())
    return message
