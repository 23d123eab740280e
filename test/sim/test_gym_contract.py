"""Contracts drafted from spaces describe the robot that the world is."""
import numpy as np
import pytest

from jepa_ros.errors import WorldError
from jepa_ros.robot.adapters import command_message, tensor_spec, to_array
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.ros_types import message_class
from jepa_ros.sim.gym_contract import draft, robot_name
from jepa_ros.sim.messages import reading_message, time_message
from jepa_ros.sim.worlds import make_world

IDS = ['CartPole-v1', 'Pendulum-v1', 'Blackjack-v1', 'FrozenLake-v1', 'MountainCar-v0', 'Hopper-v5',
       'gymnasium.envs.classic_control:Acrobot-v1']


@pytest.mark.parametrize('env_id', IDS)
def test_the_contract_reads_the_worlds_topics_and_commands_it(env_id):
    contract, world = RobotContract.parse(draft(env_id)), make_world(f'gym:{env_id}', seed=3)
    assert contract.clock == 'sim' and contract.control_period_s == world.control_period_s
    assert [o.topic for o in contract.observations] == [s.topic for s in world.sensors]
    for observation, sensor in zip(contract.observations, world.sensors):
        message = reading_message(sensor, world.read(sensor.topic), time_message(10**9), world.control_period_s)
        tensor, spec = to_array(observation, message), tensor_spec(observation)
        assert tensor.shape == spec.shape and tensor.dtype == spec.dtype
        np.testing.assert_array_equal(tensor, np.float32(world.read(sensor.topic).positions))
    stream, = contract.actions
    np.testing.assert_allclose(contract.action_low, world.command.low, rtol=1e-6)
    np.testing.assert_allclose(contract.action_high, world.command.high, rtol=1e-6)
    message = command_message(stream, message_class(stream.type, stream.topic), contract.action_high)
    np.testing.assert_allclose(to_array(stream, message), world.command.high, rtol=1e-6)
    full = (contract.action_high - contract.action_low) / contract.control_period_s
    assert (contract.action_max_rate >= full).all()


def test_a_rendered_picture_is_an_observation_of_a_size_to_learn_from():
    pytest.importorskip('pygame')
    contract = RobotContract.parse(draft('CartPole-v1', name='pole', render=True))
    camera = contract.observations[1]
    assert (contract.name, camera.key, camera.topic) == ('pole', 'rendered', 'camera/image_raw')
    assert tensor_spec(camera).shape == (64, 64, 3)


def test_numbers_too_many_to_name_are_an_array():
    import gymnasium

    class Grid(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (40, 40))
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return np.zeros((40, 40), np.float32), {}
    gymnasium.register('Grid-v0', Grid)
    try:
        observation, = RobotContract.parse(draft('gym:Grid-v0')).observations
    finally:
        del gymnasium.registry['Grid-v0']
    assert (observation.type, observation.size) == ('std_msgs/msg/Float64MultiArray', 1600)


@pytest.mark.parametrize(('env_id', 'name'), [
    ('CartPole-v1', 'cart_pole_v1'), ('ale_py:ALE/Pong-v5', 'ale_pong_v5'), ('2048-v0', 'gym_2048_v0')])
def test_a_robot_is_named_after_its_environment(env_id, name):
    assert robot_name(env_id) == name


def test_an_unknown_environment_is_one_line():
    with pytest.raises(WorldError, match='did you mean Pendulum-v1'):
        draft('Pendulm-v1')
