"""Stamps in serialised messages are moved wherever they are, and nothing else changes."""
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Twist
from hypothesis import given
from hypothesis import strategies as st
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, JointState
from tiny import invariant

from jepa_ros.errors import BagError
from jepa_ros.msg import Action
from jepa_ros.robot.bag_types import typestore, unpack
from jepa_ros.robot.restamp import shifted, Stamps, stamps
from jepa_ros.robot.ros_types import stamp_ns

from .conftest import picture, stamped

nanoseconds = st.integers(1, 2 * 10**18)   # to the year 2033
shifts = st.integers(0, 10**15)


@pytest.mark.parametrize('kind, where', [
    ('sensor_msgs/msg/Image', Stamps(True, False)), ('geometry_msgs/msg/Twist', Stamps(False, False)),
    ('jepa_ros/msg/Action', Stamps(True, True)), ('tf2_msgs/msg/TFMessage', Stamps(False, True)),
    ('rosgraph_msgs/msg/Clock', Stamps(False, True)), ('trajectory_msgs/msg/JointTrajectory', Stamps(True, False))])
def test_it_is_known_where_a_type_has_stamps(kind, where):
    assert stamps(kind) == where


def test_an_unknown_type_is_one_line():
    with pytest.raises(BagError, match='nowhere_msgs/msg/Thing is unknown'):
        stamps('nowhere_msgs/msg/Thing')


@invariant
@given(stamp=nanoseconds, shift=shifts)
def test_a_header_is_moved_and_all_else_stays(stamp, shift):
    raw = serialize_message(picture(3, stamp))
    moved = shifted(raw, 'sensor_msgs/msg/Image', shift)
    message = deserialize_message(moved, Image)
    assert stamp_ns(message.header.stamp) == stamp + shift
    assert moved[:4] == raw[:4] and moved[12:] == raw[12:]


@invariant
@given(stamp=nanoseconds, answered=nanoseconds, shift=shifts)
def test_stamps_inside_a_message_are_moved_too(stamp, answered, shift):
    made = stamped(Action, stamp, state_stamp=Time(sec=answered // 10**9, nanosec=answered % 10**9), plan_id=7,
                   names=['vx_mps'], values=[0.25])
    message = deserialize_message(shifted(serialize_message(made), 'jepa_ros/msg/Action', shift), Action)
    assert stamp_ns(message.header.stamp) == stamp + shift
    assert stamp_ns(message.state_stamp) == answered + shift
    assert (message.plan_id, list(message.names), list(message.values)) == (7, ['vx_mps'], [0.25])


def test_a_stamp_of_zero_means_no_time_and_stays():
    raw = serialize_message(picture(3, 0))
    assert shifted(raw, 'sensor_msgs/msg/Image', 10**9) == raw
    message = deserialize_message(shifted(serialize_message(stamped(Action, 5)), 'jepa_ros/msg/Action', 10**9), Action)
    assert (stamp_ns(message.header.stamp), stamp_ns(message.state_stamp)) == (10**9 + 5, 0)


def test_without_a_shift_or_without_stamps_the_bytes_are_the_same():
    image, twist = serialize_message(picture(3, 7)), serialize_message(Twist())
    assert shifted(image, 'sensor_msgs/msg/Image', 0) is image
    assert shifted(twist, 'geometry_msgs/msg/Twist', 10**9) is twist


def test_strings_and_arrays_beside_a_header_survive():
    made = stamped(DiagnosticArray, 5, status=[DiagnosticStatus(name='ü', level=b'\x02', message='line')])
    message = deserialize_message(
        shifted(serialize_message(made), 'diagnostic_msgs/msg/DiagnosticArray', 2), DiagnosticArray)
    assert message.status == made.status and stamp_ns(message.header.stamp) == 7


@pytest.mark.parametrize('kind', ['sensor_msgs/msg/Image', 'jepa_ros/msg/Action'])
def test_bytes_that_are_no_message_are_one_line(kind):
    with pytest.raises(BagError, match=f'{kind} is damaged'):
        shifted(b'\x00\x01\x00\x00\x05', kind, 10**9)


def test_padding_that_serialize_message_leaves_behind_an_empty_sequence_is_no_damage():
    made = stamped(JointState, 5, name=['a'], position=[1.5])
    assert unpack(typestore(), serialize_message(made), 'sensor_msgs/msg/JointState').position.tolist() == [1.5]
