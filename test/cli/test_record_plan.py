"""Which processes `jepa-ros record` starts for which driver."""
import json
from pathlib import Path

import pytest

from jepa_ros.cli.record_plan import DRIVERS, EXECUTABLES, KEYS_TOPIC, Plan
from jepa_ros.errors import ConfigError


def plan(**settings) -> Plan:
    return Plan('two_rooms', Path('/b'), **settings)


def parameters(one: Plan, node: str) -> dict:
    return one.parameters()[f'/**/{node}']['ros__parameters']


@pytest.mark.parametrize(('settings', 'processes', 'clock'), [
    ({}, ('recorder',), 'system'),
    ({'use_sim_time': True}, ('recorder',), 'sim'),
    ({'world': 'two_rooms'}, ('sim', 'nodes'), 'lockstep'),
    ({'driver': 'random'}, ('command_gate', 'recorder', 'random'), 'system'),
    ({'driver': 'teleop'}, ('command_gate', 'recorder', 'teleop'), 'system'),
    ({'driver': 'teleop', 'world': 'two_rooms'}, ('sim', 'command_gate', 'recorder', 'teleop'), 'sim'),
    ({'driver': 'curiosity', 'world': 'two_rooms'}, ('sim', 'command_gate', 'perception', 'recorder', 'curiosity'),
     'lockstep'),
    ({'driver': 'policy'}, ('recorder', 'policy'), 'system')])
def test_each_driver_has_its_processes_and_the_recording_its_clock(settings, processes, clock):
    one = plan(**settings)
    assert one.processes == processes and set(processes) <= set(EXECUTABLES)
    assert parameters(one, 'recorder')['clock'] == clock
    assert one.leader == processes[-1]


@pytest.mark.parametrize('driver', [d for d in DRIVERS if d not in ('none', 'policy')])
def test_whatever_drives_the_command_gate_is_there(driver):
    one = plan(driver=driver)
    assert 'command_gate' in one.processes and 'driver' in parameters(one, 'command_gate')['required_organs']


def test_on_a_robot_the_gate_keeps_its_timeouts_and_no_world_is_reset():
    live, lockstep = plan(driver='random'), plan(world='two_rooms')
    assert 'action_timeout_s' not in parameters(live, 'command_gate')
    assert parameters(lockstep, 'command_gate')['action_timeout_s'] == 0.0
    assert parameters(live, 'driver')['reset_world'] is False and 'reset_world' not in parameters(lockstep, 'driver')
    assert parameters(live, 'driver')['lockstep'] is False and parameters(lockstep, 'driver')['lockstep'] is True


def test_a_joystick_takes_the_place_of_the_keys():
    assert parameters(plan(driver='teleop'), 'driver')['joy_topic'] == KEYS_TOPIC
    with_joy = plan(driver='teleop', joy='joy')
    assert parameters(with_joy, 'driver')['joy_topic'] == parameters(with_joy, 'recorder')['joy_topic'] == 'joy'


def test_the_recorder_is_told_what_made_the_recording():
    own = parameters(plan(driver='curiosity', model='m', model_sha256='abc', recorder={'split_mb': 5}), 'recorder')
    assert own['model_sha256'] == 'abc' and own['split_mb'] == 5
    assert json.loads(own['parameters'])['driver'] == 'curiosity'


@pytest.mark.parametrize(('settings', 'words'), [
    ({'driver': 'telop'}, 'did you mean teleop'),
    ({'driver': 'none', 'world': 'two_rooms'}, 'nobody would drive it')])
def test_what_cannot_go_together_is_one_line(settings, words):
    with pytest.raises(ConfigError, match=words):
        plan(**settings)
