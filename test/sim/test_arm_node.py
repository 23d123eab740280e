"""The arm behind its topics: trajectories over DDS move it, joint states and pictures come back."""
import importlib.util
import subprocess
import sys

from dds_client import DdsClient, end
import numpy as np
import pytest
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from jepa_ros.robot.adapters import command_message, to_array
from jepa_ros.robot.contract import RobotContract
from jepa_ros.runtime import qos
from jepa_ros.sim.worlds import arm_model
from jepa_ros.srv import ResetWorld

if importlib.util.find_spec(arm_model.PACKAGE) is None:
    pytest.skip(f"needs the arm's meshes: {arm_model.INSTALL}", allow_module_level=True)

CONTRACT = RobotContract.load('arm')
ARM, (TABLE, JOINTS) = CONTRACT.actions[0], CONTRACT.observations
HIGH_UP = [0.0, -0.1, 0.0, -2.0, 0.0, 0.6, 0.0, 0.02]


class Client(DdsClient):
    """Hears joint states and pictures, commands the arm."""

    TIMEOUT_S = 30.0

    def __init__(self):
        super().__init__()
        self.joints, self.images = [], []
        self.node.create_subscription(JointState, JOINTS.topic, self.joints.append, qos.SENSOR)
        self.node.create_subscription(Image, TABLE.topic, self.images.append, qos.SENSOR)
        self.commands = self.node.create_publisher(JointTrajectory, ARM.topic, qos.STREAM)
        self.reset = self.node.create_client(ResetWorld, 'sim/reset')

    def ready(self):
        return self.joints and self.images and self.commands.get_subscription_count() and self.reset.service_is_ready()

    def after(self, count, messages):
        return self.wait(lambda: len(messages) >= count and messages[-1], 'messages')


@pytest.fixture
def arm(ros_domain):
    process = subprocess.Popen([sys.executable, '-m', 'jepa_ros.sim.node', '--ros-args', '-p', 'world:=arm',
                                '-p', 'discovery_wait_s:=0.0'], env=ros_domain)
    client = Client()
    try:
        client.wait(client.ready, 'the simulator')
        yield client
    finally:
        client.close()
        end(process)


def test_a_trajectory_moves_the_arm_which_joint_states_and_pictures_show(arm):
    names = [f'joint{i}_rad' for i in range(1, 8)] + ['finger_m', 'cube_x_m', 'cube_y_m']
    answer = arm.reset.call_async(ResetWorld.Request(names=names, values=[*HIGH_UP, 0.6, -0.3]))
    arm.wait(answer.done, 'an answer to reset')
    assert answer.result().success, answer.result().message
    before = arm.after(len(arm.images) + 2, arm.images)
    target = np.array(HIGH_UP) + [0.4, 0.2, 0, 0, 0, 0, 0, 0.01]

    def arrived():
        # again and again: the arm stops where it is when commands cease
        arm.commands.publish(command_message(ARM, JointTrajectory, target))
        return np.allclose(to_array(JOINTS, arm.joints[-1])[:8], target, atol=2e-3)
    arm.wait(arrived, 'the arm to arrive')
    after = arm.after(len(arm.images) + 2, arm.images)
    assert after.header.frame_id == TABLE.frame
    assert (after.height, after.width, after.encoding) == (128, 128, 'rgb8')
    pictures = [to_array(TABLE, message).astype(int) for message in (before, after)]
    assert pictures[0].shape == (TABLE.height, TABLE.width, 3)
    assert (np.abs(pictures[0] - pictures[1]).max(2) > 30).sum() > 100

    count = len(arm.joints)
    arm.after(count + 5, arm.joints)
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in arm.joints[count:]]
    assert all(stamp % 10**8 == 0 for stamp in stamps)
    assert set(np.diff(stamps)) == {10**8}
    assert np.allclose(to_array(JOINTS, arm.joints[-1])[:8], target, atol=2e-3)  # it stays without commands
    assert len(arm.joints[-1].effort) == 8


def test_an_impossible_reset_is_answered_in_one_line(arm):
    answer = arm.reset.call_async(ResetWorld.Request(names=['joint4_rad'], values=[1.0]))
    arm.wait(answer.done, 'an answer to reset')
    assert not answer.result().success
    assert answer.result().message == \
        'world arm: joint4_rad = 1 is out of range; it must be within -3.072 … -0.4'
