"""Launch files start the real nodes, bring them back, and end with a clear line and an exit code."""
import os
import signal

import pytest

from jepa_ros.paths import share_dir

ORGANS = ('perception', 'world_model', 'cost', 'actor', 'memory', 'configurator')
needs_model = pytest.mark.skipif(
    not (share_dir() / 'models' / 'two_rooms' / 'model.yaml').is_file(), reason='models/two_rooms is not there')


def test_a_killed_node_comes_back(start):
    sim = start('sim', model='none')
    sim.wait_for(r"\[sim\]: world 'two_rooms'")
    os.kill(sim.pids('sim')[0], signal.SIGKILL)
    sim.wait_for(r"\[sim\]: world 'two_rooms'", count=2)
    assert sim.stop() == 0, sim.text


def test_what_a_node_refuses_ends_the_launch_with_its_line(start):
    sim = start('sim', model='none', world='mars')
    assert sim.process.wait(30) == 1
    assert "unknown world 'mars'" in sim.text
    assert 'sim refused to go on' in sim.text


def test_a_params_file_that_does_not_exist_is_refused(start):
    sim = start('sim', model='none', params_file='/nowhere/mine.yaml')
    assert sim.process.wait(30) == 1
    assert "params_file: no file '/nowhere/mine.yaml'" in sim.text
    assert sim.pids('sim') == []


def test_the_params_file_reaches_the_node_it_names(start, tmp_path):
    params = tmp_path / 'mine.yaml'
    params.write_text('/**/sim:\n  ros__parameters:\n    real_time_factor: 3.0\n')
    start('sim', model='none', params_file=params, namespace='a/b').wait_for('real_time_factor 3')


def test_episodes_are_recorded_into_the_output_and_the_launch_ends(start, tmp_path):
    bag, params = tmp_path / 'bag', tmp_path / 'short.yaml'
    params.write_text('/**/driver:\n  ros__parameters:\n    steps: 10\n')
    start('sim', model='none', namespace='r1').wait_for(r"world 'two_rooms'")
    record = start('record', namespace='r1', use_sim_time='true', output=bag, episodes=2, params_file=params)
    assert record.process.wait(60) == 0
    assert (bag / 'metadata.yaml').is_file()


@needs_model
@pytest.mark.parametrize('composition', ['true', 'false'])
def test_gate_and_six_organs_become_active(start, composition):
    agent = start('sim', composition=composition, namespace='r1')
    for name in ('command_gate', *ORGANS):
        agent.wait_for(rf'\[r1\.{name}\]: active')
    assert len(agent.pids('agent')) == (composition == 'true')
    assert agent.stop() == 0, agent.text


@needs_model
@pytest.mark.parametrize('composition', ['true', 'false'])
def test_what_is_said_at_the_start_reaches_all_organs(start, composition):
    agent = start('sim', composition=composition, learn='true', speed='0.3')
    agent.wait_for(r'\[actor\]: drives with at most 30% of the range of each action')
    agent.wait_for(r'\[cost\]: the critic learns')
    agent.wait_for(r'\[world_model\]: the dynamics adapt')
    assert agent.stop() == 0, agent.text


@needs_model
def test_a_killed_organ_comes_back_and_becomes_active_by_itself(start):
    agent = start('sim', composition='false')
    for name in ORGANS:
        agent.wait_for(rf'\[{name}\]: active')
    os.kill(agent.pids('actor')[0], signal.SIGKILL)
    agent.wait_for(r'\[actor\]: active', count=2)
    assert agent.stop() == 0, agent.text
