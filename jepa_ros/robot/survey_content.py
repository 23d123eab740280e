"""What is inside messages, noted into a `TopicSurvey`: shapes, valid beams, joints, transforms, numbers.

One function per kind of message; any other is taken apart into its numbers. Messages may be rclpy's or rosbags'.
"""
from array import array
from collections.abc import Callable, Iterator
import math

import numpy as np

from ..errors import ContractError
from .arrivals import Arrivals

MAX_LIST = 64        # numbers of a longer list are data (an image, a map), not values to be named one by one
IMAGE_EVERY = 25     # one compressed image of so many is unpacked to see its size
DEPTH_HEADER = 12    # bytes before the PNG of a compressedDepth image
CLOUD_EVERY = 5      # one point cloud of so many is taken apart


def describe(topic, message) -> None:
    """Note what one message holds in `topic`, a `TopicSurvey`."""
    _KINDS.get(topic.type, _numbers)(topic, message)


def yaw_roll_pitch(x: float, y: float, z: float, w: float) -> tuple[float, float, float]:
    """(yaw, roll, pitch) in rad of a quaternion; NaN for one of length 0."""
    from transforms3d.euler import quat2euler
    if x == y == z == w == 0:
        return math.nan, math.nan, math.nan
    roll, pitch, yaw = quat2euler((w, x, y, z), 'sxyz')
    return yaw, roll, pitch


def leaves(message, prefix: str = '') -> Iterator[tuple[str, float]]:
    """(field path, value) of all numbers of a message but its header and covariances; lists up to `MAX_LIST`."""
    for name in _field_names(message):
        if name in ('header', 'layout') or name.endswith('covariance'):
            continue
        value, path = getattr(message, name), f'{prefix}{name}'
        if isinstance(value, (bool, int, float, np.number)):
            yield path, float(value)
        elif _field_names(value):
            yield from leaves(value, f'{path}.')
            if {'x', 'y', 'z', 'w'} <= set(_field_names(value)):
                angles = yaw_roll_pitch(value.x, value.y, value.z, value.w)
                yield from zip((f'{path}.yaw', f'{path}.roll', f'{path}.pitch'), angles)
        elif not isinstance(value, (str, bytes)) and _is_numbers(value):
            yield from ((f'{path}[{i}]', float(v)) for i, v in enumerate(value))


def _field_names(message) -> list[str]:
    if hasattr(message, 'get_fields_and_field_types'):                                   # rclpy
        return list(message.get_fields_and_field_types())
    return [n for n in getattr(message, '__dataclass_fields__', {}) if n != '__msgtype__']  # rosbags


def _is_numbers(value) -> bool:
    return hasattr(value, '__len__') and 0 < len(value) <= MAX_LIST and isinstance(
        value[0], (bool, int, float, np.number))


def _note(topic, path: str, value: float) -> None:
    topic.numbers.setdefault(path, array('d')).append(value)


def _note_part(topic, part: tuple[str, ...], header) -> None:
    topic.parts.setdefault(part, Arrivals()).arrive(topic.recorded - 1, topic.log_ns[-1], header)


def _numbers(topic, message) -> None:
    for path, value in leaves(message):
        _note(topic, path, value)


def _multi_array(topic, message) -> None:
    topic.forms[f'{len(message.data)} numbers'] += 1
    topic.facts.setdefault('numbers', len(message.data))
    _numbers(topic, message)


def _image(topic, message) -> None:
    topic.forms[f'{message.width}×{message.height} {message.encoding}'] += 1
    if message.height and message.width:    # the first one of a camera may be empty
        topic.facts.setdefault('size', (message.height, message.width))
        topic.facts.setdefault('encoding', message.encoding)


def _compressed(topic, message) -> None:
    if 'size' in topic.facts and (topic.recorded - 1) % IMAGE_EVERY:
        return
    import cv2
    data = np.frombuffer(message.data, np.uint8)
    if 'compressedDepth' in message.format:
        data = data[DEPTH_HEADER:]
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if pixels is None:
        topic.forms[f'{message.format or "no format"}: not an image'] += 1
        return
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    topic.forms[f'{pixels.shape[1]}×{pixels.shape[0]} {message.format.split(";")[0].strip() or "compressed"}'] += 1
    topic.facts.setdefault('size', pixels.shape[:2])
    topic.facts.setdefault('encoding', '16UC1' if pixels.dtype == np.uint16 else {1: 'mono8'}.get(channels, 'rgb8'))


def _scan(topic, message) -> None:
    ranges = np.frombuffer(message.ranges, np.float32)
    topic.forms[f'{len(ranges)} beams'] += 1
    for key, value in (('beams', len(ranges) or None), ('range_min_m', float(message.range_min)),
                       ('range_max_m', float(message.range_max)),
                       ('angle_rad', float(message.angle_max - message.angle_min))):
        if value is not None:       # a scan without beams says nothing of the others
            topic.facts.setdefault(key, value)
    finite = np.isfinite(ranges)
    inside = finite & (ranges > 0) & (ranges >= message.range_min) & (ranges <= message.range_max)
    topic.tallies.update({
        'seen': len(ranges), 'valid': int(inside.sum()), 'zero': int((ranges == 0).sum()),
        'inf': int(np.isinf(ranges).sum()), 'nan': int(np.isnan(ranges).sum()),
        'outside': int((finite & ~inside & (ranges != 0)).sum())})
    _note(topic, 'valid_share', float(inside.mean()) if len(ranges) else 0.0)


def _cloud(topic, message) -> None:
    topic.forms['organised' if message.height > 1 else 'unorganised'] += 1
    _note(topic, 'points', float(message.height * message.width))
    if (topic.recorded - 1) % CLOUD_EVERY:
        return
    try:
        points = cloud_xyz(message)                            # (N, 3)
    except ContractError:
        topic.forms['unreadable'] += 1                         # the adapter says why
        return
    points = points[np.isfinite(points).all(axis=1)]
    topic.facts.setdefault('size', (message.height, message.width))
    if len(points):
        distance = np.linalg.norm(points, axis=1)
        elevation = np.arctan2(points[:, 2], np.linalg.norm(points[:, :2], axis=1))
        for key, value, widest in (('elevation_min_rad', elevation.min(), min), ('range_max_m', distance.max(), max),
                                   ('elevation_max_rad', elevation.max(), max)):
            topic.facts[key] = widest(topic.facts.get(key, float(value)), float(value))


def cloud_xyz(message) -> np.ndarray:
    """(N, 3) float64 of a PointCloud2's fields x, y, z; `ContractError` when it lacks one or its data is too short."""
    kinds = {7: 'f4', 8: 'f8'}
    order = '>' if message.is_bigendian else '<'
    fields = {f.name: (order + kinds[f.datatype], f.offset) for f in message.fields if f.datatype in kinds}
    count = message.height * message.width
    if not {'x', 'y', 'z'} <= set(fields) or len(message.data) < count * message.point_step:
        raise ContractError(f'PointCloud2 of {count} points has {len(message.data)} bytes and fields '
                            f'{", ".join(f.name for f in message.fields)}')
    kind = np.dtype({'names': ['x', 'y', 'z'], 'formats': [fields[n][0] for n in 'xyz'],
                     'offsets': [fields[n][1] for n in 'xyz'], 'itemsize': message.point_step})
    points = np.frombuffer(bytes(message.data[:count * message.point_step]), kind)
    return np.stack([points[n].astype(np.float64) for n in 'xyz'], axis=1)


def _joints(topic, message) -> None:
    names = tuple(message.name)
    topic.forms[f'{len(names)} joints'] += 1
    part = names if names in topic.parts else next((p for p in topic.parts if sorted(p) == sorted(names)), names)
    _note_part(topic, part, message.header)     # some drivers tell the same joints in changing order
    topic.facts['joints'] = tuple(dict.fromkeys(topic.facts.get('joints', ()) + names))
    for what in ('position', 'velocity', 'effort'):
        values = getattr(message, what)
        if len(values) == len(names):
            for name, value in zip(names, values):
                _note(topic, f'{what}[{name}]', float(value))


def _trajectory(topic, message) -> None:
    names = tuple(message.joint_names)
    topic.forms[f'{len(names)} joints, {len(message.points)} points'] += 1
    topic.facts.setdefault('joints', names)
    if message.points:
        last = message.points[-1]
        topic.facts.setdefault('time_from_start_s', last.time_from_start.sec + last.time_from_start.nanosec * 1e-9)
        for name, value in zip(names, last.positions):
            _note(topic, f'position[{name}]', float(value))


def _imu(topic, message) -> None:
    for what in ('orientation', 'angular_velocity', 'linear_acceleration'):
        if getattr(message, f'{what}_covariance')[0] != -1:  # REP: −1 says that it is not measured
            topic.forms[what] += 1
    _numbers(topic, message)


def _transforms(topic, message) -> None:
    for stamped in message.transforms:
        pair = f'{stamped.header.frame_id}→{stamped.child_frame_id}'
        topic.forms[pair] += 1
        move, turn = stamped.transform.translation, stamped.transform.rotation
        for name, value in zip(('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw'), (move.x, move.y, move.z, turn.x, turn.y,
                                                                          turn.z, turn.w)):
            _note(topic, f'{pair}.{name}', float(value))
        _note_part(topic, (stamped.header.frame_id, stamped.child_frame_id), stamped.header)


def _odometry(topic, message) -> None:
    topic.facts.setdefault('frames', (message.header.frame_id, message.child_frame_id))
    _numbers(topic, message)


_KINDS: dict[str, Callable] = {
    'std_msgs/msg/Float32MultiArray': _multi_array,
    'std_msgs/msg/Float64MultiArray': _multi_array,
    'sensor_msgs/msg/Image': _image,
    'sensor_msgs/msg/CompressedImage': _compressed,
    'sensor_msgs/msg/LaserScan': _scan,
    'sensor_msgs/msg/PointCloud2': _cloud,
    'sensor_msgs/msg/JointState': _joints,
    'sensor_msgs/msg/Imu': _imu,
    'nav_msgs/msg/Odometry': _odometry,
    'trajectory_msgs/msg/JointTrajectory': _trajectory,
    'tf2_msgs/msg/TFMessage': _transforms,
}
