"""An environment through a robot contract: percepts as topics would give them, commands, and robots that do not fit."""
from builtin_interfaces.msg import Time
import numpy as np
import pytest

from jepa_ros.errors import ConfigError, WorldError
from jepa_ros.evaluation.gym_robot import GymRobot, make_robot
from jepa_ros.robot.adapters import to_array
from jepa_ros.robot.contract import RobotContract
from jepa_ros.sim.gym_contract import draft
from jepa_ros.sim.messages import reading_message
from jepa_ros.sim.worlds.gym_world import GymWorld

from . import point_env


@pytest.fixture(autouse=True)
def point():
    with point_env.registered():
        yield


def robot(text, **arguments):
    return GymRobot(GymWorld(point_env.ID, arguments=arguments), RobotContract.parse(text))


@pytest.mark.parametrize('env_id', ['CartPole-v1', 'Pendulum-v1', 'FrozenLake-v1', point_env.ID, point_env.PICTURES])
def test_percepts_are_those_of_the_messages_that_the_simulator_sends(env_id):
    world = GymWorld(env_id)
    text = draft(env_id).replace('height: 16', 'height: 10')     # pictures that are scaled, where there are some
    seen = GymRobot(world, RobotContract.parse(text))
    for _ in range(3):
        percept = seen.percept()
        for o in seen.contract.observations:
            sensor = next(s for s in world.sensors if s.topic == o.topic)
            expected = to_array(o, reading_message(sensor, world.read(o.topic), Time(), 0.1))
            assert percept[o.key].dtype == expected.dtype and np.array_equal(percept[o.key], expected)
        seen.step(seen.contract.action_high)


def test_readouts_are_read_from_the_same_readings():
    seen = robot(draft(point_env.ID) + point_env.READOUTS)
    seen.reset(3)
    place = seen.world.observation['achieved_goal']
    assert seen.readouts() == {'x_m': pytest.approx(place[0]), 'y_m': pytest.approx(place[1])}


def test_actions_go_to_the_fields_that_the_contract_names():
    text = draft(point_env.ID).replace('field: "data[0]"', 'field: "data[9]"').replace(
        'field: "data[1]"', 'field: "data[0]"').replace('field: "data[9]"', 'field: "data[1]"')
    seen = robot(text)
    seen.reset(0)
    before = seen.world.observation['place']
    seen.step(np.array([1.0, -0.5]))
    assert seen.world.observation['place'] - before == pytest.approx([-0.1, 0.2], abs=1e-6)


def test_a_control_period_is_a_whole_number_of_steps_whose_rewards_are_summed():
    text = draft(point_env.ID).replace('control_period_s: 0.1', 'control_period_s: 0.3')
    seen = robot(text)
    seen.reset(0)
    assert seen.step(np.array([0.1, 0.0])) == -3.0 and seen.world.time_s == pytest.approx(0.3)
    assert seen.most_steps == 4
    with pytest.raises(ConfigError, match=r'acts every 0\.15 s, world gym:Point-v0 steps every 0\.1 s'):
        robot(draft(point_env.ID).replace('control_period_s: 0.1', 'control_period_s: 0.15'))


def test_success_is_what_the_environment_says():
    seen = robot(draft(point_env.ID))
    seen.reset(0)
    assert seen.succeeded is False
    seen.reset(0, {'state': seen.world.observation['desired_goal']})
    assert seen.succeeded is True
    silent = robot(draft(point_env.ID), says=False)
    assert silent.succeeded is None


@pytest.mark.parametrize('change, words', [
    (('topic: observation/place', 'topic: observation/plac'),
     r'observation place comes on topic observation/plac \(did you mean observation/place\?\); world gym:Point-v0 has'),
    (('key: place\n    topic: observation/place\n    type: sensor_msgs/msg/JointState\n    joints: [place_0, place_1]\n'
      '    fields: [position]',
      'key: place\n    topic: observation/place\n    type: std_msgs/msg/Float64MultiArray\n    size: 2\n'
      '    stamp: receive'), 'observation place is std_msgs/msg/Float64MultiArray; world gym:Point-v0 has'),
    (('topic: command', 'topic: cmd_vel'), 'action command goes to cmd_vel'),
    (('      - {name: a_1', '      - {name: a_2, field: "data[2]", min: -1, max: 1, max_rate: 20}\n      - {name: a_1'),
     r'action a_2 is data\[2\]; world gym:Point-v0 has data\[0\], data\[1\]')])
def test_a_contract_of_another_robot_is_named_with_what_differs(change, words):
    assert change[0] in draft(point_env.ID)
    with pytest.raises(ConfigError, match=words) as caught:
        robot(draft(point_env.ID).replace(*change))
    assert 'choose a model that was trained on this world' in str(caught.value) and '\n' not in str(caught.value)


def test_a_sensor_that_may_be_missing_is_left_out_where_the_world_has_none():
    text = draft(point_env.ID).replace('key: place\n    topic: observation/place',
                                       'key: place\n    required: false\n    topic: observation/elsewhere')
    text = text.replace('pace: place', 'pace: desired_goal')
    assert set(robot(text).percept()) == {'achieved_goal', 'desired_goal'}


def test_an_unknown_environment_names_the_nearest():
    with pytest.raises(WorldError, match=r"unknown environment 'Piont-v0' \(did you mean Point-v0"):
        make_robot('gym:Piont-v0', point_env.contract())
