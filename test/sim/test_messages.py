"""What the simulated robot says, as messages."""
from geometry_msgs.msg import Twist
import numpy as np
import pytest
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
import transforms3d

from jepa_ros.robot.adapters import to_array
from jepa_ros.robot.contract import Readout
from jepa_ros.sim.messages import (
    array_message,
    base_transform,
    image_message,
    joints_message,
    odometry_message,
    static_transforms,
    time_message,
)
from jepa_ros.sim.ports import all_finite
from jepa_ros.sim.worlds import TwoRooms
from jepa_ros.sim.worlds.base import Joints, Odometry2D


def test_an_image_of_any_memory_layout_arrives_row_by_row():
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)[:, ::-1]
    message = image_message(image, time_message(1_100_000_000))
    assert (message.height, message.width, message.step) == (4, 6, 18)
    assert np.array_equal(np.frombuffer(message.data, np.uint8).reshape(4, 6, 3), image)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1, 100_000_000)


@pytest.mark.parametrize('part', ['linear', 'angular'])
@pytest.mark.parametrize('axis', ['x', 'y', 'z'])
def test_a_command_with_any_number_not_finite_is_found(part, axis):
    message = Twist()
    message.linear.x, message.linear.y = 0.3, -0.2
    assert all_finite(message)
    setattr(getattr(message, part), axis, float('-inf'))
    assert not all_finite(message)


def test_numbers_that_are_not_finite_are_found_in_sequences_and_points():
    assert all_finite(Float64MultiArray(data=[1.0, 2.0])) and all_finite(Float64MultiArray())
    assert not all_finite(Float64MultiArray(data=[1.0, float('nan')]))
    point = JointTrajectoryPoint(positions=[0.5])
    assert all_finite(JointTrajectory(joint_names=['elbow'], points=[point]))
    point.velocities = [float('inf')]
    assert not all_finite(JointTrajectory(joint_names=['elbow'], points=[point]))


@pytest.mark.parametrize('yaw', [0.0, 1.0, -3.1, 3.1])
def test_the_heading_of_the_odometry_is_read_back(yaw):
    message = odometry_message(Odometry2D(0.5, -0.25, yaw, 0.3, 0.0, -1.5), time_message(10**9))
    assert (message.header.frame_id, message.child_frame_id) == ('odom', 'base_link')
    assert (message.twist.twist.linear.x, message.twist.twist.angular.z) == (0.3, -1.5)
    readout = Readout(name='yaw_rad', topic='odom', type='nav_msgs/msg/Odometry', field='pose.pose.orientation.yaw')
    assert to_array(readout, message) == pytest.approx(yaw, abs=1e-6)


def test_joints_keep_their_names_and_leave_out_what_is_not_measured():
    message = joints_message(Joints(('a', 'b'), np.array([0.5, -1.0]), np.array([2, 3])), time_message(0), 'arm')
    assert (message.name, list(message.position), list(message.velocity)) == (['a', 'b'], [0.5, -1.0], [2.0, 3.0])
    assert len(message.effort) == 0 and message.header.frame_id == 'arm'


def test_an_array_says_how_long_it_is():
    message = array_message(np.arange(3.0))
    assert list(message.data) == [0.0, 1.0, 2.0]
    assert [(d.size, d.stride) for d in message.layout.dim] == [(3, 3)]


def test_the_camera_looks_down_with_columns_along_x():
    stamp = time_message(0)
    frames = {t.child_frame_id: t for t in static_transforms(TwoRooms.frames, stamp)}
    assert {t.header.frame_id for t in frames.values()} == {'map'}
    q = frames['overhead_camera'].transform.rotation
    camera_axes = transforms3d.quaternions.quat2mat([q.w, q.x, q.y, q.z])  # columns: right, down, forward in `map`
    assert camera_axes == pytest.approx(np.diag([1.0, -1.0, -1.0]), abs=1e-9)
    assert base_transform(Odometry2D(0.1, 0.2), stamp).transform.translation.y == 0.2
