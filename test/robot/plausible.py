"""Messages of every type that a robot contract can name, made up but valid, all different, by number.

One message serves all streams of its topic. Values are random with a seed of their own: equal numbers, equal messages.
"""
from collections.abc import Sequence

import cv2
import numpy as np

from jepa_ros.robot.adapters.commands import fill
from jepa_ros.robot.adapters.fields import ANGLES, parts_of
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.ros_types import message_class

JOINT_STATE, TRAJECTORY = 'sensor_msgs/msg/JointState', 'trajectory_msgs/msg/JointTrajectory'


def streams_of(contract: RobotContract) -> dict[str, list]:
    """Topic -> its observations, readouts and actions."""
    topics: dict[str, list] = {}
    for stream in (*contract.observations, *contract.readouts, *contract.actions):
        topics.setdefault(stream.topic, []).append(stream)
    return topics


def message_for(streams: Sequence, number: int, stamp_ns: int):
    """The `number`-th message of the topic of `streams`."""
    rng = np.random.default_rng([number, len(streams[0].topic)])
    kind = streams[0].type
    message = message_class(kind, streams[0].topic)()
    if hasattr(message, 'header'):
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        message.header.frame_id = next((f for s in streams if (f := getattr(s, 'frame', ''))), 'base_link')
    if kind in FILLERS:
        FILLERS[kind](message, streams, rng)
    else:
        _plain(message, streams, rng)
    return message


def _paths(streams: Sequence) -> list[str]:
    """All field paths that anybody reads on a topic."""
    paths: list[str] = []
    for stream in streams:
        own = [stream.field] if stream.role == 'readout' else [getattr(f, 'field', f) for f in stream.fields]
        paths += [path for path in own if path not in paths]
    return paths


def _quaternion(rng) -> dict[str, float]:
    values = rng.normal(size=4)
    return dict(zip('xyzw', map(float, values / np.linalg.norm(values))))


def _set(part, values: dict[str, float]) -> None:
    for name, value in values.items():
        setattr(part, name, value)


def _plain(message, streams, rng) -> None:
    """Numbers at the paths; behind an orientation, a whole rotation."""
    numbers = {}
    for path in _paths(streams):
        *parents, last = [part.name for part in parts_of(path)]
        if last in ANGLES or (parents and parents[-1] == 'orientation'):
            inner = message
            for name in parents:
                inner = getattr(inner, name)
            _set(inner, _quaternion(rng))
        else:
            numbers[path] = float(rng.normal())
    fill(message, numbers)


def _image(message, streams, rng) -> None:
    depth = streams[0].encoding == 'depth'
    pixels = _pixels(streams[0], rng)
    message.height, message.width = pixels.shape[:2]
    message.encoding = '16UC1' if depth else 'bgr8'
    message.step = pixels.strides[0]
    message.data.frombytes(pixels.tobytes())


def _pixels(observation, rng) -> np.ndarray:
    """Of an odd size that has to be resized: (h, w) uint16 mm with holes for depth, else (h, w, 3) uint8."""
    height, width = observation.height + 7, observation.width + 12
    if observation.encoding == 'depth':
        return rng.integers(0, 9000, (height, width), np.uint16) * rng.integers(0, 2, (height, width), np.uint16)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def _compressed(message, streams, rng) -> None:
    depth = streams[0].encoding == 'depth'
    message.format = '16UC1; png compressed' if depth else 'bgr8; jpeg compressed bgr8'
    done, data = cv2.imencode('.png' if depth else '.jpg', _pixels(streams[0], rng))
    assert done
    message.data.frombytes(data.tobytes())


def _scan(message, streams, rng) -> None:
    beams = streams[0].beams + 1
    message.angle_min, message.angle_max, message.angle_increment = -3.0, 3.0, 6.0 / (beams - 1)
    message.range_min, message.range_max = 0.1, 8.0
    ranges = rng.uniform(0.0, 9.0, beams).astype(np.float32)
    ranges[::5], ranges[1::7], ranges[2::11] = 0.0, np.inf, np.nan
    message.ranges.frombytes(ranges.tobytes())


def _cloud(message, streams, rng) -> None:
    from sensor_msgs.msg import PointField
    count = 500
    points = rng.normal(size=(count, 3)).astype(np.float32) * 3
    points[::50] = np.nan
    message.height, message.width, message.point_step, message.row_step = 1, count, 12, 12 * count
    message.fields = [PointField(name=n, offset=4 * i, datatype=PointField.FLOAT32, count=1)
                      for i, n in enumerate('xyz')]
    message.data.frombytes(points.tobytes())


def _joints(message, streams, rng) -> None:
    names = [joint for s in streams for joint in getattr(s, 'joints', ())]
    names += [part.element for path in _paths([s for s in streams if s.role != 'observation'])
              for part in parts_of(path) if part.element]
    message.name = [str(name) for name in rng.permutation(['a_caster', *dict.fromkeys(names)])]
    for field in ('position', 'velocity', 'effort'):
        setattr(message, field, rng.normal(size=len(message.name)).tolist())


def _imu(message, streams, rng) -> None:
    _set(message.orientation, _quaternion(rng))
    for part in (message.angular_velocity, message.linear_acceleration):
        _set(part, dict(zip('xyz', rng.normal(size=3).tolist())))


def _array(message, streams, rng) -> None:
    sizes = [s.size for s in streams if s.role == 'observation'] or [len(_paths(streams))]
    message.data = rng.normal(size=sizes[0]).tolist()


def _trajectory(message, streams, rng) -> None:
    fill(message, {path: float(rng.uniform(-0.5, 0.5)) for path in _paths(streams)})


FILLERS = {
    'sensor_msgs/msg/Image': _image, 'sensor_msgs/msg/CompressedImage': _compressed,
    'sensor_msgs/msg/LaserScan': _scan, 'sensor_msgs/msg/PointCloud2': _cloud, JOINT_STATE: _joints,
    'sensor_msgs/msg/Imu': _imu, 'std_msgs/msg/Float64MultiArray': _array, 'std_msgs/msg/Float32MultiArray': _array,
    TRAJECTORY: _trajectory}
