"""A simulator in a process of its own, and a client that drives it over DDS."""
from contextlib import contextmanager
import subprocess
import sys
import time

from dds_client import DdsClient, end
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import pytest
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, LaserScan
from std_msgs.msg import UInt32

from jepa_ros.runtime import qos
from jepa_ros.srv import ResetWorld


class Client(DdsClient):
    """Hears all that the simulator says; lists of messages in the order they came."""

    TIMEOUT_S = 10.0

    def __init__(self):
        super().__init__()
        self.clocks, self.images, self.odometry, self.scans = [], [], [], []
        self.collisions, self.diagnostics = [], []
        for message_type, topic, heard, profile in (
                (Clock, '/clock', self.clocks, QoSProfile(depth=100)),
                (Image, 'camera/image_raw', self.images, qos.SENSOR), (Odometry, 'odom', self.odometry, qos.SENSOR),
                (LaserScan, 'scan', self.scans, qos.SENSOR), (UInt32, 'sim/collisions', self.collisions, qos.LATCHED),
                (DiagnosticArray, '/diagnostics', self.diagnostics, qos.STREAM)):
            self.node.create_subscription(message_type, topic, heard.append, profile)
        self.commands = self.node.create_publisher(Twist, 'cmd_vel', qos.STREAM)
        self.reset_client = self.node.create_client(ResetWorld, 'sim/reset')

    def forget(self) -> None:
        for heard in (self.clocks, self.images, self.odometry, self.scans, self.diagnostics):
            heard.clear()

    def command(self, vx: float, vy: float) -> None:
        message = Twist()
        message.linear.x, message.linear.y = float(vx), float(vy)
        self.commands.publish(message)

    def drive(self, vx: float, vy: float, until, timeout_s: float = 10.0) -> None:
        """Repeat a command after each percept until a condition holds."""
        end_s = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < end_s, 'drove in vain'
            count = len(self.images)
            self.command(vx, vy)
            self.wait(lambda count=count: len(self.images) > count, 'an image')

    def reset(self, seed: int = 0, **values: float):
        request = ResetWorld.Request(seed=seed, names=list(values), values=[float(v) for v in values.values()])
        return self.call(request)

    def call(self, request):
        future = self.reset_client.call_async(request)
        self.wait(future.done, 'an answer to reset')
        return future.result()

    def position(self) -> tuple[float, float]:
        point = self.odometry[-1].pose.pose.position
        return point.x, point.y


@contextmanager
def simulator(environment: dict, **parameters):
    """Run the node with these parameters; a Client that already hears and is heard."""
    arguments = [item for name, value in parameters.items() for item in ('-p', f'{name}:={value}')]
    process = subprocess.Popen([sys.executable, '-m', 'jepa_ros.sim.node', '--ros-args', '-p', 'discovery_wait_s:=0.0',
                                *arguments], env=environment)
    client = Client()
    client.process = process
    try:
        client.wait(lambda: client.images and client.odometry and client.commands.get_subscription_count()
                    and client.reset_client.service_is_ready(), 'the simulator', 30.0)
        yield client
    finally:
        client.close()
        end(process)


@pytest.fixture(scope='module')
def robot(module_ros_domain):
    """A simulator in real time that the tests of a module share; each test resets it."""
    with simulator(module_ros_domain) as client:
        yield client


@pytest.fixture
def lockstep_robot(ros_domain):
    with simulator(ros_domain, real_time_factor=0.0) as client:
        yield client


@pytest.fixture
def robot_to_end(ros_domain):
    with simulator(ros_domain) as client:
        yield client
