"""Commands: messages of every type are filled right, and reading them back inverts it."""
import math

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from rosbags.typesys import get_types_from_msg
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray, Int32
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from jepa_ros.errors import ContractError
from jepa_ros.robot.adapters import command_message, fill, to_array, to_command
from jepa_ros.robot.bag_types import typestore
from jepa_ros.robot.contract import RobotContract

from .make import action, recorded

BASE = RobotContract.load('two_rooms').actions[0]
ARM = action('trajectory_msgs/msg/JointTrajectory', ['position[shoulder]', 'position[elbow]'], safe='hold',
             joints=['elbow', 'shoulder'], time_from_start_s=0.25, frame='base_link')
STREAMS = {
    Twist: action('geometry_msgs/msg/Twist', ['linear.x', 'angular.z']),
    TwistStamped: action('geometry_msgs/msg/TwistStamped', ['twist.linear.x', 'twist.angular.z'], frame='base_link'),
    JointTrajectory: ARM,
    Float64MultiArray: action('std_msgs/msg/Float64MultiArray', ['data[1]', 'data[0]'])}
value = st.floats(-1e6, 1e6, width=32)


@given(st.sampled_from(list(STREAMS)), value, value)
@settings(max_examples=80, deadline=None)
def test_reading_a_command_inverts_writing_it_live_and_from_a_bag(kind, first, second):
    message = command_message(STREAMS[kind], kind, [first, second])
    expected = np.array([first, second], np.float32)
    np.testing.assert_array_equal(to_array(STREAMS[kind], message), expected)
    np.testing.assert_array_equal(to_array(STREAMS[kind], recorded(message)), expected)


@pytest.mark.parametrize('kind', [TwistStamped, JointTrajectory])
def test_stamped_commands_carry_stamp_and_frame(kind):
    message = command_message(STREAMS[kind], kind, [0.0, 0.0], Time(sec=3, nanosec=4))
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (3, 4)
    assert message.header.frame_id == 'base_link'


def test_a_trajectory_has_one_point_in_the_joints_order():
    message = command_message(ARM, JointTrajectory, [1.0, 2.0])
    assert message.joint_names == ['elbow', 'shoulder']
    point, = message.points
    assert list(point.positions) == [2.0, 1.0] and not len(point.velocities)
    assert (point.time_from_start.sec, point.time_from_start.nanosec) == (0, 250_000_000)


def test_a_trajectory_with_velocities_and_reordered_joints_is_read_by_name():
    stream = action('trajectory_msgs/msg/JointTrajectory', ['position[a]', 'velocity[a]', 'position[b]', 'velocity[b]'])
    point = JointTrajectoryPoint(positions=[1.0, 2.0], velocities=[3.0, 4.0])
    message = JointTrajectory(joint_names=['b', 'a'], points=[point])
    np.testing.assert_array_equal(to_array(stream, message), [2, 4, 1, 3])
    again = command_message(stream, JointTrajectory, [2.0, 4.0, 1.0, 3.0])
    assert again.joint_names == ['a', 'b'] and list(again.points[0].velocities) == [4.0, 3.0]


@pytest.mark.parametrize('message, words', [
    (JointTrajectory(joint_names=['elbow', 'shoulder']), 'command: the trajectory has 0 points; a command has one'),
    (JointTrajectory(joint_names=['elbow'], points=[JointTrajectoryPoint(positions=[1.0])]),
     "command: joint 'shoulder' is missing; the trajectory has elbow"),
    (JointTrajectory(joint_names=['elbow', 'shoulder'], points=[JointTrajectoryPoint(positions=[1.0])]),
     'command: positions has 1 values for 2 joints'),
    (JointTrajectory(joint_names=['elbow', 'shoulder'], points=[JointTrajectoryPoint(positions=[math.nan, 1.0])]),
     r'command: position\[elbow\] is nan, not a finite number'),
])
def test_trajectories_that_are_no_command_are_refused(message, words):
    with pytest.raises(ContractError, match=words):
        to_array(ARM, message)


def test_an_ackermann_command_is_filled_and_read_back():
    """The type as bags define it: its package is in no wheel."""
    store = typestore()
    name = 'ackermann_msgs/msg/AckermannDriveStamped'
    if name not in store.fielddefs:
        store.register(get_types_from_msg('std_msgs/Header header\nackermann_msgs/AckermannDrive drive', name) |
                       get_types_from_msg('float32 steering_angle\nfloat32 steering_angle_velocity\nfloat32 speed\n'
                                          'float32 acceleration\nfloat32 jerk', 'ackermann_msgs/msg/AckermannDrive'))
    stream = action(name, ['drive.speed', 'drive.steering_angle'])
    header = store.types['std_msgs/msg/Header'](stamp=store.types['builtin_interfaces/msg/Time'](0, 0), frame_id='')
    message = store.types[name](header=header, drive=store.types['ackermann_msgs/msg/AckermannDrive'](*[0.0] * 5))
    fill(message, to_command(stream, [1.5, -0.25])[1])
    back = store.deserialize_cdr(store.serialize_cdr(message, name), name)
    assert (back.drive.speed, back.drive.steering_angle, back.drive.jerk) == (1.5, -0.25, 0.0)
    np.testing.assert_array_equal(to_array(stream, back), [1.5, -0.25])


def test_whole_numbers_are_rounded_to():
    assert fill(Int32(), {'data': 2.6}).data == 3


@pytest.mark.parametrize('values, words', [
    ([1.0], '1 values for 2 fields'), ([0.0, math.nan], r'linear.y \(vy_mps\) is nan')])
def test_commands_that_cannot_be_are_refused(values, words):
    with pytest.raises(ContractError, match=words):
        to_command(BASE, values)


@pytest.mark.parametrize('message, path, words', [
    (Twist(), 'linear.q', "Twist has no field 'linear.q'"),
    (Twist(), 'linear', "Twist: 'linear' is no number"),
    (Bool(), 'data', "Bool: 'data' is no number"),
    (Float64MultiArray(), 'data[2]', r'Float64MultiArray: data must be given whole, from data\[0\] on without gaps'),
    (Float64MultiArray(), 'data[x]', r"Float64MultiArray: 'data\[x\]' needs a number in its brackets"),
    (JointTrajectory(), 'positions', "JointTrajectory has no field 'positions', it has position"),
])
def test_fields_that_the_message_lacks_are_named(message, path, words):
    with pytest.raises(ContractError, match=words):
        fill(message, {path: 1.0})


def test_field_that_a_recorded_message_lacks_is_named():
    wrong = BASE.fields[0].model_copy(update={'field': 'linear.q'})
    for message in (Twist(), recorded(Twist())):
        with pytest.raises(ContractError, match="cmd_vel: Twist has no field 'linear.q'"):
            to_array(BASE.model_copy(update={'fields': [wrong]}), message)


def test_elements_of_an_array_that_is_there_are_set_in_place():
    message = fill(JointState(position=[1.0, 2.0, 3.0]), {'position[1]': 9.0})
    assert list(message.position) == [1.0, 9.0, 3.0]
