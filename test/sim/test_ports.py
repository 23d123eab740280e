"""Sensors of a world on real topics: when each is read and sent."""
from builtin_interfaces.msg import Time
import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray

from jepa_ros.runtime import qos
from jepa_ros.sim.ports import SensorPorts
from jepa_ros.sim.worlds.base import Joints, sending_order, Sensor


class Machine:
    """A camera, joints, and a slow array; notes in which order they are read."""

    control_period_s = 0.1
    frames = ()
    sensors = (Sensor('view', 'image'), Sensor('arm', 'joints'), Sensor('slow', 'array', every=3))

    def __init__(self):
        self.read_topics = []

    def read(self, topic):
        self.read_topics.append(topic)
        return {'view': np.zeros((4, 4, 3), np.uint8), 'arm': Joints(('elbow',), np.array([0.5])),
                'slow': np.array([1.0, 2.0])}[topic]


@pytest.fixture
def node(ros):
    node = rclpy.create_node('machine')
    yield node
    node.destroy_node()


def test_a_slow_sensor_is_read_at_its_own_multiples_and_everything_after_a_reset(node):
    world, stamp = Machine(), Time(sec=1)
    ports = SensorPorts(node, world, stamp)
    for tick in range(7):
        ports.publish(stamp, tick)
    assert world.read_topics.count('arm') == 7 and world.read_topics.count('slow') == 3
    ports.publish(stamp, None)
    assert world.read_topics.count('slow') == 4


def test_a_picture_is_drawn_for_those_who_listen_only_and_sent_last(node):
    world, heard = Machine(), []
    ports = SensorPorts(node, world, Time(sec=1))
    ports.publish(Time(sec=1), 1)
    assert world.read_topics == ['arm']
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    for kind, topic in ((Image, 'view'), (JointState, 'arm'), (Float64MultiArray, 'slow')):
        node.create_subscription(kind, topic, lambda message, topic=topic: heard.append((topic, message)), qos.SENSOR)
    tick = 0
    while len(dict(heard)) < 3:
        assert tick < 500, 'not all came'
        ports.publish(Time(sec=1), tick := tick + 3)
        executor.spin_once(timeout_sec=0.02)
    executor.shutdown()
    assert world.read_topics[-3:] == ['arm', 'slow', 'view']
    messages = dict(heard)
    assert messages['view'].height == 4 and messages['arm'].name == ['elbow']
    assert messages['arm'].header.stamp.sec == 1


def test_pictures_are_sent_after_what_was_measured_with_them():
    assert [sensor.topic for sensor in sending_order(Machine.sensors)] == ['arm', 'slow', 'view']
