"""Joints, IMU, odometry and plain numbers."""
import math

from geometry_msgs.msg import PoseStamped, Quaternion, Vector3
from hypothesis import given, settings
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
import numpy as np
import pytest
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float32MultiArray, Float64MultiArray

from jepa_ros.errors import ContractError
from jepa_ros.robot.adapters import tensor_spec, to_array
from jepa_ros.robot.streams import Readout

from .make import observation, recorded

ARM = observation('sensor_msgs/msg/JointState', joints=['shoulder', 'elbow'], fields=['position', 'velocity'])
ODOM = observation('nav_msgs/msg/Odometry', fields=['pose.pose.position.x', 'pose.pose.orientation.yaw',
                                                   'twist.twist.angular.z', 'pose.covariance[7]'])


def joints(names=('elbow', 'gripper', 'shoulder')) -> JointState:
    return JointState(name=list(names), position=[1.0, 2.0, 3.0], velocity=[0.1, 0.2, 0.3])


def quaternion(roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0) -> Quaternion:
    """The textbook formula, independent of the library under test."""
    (cr, sr), (cp, sp), (cy, sy) = ((math.cos(a / 2), math.sin(a / 2)) for a in (roll, pitch, yaw))
    return Quaternion(w=cr * cp * cy + sr * sp * sy, x=sr * cp * cy - cr * sp * sy,
                      y=cr * sp * cy + sr * cp * sy, z=cr * cp * sy - sr * sp * cy)


def line_of(stream, message) -> str:
    with pytest.raises(ContractError) as refused:
        to_array(stream, message)
    assert '\n' not in str(refused.value)
    return str(refused.value)


def test_joints_are_found_by_name_in_any_order():
    expected = np.array([3.0, 1.0, 0.3, 0.1], np.float32)
    np.testing.assert_array_equal(to_array(ARM, joints()), expected)
    np.testing.assert_array_equal(to_array(ARM, recorded(joints())), expected)
    assert tensor_spec(ARM).names == ('position[shoulder]', 'position[elbow]', 'velocity[shoulder]', 'velocity[elbow]')


@given(st.permutations(['a', 'b', 'c', 'd']), st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=4))
@settings(max_examples=40, deadline=None)
def test_the_order_of_joints_in_the_message_changes_nothing(order, values):
    stream = observation('sensor_msgs/msg/JointState', joints=['a', 'b', 'c', 'd'])
    by_name = dict(zip('abcd', values))
    message = JointState(name=order, position=[by_name[n] for n in order])
    np.testing.assert_array_equal(to_array(stream, message), np.array(values, np.float32))


@pytest.mark.parametrize('message, words', [
    (joints(['elbow', 'hand', 'wrist']), "sensor: joint 'shoulder' is missing; the message has elbow, hand, wrist"),
    (JointState(), "sensor: joint 'shoulder' is missing; the message has none"),
    (JointState(name=['elbow', 'shoulder'], position=[1.0, 2.0]), 'sensor: velocity has 0 values for 2 joints'),
    (JointState(name=['elbow', 'shoulder'], position=[1.0], velocity=[0.0, 0.0]), 'position has 1 values for 2 joints'),
    (joints(['elbow', 'shoulder', 'shoulder']), "sensor: joint 'shoulder' is in the message twice"),
    (JointState(name=['elbow', 'shoulder'], position=[1.0, math.nan], velocity=[0.0, 0.0]),
     r'sensor: position[shoulder] is nan, not a finite number'),
    (JointState(name=['elbow', 'shoulder'], position=[1e300, 1.0], velocity=[0.0, 0.0]), 'position[elbow] is 1e+300'),
])
def test_joint_states_that_do_not_fit_are_refused_in_one_line(message, words):
    assert words in line_of(ARM, message)


# ---- IMU

def test_imu_fields_come_in_the_order_of_the_contract():
    message = Imu(orientation=quaternion(yaw=0.5), angular_velocity=Vector3(x=1.0, y=2.0, z=3.0),
                  linear_acceleration=Vector3(x=0.0, y=0.0, z=9.81))
    stream = observation('sensor_msgs/msg/Imu', fields=['linear_acceleration', 'orientation'])
    expected = [0, 0, 9.81, 0, 0, math.sin(0.25), math.cos(0.25)]
    np.testing.assert_allclose(to_array(stream, message), expected, rtol=1e-6)
    np.testing.assert_array_equal(to_array(stream, message), to_array(stream, recorded(message)))
    assert tensor_spec(stream).names[2:4] == ('linear_acceleration.z', 'orientation.x')


def test_an_imu_is_read_without_orientation_unless_it_is_asked_for():
    stream = observation('sensor_msgs/msg/Imu')
    message = Imu(angular_velocity=Vector3(x=1.0, y=2.0, z=3.0))
    message.orientation_covariance[0] = -1.0
    np.testing.assert_array_equal(to_array(stream, message), [1, 2, 3, 0, 0, 0])


def test_an_imu_that_says_it_has_no_orientation_is_believed():
    message = Imu(orientation=quaternion())
    message.orientation_covariance[0] = -1.0
    line = line_of(observation('sensor_msgs/msg/Imu', fields=['orientation']), message)
    assert 'sensor: this sensor gives no orientation (its covariance starts with -1); remove orientation' in line


def test_a_quaternion_that_was_never_set_is_no_rotation():
    unset = Imu(orientation=Quaternion(w=0.0))
    assert 'sensor: orientation is no rotation: quaternion x=0 y=0 z=0 w=0 has norm 0, not 1' in line_of(
        observation('sensor_msgs/msg/Imu', fields=['orientation']), unset)


# ---- fields

def test_odometry_gives_its_fields_with_yaw_from_the_quaternion():
    message = Odometry()
    message.pose.pose.position.x, message.twist.twist.angular.z = 1.25, -0.5
    message.pose.pose.orientation = quaternion(yaw=2.0)
    message.pose.covariance[7] = 0.25
    np.testing.assert_allclose(to_array(ODOM, message), [1.25, 2.0, -0.5, 0.25], rtol=1e-6)
    np.testing.assert_array_equal(to_array(ODOM, message), to_array(ODOM, recorded(message)))


@given(st.floats(-3.1, 3.1), st.floats(-1.5, 1.5), st.floats(-3.1, 3.1))
@settings(max_examples=60, deadline=None)
def test_roll_pitch_and_yaw_are_those_the_quaternion_was_made_of(roll, pitch, yaw):
    message = PoseStamped()
    message.pose.orientation = quaternion(roll, pitch, yaw)
    stream = observation('geometry_msgs/msg/PoseStamped', fields=[f'pose.orientation.{a}' for a in ('roll', 'pitch',
                                                                                                    'yaw')])
    np.testing.assert_allclose(to_array(stream, message), [roll, pitch, yaw], atol=1e-5)


def test_readouts_take_joints_by_name_or_number():
    for path, expected in (('position[elbow]', 1.0), ('velocity[2]', 0.3)):
        readout = Readout(name='it', topic='sensor', type='sensor_msgs/msg/JointState', field=path)
        assert to_array(readout, joints()) == np.float32(expected)


def test_a_joint_may_have_a_name_with_dots_and_slashes():
    readout = Readout(name='it', topic='sensor', type='sensor_msgs/msg/JointState', field='position[arm/joint.1]')
    assert to_array(readout, joints(['arm/joint.1', 'b', 'c'])) == 1.0


@pytest.mark.parametrize('path, words', [
    ('position.x', "sensor: JointState has no field 'position.x'; correct it in the robot contract"),
    ('position[wrist]', "sensor: position[wrist]: joint 'wrist' is missing; the message has elbow, gripper, shoulder"),
    ('position[7]', 'sensor: position[7]: position has 3 elements'),
    ('header.frame_id', "sensor: field 'header.frame_id' is str, not a number"),
    ('header', "sensor: field 'header' is Header, not a number"),
    ('header.stamp[0]', 'sensor: header.stamp[0]: stamp has no elements'),
    ('header[x]', "sensor: header[x]: joint 'x' is missing"),
    ('header.stamp[x]', 'sensor: header.stamp[x]: Header has no joint names, use a number such as stamp[0]'),
])
def test_wrong_paths_are_named(path, words):
    readout = Readout(name='it', topic='sensor', type='sensor_msgs/msg/JointState', field=path)
    assert words in line_of(readout, joints())
    assert words in line_of(readout, recorded(joints()))


@pytest.mark.parametrize('value', [math.nan, math.inf, 1e300])
def test_numbers_that_float32_cannot_hold_are_refused(value):
    message = Odometry()
    message.pose.pose.position.x = value
    assert line_of(ODOM, message) == f'sensor: pose.pose.position.x is {value:g}, not a finite number'


@pytest.mark.parametrize('kind', [Float64MultiArray, Float32MultiArray])
def test_multi_arrays_must_have_the_size_of_the_contract(kind):
    stream = observation(f'std_msgs/msg/{kind.__name__}', size=3)
    np.testing.assert_array_equal(to_array(stream, kind(data=[1.0, 2.0, 3.0])), [1, 2, 3])
    np.testing.assert_array_equal(to_array(stream, recorded(kind(data=[1.0, 2.0, 3.0]))), [1, 2, 3])
    assert line_of(stream, kind(data=[1.0])) == 'sensor: data has 1 values, the robot contract says size 3'
    assert 'data[1] is nan' in line_of(stream, kind(data=[1.0, math.nan, 2.0]))
