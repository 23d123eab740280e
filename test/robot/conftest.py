"""Bags made of real messages, and nodes in processes of their own."""
from contextlib import contextmanager
from pathlib import Path
import subprocess
import sys

from dds_client import DdsClient, end
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from jepa_ros.msg import EpisodeEvent
from jepa_ros.robot.bag_metadata import Provenance
from jepa_ros.robot.bag_writer import BagWriter
from jepa_ros.robot.contract import RobotContract

PERIOD_NS = 100_000_000
TYPES = {'/camera/image_raw': 'sensor_msgs/msg/Image', '/odom': 'nav_msgs/msg/Odometry',
         '/cmd_vel': 'geometry_msgs/msg/Twist', '/episode': 'jepa_ros/msg/EpisodeEvent'}


@pytest.fixture(scope='session')
def contract() -> RobotContract:
    return RobotContract.load('two_rooms')


def stamped(kind: type, ns: int, **fields):
    message = kind(**fields)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(ns, 10**9)
    return message


def picture(seed: int, ns: int, size: int = 64) -> Image:
    message = stamped(Image, ns, height=size, width=size, encoding='rgb8', step=3 * size)
    message.data.frombytes(np.random.default_rng(seed).bytes(3 * size * size))
    return message


class Tape:
    """Writes one bag as a lockstep recording would."""

    def __init__(self, path: Path, contract: RobotContract, clock: str = 'lockstep', types: dict | None = None):
        self.writer = BagWriter(path, Provenance(contract, clock, {'seed': 7}))
        for topic, kind in (types or TYPES).items():
            self.writer.add_topic(topic, kind)
        self.ns, self.rows = 10**9, 0

    def put(self, topic: str, message, ns: int) -> None:
        self.writer.write(topic, ns, serialize_message(message))

    def event(self, kind: int, name: str) -> None:
        self.put('/episode', stamped(EpisodeEvent, self.ns, event=kind, episode_id=name), self.ns)

    def row(self, command: float | None = 0.5) -> None:
        """One percept with odometry x = number of the row, answered by vx = `command`."""
        odometry, twist = stamped(Odometry, self.ns), Twist()
        odometry.pose.pose.position.x = float(self.rows)
        self.put('/camera/image_raw', picture(self.rows, self.ns), self.ns)
        self.put('/odom', odometry, self.ns + 1)
        if command is not None:
            twist.linear.x = command
            self.put('/cmd_vel', twist, self.ns + 2)
        self.ns += PERIOD_NS
        self.rows += 1

    def episode(self, name: str, rows: int) -> None:
        """START, `rows` answered percepts and one more, STOP."""
        self.event(EpisodeEvent.START, name)
        for number in range(rows):
            self.row(number / 100)
        self.event(EpisodeEvent.STOP, name)
        self.row(None)


@pytest.fixture
def two_episodes(tmp_path, contract) -> Path:
    """Bag of episodes `a` (5 rows) and `b` (3 rows)."""
    tape = Tape(tmp_path / 'bag', contract)
    tape.episode('a', 5)
    tape.episode('b', 3)
    tape.writer.close()
    return tmp_path / 'bag'


@contextmanager
def process(module: str, log: Path, *ros_args: str, wrapper: tuple[str, ...] = ()):
    """A node's process, ended with SIGINT; `log` takes what it says."""
    command = [*wrapper, sys.executable, '-m', module, '--ros-args', *ros_args]
    with log.open('w') as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield child
    finally:
        end(child)


class Peer(DdsClient):
    """A node of the test's own with its executor."""

    def hear(self, kind: type, topic: str, profile) -> list:
        """Messages of a topic, in the order they come."""
        heard: list = []
        self.node.create_subscription(kind, topic, heard.append, profile)
        return heard


@pytest.fixture
def peer(ros_domain):
    made = Peer('peer')
    yield made
    made.close()
