"""The command gate as a process, with stamped commands and joints that hold, over DDS."""
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import TwistStamped
import pytest
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from jepa_ros.msg import Action
from jepa_ros.runtime.qos import SENSOR, STREAM

from .arm_contract import ARM
from .conftest import process


class Arm:
    """Plays actor and robot around a gate."""

    def __init__(self, peer):
        self.peer = peer
        self.trajectories = peer.hear(JointTrajectory, 'trajectory', STREAM)
        self.wheels = peer.hear(TwistStamped, 'wheels', STREAM)
        self._action = peer.node.create_publisher(Action, 'action', STREAM)
        self._joints = peer.node.create_publisher(JointState, 'joint_states', SENSOR)
        self._heartbeat = peer.node.create_publisher(DiagnosticStatus, 'heartbeat', STREAM)

    def live(self) -> None:
        """What a robot with an actor says all the time: both joints at −1.5 rad, named in another order."""
        self._heartbeat.publish(DiagnosticStatus(name='driver', values=[KeyValue(key='state', value='active')]))
        self._joints.publish(JointState(name=['x', 'b', 'a'], position=[9.0, -1.5, -1.5]))

    def act(self, a: float, b: float, vx: float) -> None:
        message = Action(names=['vx_mps', 'a_rad', 'b_rad'], values=[vx, a, b])
        message.state_stamp = self.peer.node.get_clock().now().to_msg()
        self._action.publish(message)

    def wait(self, condition, what: str):
        return self.peer.wait(condition, what, meanwhile=self.live)


@pytest.fixture
def arm(tmp_path, peer):
    path = tmp_path / 'arm.yaml'
    path.write_text(ARM)
    with process('jepa_ros.robot.gate_node', tmp_path / 'log', '-p', 'autostart:=true', '-p', f'robot:={path}',
                 '-p', 'required_organs:=driver'):
        yield Arm(peer)


def test_joints_are_left_alone_until_an_action_then_set_out_from_where_they_stand_and_hold(arm):
    arm.wait(lambda: len(arm.wheels) > 10, 'commands that the wheels stand')
    assert not arm.trajectories
    assert {w.twist.linear.x for w in arm.wheels} == {0.0}
    first = arm.wheels[-1].header
    assert first.frame_id == 'base_link' and first.stamp.sec > 0

    arm.wait(lambda: arm.act(1.0, -2.5, 0.5) or arm.trajectories, 'a trajectory')
    command = arm.trajectories[0]
    assert command.joint_names == ['b', 'a'] and command.header.frame_id == 'base_link'
    point, = command.points
    assert (point.time_from_start.sec, point.time_from_start.nanosec) == (0, 200_000_000)
    b, a = point.positions
    assert -1.5 < a < -1.0 and -2.0 < b < -1.5      # 1 rad/s from −1.5 on, within one period

    arm.wait(lambda: arm.wheels[-1].twist.linear.x == 0.5, 'wheels that turn')
    arm.wait(lambda: arm.wheels[-1].twist.linear.x == 0.0, 'wheels that stop after the action is outdated')
    arm.trajectories.clear()
    arm.wait(lambda: len(arm.trajectories) > 3, 'repeated trajectories')
    assert len({tuple(t.points[0].positions) for t in arm.trajectories}) == 1, 'the joints do not hold'
    assert all(t.points[0].positions[1] < 1.0 for t in arm.trajectories)
