"""Bags as other people's tools write them (no contract inside), made of any messages. Needs no ROS."""
from pathlib import Path

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

from jepa_ros.robot.bag_types import offered_qos

STORE = get_typestore(Stores.ROS2_JAZZY)
UNKNOWN = 'vendor_msgs/msg/Bumper'      # a type that is installed nowhere
WALL_NS = 1_700_000_000_000_000_000
_DTYPES = {'float32': 'f4', 'float64': 'f8', 'octet': 'u1', 'byte': 'u1', 'char': 'u1', 'bool': '?'}


def blank(kind: str):
    """A message of a type with every field zero or empty."""
    if kind == UNKNOWN and kind not in STORE.fielddefs:
        STORE.register(get_types_from_msg('bool left\n', UNKNOWN))
    _, fields = STORE.fielddefs[kind]
    return STORE.types[kind](**{name: _zero(field) for name, field in fields})


def _zero(field):
    node, content = field
    if node == Nodetype.BASE:
        return '' if content[0] == 'string' else False if content[0] == 'bool' else 0
    if node == Nodetype.NAME:
        return blank(content)
    (inner, what), count = content
    count = count if node == Nodetype.ARRAY else 0
    if inner == Nodetype.BASE and what[0] != 'string':
        return np.zeros(count, _DTYPES.get(what[0], what[0]))
    return [_zero((inner, what)) for _ in range(count)]


def message(kind: str, stamp_ns: int | None = None, frame: str = '', **fields):
    """A message; `__` in a name leads into its parts: linear__x=0.3."""
    made = blank(kind)
    if stamp_ns is not None:
        made.header.stamp.sec, made.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        made.header.frame_id = frame
    for path, value in fields.items():
        *parents, last = path.split('__')
        inner = made
        for parent in parents:
            inner = getattr(inner, parent)
        setattr(inner, last, value)
    return made


def write_bag(path: Path, topics: dict[str, list[tuple[int, object]]], best_effort: tuple[str, ...] = (),
              latched: tuple[str, ...] = (), storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    """A bag of topic -> [(log time in ns, message)]."""
    path.parent.mkdir(exist_ok=True)
    with Writer(path, version=9, storage_plugin=storage) as writer:
        for topic, messages in topics.items():
            kind = messages[0][1].__msgtype__
            qos = offered_qos(topic not in best_effort, 10, topic in latched)
            connection = writer.add_connection(topic, kind, typestore=STORE, offered_qos_profiles=qos)
            for log_ns, made in messages:
                writer.write(connection, log_ns, STORE.serialize_cdr(made, kind))
    return path


def every(period_s: float, count: int, make, begin_ns: int = WALL_NS) -> list[tuple[int, object]]:
    """[(log time, make(number, log time))] at an even rate."""
    return [(t, make(i, t)) for i in range(count) for t in [begin_ns + round(i * period_s * 1e9)]]


def scan(stamp_ns: int, ranges, frame: str = 'laser'):
    """A LaserScan of 0.1 … 5 m all around."""
    return message('sensor_msgs/msg/LaserScan', stamp_ns, frame, ranges=np.asarray(ranges, np.float32),
                   range_min=0.1, range_max=5.0, angle_min=-np.pi, angle_max=np.pi)


def image(stamp_ns: int, height: int = 48, width: int = 64, encoding: str = 'rgb8', seed: int = 0):
    """An Image of random pixels."""
    size = {'rgb8': 3, 'mono8': 1, '16UC1': 2}[encoding]
    pixels = np.random.default_rng(seed).integers(0, 256, height * width * size, dtype=np.uint8)
    return message('sensor_msgs/msg/Image', stamp_ns, 'camera', height=height, width=width, encoding=encoding,
                   step=width * size, data=pixels)


def twist(vx: float, wz: float = 0.0):
    """A Twist of a differential drive."""
    return message('geometry_msgs/msg/Twist', linear__x=vx, angular__z=wz)


def odometry(stamp_ns: int, x: float, vx: float = 0.0):
    """Odometry along x, without rotation."""
    return message('nav_msgs/msg/Odometry', stamp_ns, 'odom', child_frame_id='base', pose__pose__position__x=x,
                   pose__pose__orientation__w=1.0, twist__twist__linear__x=vx)


def base_bag(path: Path, count: int = 40, storage: StoragePlugin = StoragePlugin.MCAP, **changes) -> Path:
    """Scan, odometry and commands at 10 Hz, `count` of each; `changes` replaces or adds topics (None: leaves out)."""
    topics = {
        # 10 ms behind the odometry, so that each scan finds it there
        '/scan': every(0.1, count, lambda i, t: scan(t, [1, 2, 0, np.inf, 9, np.nan, 3, 4]), WALL_NS + 10**7),
        '/odom': every(0.1, count, lambda i, t: odometry(t, 0.02 * i, 0.2)),
        '/cmd_vel': every(0.1, count, lambda i, t: twist(0.1 * (i % 4), 0.5 - 0.25 * (i % 5)))}
    topics |= {f'/{name}': messages for name, messages in changes.items()}
    return write_bag(path, {name: messages for name, messages in topics.items() if messages}, storage=storage)
