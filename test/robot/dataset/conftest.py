"""Bags of a robot with a camera (JPEG), a second picture stream that may be missing, and odometry."""
from pathlib import Path
import shutil

import cv2
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from jepa_ros.msg import EpisodeEvent
from jepa_ros.robot.bag_metadata import Provenance
from jepa_ros.robot.bag_writer import BagWriter
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.dataset.build import build
from jepa_ros.robot.dataset.store import Store

CONTRACT = """
name: scout
control_period_s: 0.1
observations:
  - {key: front, topic: front/compressed, type: sensor_msgs/msg/CompressedImage, height: 40, width: 48}
  - {key: rear, topic: rear, type: sensor_msgs/msg/Image, height: 36, width: 48, encoding: rgb8, align: asof,
     timeout_s: 0.35, required: false}
  - {key: motion, topic: odom, type: nav_msgs/msg/Odometry, fields: [twist.twist.linear.x, twist.twist.angular.z]}
readouts:
  - {name: x_m, topic: odom, type: nav_msgs/msg/Odometry, field: pose.pose.position.x}
actions:
  - key: base
    topic: cmd_vel
    type: geometry_msgs/msg/Twist
    fields:
      - {name: vx_mps, field: linear.x, min: -1.0, max: 1.0, max_rate: 10.0}
      - {name: wz_radps, field: angular.z, min: -2.0, max: 2.0, max_rate: 10.0}
"""
TOPICS = {'/front/compressed': 'sensor_msgs/msg/CompressedImage', '/rear': 'sensor_msgs/msg/Image',
          '/odom': 'nav_msgs/msg/Odometry', '/cmd_vel': 'geometry_msgs/msg/Twist',
          '/episode': 'jepa_ros/msg/EpisodeEvent'}
PERIOD_NS = 100_000_000
REAR_UNTIL = 12         # rows of an episode that have a rear picture


def picture(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """A smooth gradient with some noise, (height, width, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 255, (2, 2, 3)).astype(np.uint8)
    smooth = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.add(smooth, rng.integers(0, 12, smooth.shape, np.uint8))


class Recording:
    """One bag in the making, as a lockstep recording would be."""

    def __init__(self, path: Path, contract: RobotContract, seed: int = 0):
        self.writer = BagWriter(path, Provenance(contract, 'lockstep'))
        for topic, kind in TOPICS.items():
            self.writer.add_topic(topic, kind)
        self.ns, self.rows, self.seed = 10**9, 0, seed * 100_000

    def put(self, topic: str, message, offset_ns: int = 0) -> None:
        if hasattr(message, 'header'):
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(self.ns, 10**9)
        self.writer.write(topic, self.ns + offset_ns, serialize_message(message))

    def row(self, rear: bool, damaged: bool = False) -> None:
        self.rows += 1
        odometry, command = Odometry(), Twist()
        odometry.pose.pose.position.x, odometry.twist.twist.linear.x = float(self.rows), self.rows / 10
        command.linear.x, command.angular.z = np.sin(self.rows), np.cos(self.rows)
        self.put('/odom', odometry)
        if rear:
            image = Image(height=36, width=48, encoding='rgb8', step=144)
            image.data.frombytes(picture(self.seed + self.rows + 50_000, 36).tobytes())
            self.put('/rear', image, 1)
        jpeg = cv2.imencode('.jpg', picture(self.seed + self.rows)[..., ::-1])[1].tobytes()
        compressed = CompressedImage(format='jpeg')
        compressed.data.frombytes(b'\xff\xd8 no picture' if damaged else jpeg)
        self.put('/front/compressed', compressed, 2)
        self.put('/cmd_vel', command, 3)
        self.ns += PERIOD_NS

    def episode(self, name: str, rows: int, damaged: int = -1) -> None:
        self.put('/episode', EpisodeEvent(event=EpisodeEvent.START, episode_id=name))
        for number in range(rows):
            self.row(number < REAR_UNTIL, number == damaged)
        self.put('/episode', EpisodeEvent(event=EpisodeEvent.STOP, episode_id=name))
        self.ns += PERIOD_NS


def record(path: Path, contract: RobotContract, episodes: dict[str, int], seed: int = 0, damaged: int = -1) -> Path:
    """A bag with these episodes: id -> rows; in each, the front picture of row `damaged` is no picture."""
    recording = Recording(path, contract, seed)
    for name, rows in episodes.items():
        recording.episode(name, rows, damaged)
    recording.writer.close()
    return path


@pytest.fixture(scope='session')
def contract() -> RobotContract:
    return RobotContract.parse(CONTRACT)


@pytest.fixture(scope='session')
def bags(tmp_path_factory, contract) -> list[Path]:
    """`day` has three episodes of 20, 70 and 33 rows, `night` two of 40 and 5."""
    folder = tmp_path_factory.mktemp('bags')
    return [record(folder / 'day', contract, {'a': 20, 'b': 70, 'c': 33}),
            record(folder / 'night', contract, {'a': 40, 'z': 5}, seed=1)]


@pytest.fixture(scope='session')
def built(tmp_path_factory, bags, contract) -> Path:
    """The store of both bags, not to be changed."""
    return build(bags, tmp_path_factory.mktemp('stores') / 'built', contract, workers=1).store.path


@pytest.fixture
def store(tmp_path, built) -> Store:
    """A copy that a test may damage."""
    shutil.copytree(built, tmp_path / 'store')
    return Store(tmp_path / 'store')
