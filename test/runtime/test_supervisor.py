"""The supervisor refuses what cannot work before it starts anything, and keeps what it started alive."""
import os
import signal
import time

import pytest
import rclpy

from jepa_ros.agent import Agent
from jepa_ros.errors import JepaRosError
from jepa_ros.robot.contract import RobotContract
from jepa_ros.runtime.child import BACKOFF_S, Child
from jepa_ros.runtime.stack import Stack
from jepa_ros.runtime.supervisor import Supervisor


@pytest.mark.parametrize('changes, words', [
    ({'robot': 'two_roms'}, ("unknown robot 'two_roms'", 'two_rooms')),
    ({'world': 'two_roms'}, ("unknown world 'two_roms'", 'two_rooms')),
    ({'model': '/nowhere/at/all'}, ('/nowhere/at/all', 'not found')),
    ({'params_file': '/nowhere.yaml'}, ('params_file /nowhere.yaml', 'no such file')),
    ({'real_time_factor': -1.0}, ('real_time_factor is -1',)),
    ({'log_level': 'wran'}, ("log_level 'wran'", 'did you mean warn')),
    ({'namespace': '9'}, ("namespace '9'",)),
])
def test_an_impossible_stack_is_refused_in_one_line(random_model, changes, words):
    with pytest.raises(JepaRosError) as caught:
        Supervisor(Stack(**{'model': str(random_model), **changes})).start()
    line = str(caught.value)
    assert '\n' not in line and all(word in line for word in words)


def test_a_changed_checkpoint_is_refused(tmp_path):
    Agent.create(RobotContract.load('two_rooms'), seed=1).save(tmp_path)
    weights = tmp_path / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(JepaRosError, match='sha256 does not match'):
        Supervisor(Stack(model=str(tmp_path))).start()


def test_a_checkpoint_for_another_contract_is_refused(tmp_path, random_model):
    other = RobotContract.load('two_rooms').model_copy(update={'name': 'three_rooms'})
    (tmp_path / 'three.yaml').write_text(other.to_yaml())
    with pytest.raises(JepaRosError, match="trained for robot 'two_rooms'.*not for 'three_rooms'"):
        Supervisor(Stack(model=str(random_model), robot=str(tmp_path / 'three.yaml'))).start()


def test_a_domain_with_an_agent_is_refused(ros, random_model):
    node = rclpy.create_node('actor')
    supervisor = Supervisor(Stack(model=str(random_model)), say=lambda line: None)
    with pytest.raises(JepaRosError, match=r'an agent already runs in domain \d+ \(actor\)'):
        with supervisor:
            pass
    assert supervisor.pids == {}
    node.destroy_node()


def test_a_process_that_refuses_ends_the_stack_with_its_line(ros_domain, random_model, tmp_path):
    stack = Stack(model=str(random_model), extra={'command_gate': {'organ_timeout_s': 900.0}})
    supervisor = Supervisor(stack, say=lambda line: None, log_dir=tmp_path)
    with pytest.raises(JepaRosError, match='command_gate refused to start.*organ_timeout_s is 900.0'):
        with supervisor:
            supervisor.wait_ready(30.0)
    assert supervisor.pids == {}


@pytest.mark.parametrize('logged', [True, False])
def test_the_line_of_a_node_deep_in_the_agent_is_the_line_of_the_stack(ros_domain, random_model, tmp_path, logged):
    params = tmp_path / 'params.yaml'
    params.write_text('configurator: {ros__parameters: {default_task: raech}}\n')
    stack = Stack(model=str(random_model), params_file=str(params))
    with pytest.raises(JepaRosError, match='agent refused to start: configurator: cannot configure: unknown task'):
        with Supervisor(stack, say=lambda line: None, log_dir=tmp_path if logged else None) as supervisor:
            supervisor.wait_ready(30.0)


def test_a_stack_that_is_not_ready_in_time_names_who_is_missing(ros_domain, random_model, tmp_path):
    with Supervisor(Stack(model=str(random_model)), say=lambda line: None, log_dir=tmp_path) as supervisor:
        with pytest.raises(JepaRosError, match='agent not active after 0.1 s'):
            supervisor.wait_ready(0.1)
    assert supervisor.pids == {}


def test_pauses_between_restarts_grow_up_to_a_limit():
    child = Child('actor')
    child.start(['true'], None)
    child.process.wait()
    pauses = [child.died() for _ in range(8)]
    assert pauses[0] == BACKOFF_S[0] and pauses == sorted(pauses) and pauses[-1] == BACKOFF_S[1]


def test_children_end_when_their_supervisor_is_killed():
    child = Child('sleeper')
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:  # stands for `jepa-ros up`
        child.start(['sleep', '60'], None)
        os.write(writer, str(child.process.pid).encode())
        time.sleep(60)
        os._exit(0)
    pid = int(os.read(reader, 16))
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    end = time.monotonic() + 5
    while time.monotonic() < end and os.path.exists(f'/proc/{pid}') and 'sleep' in _name(pid):
        time.sleep(0.02)
    assert 'sleep' not in _name(pid)


def _name(pid: int) -> str:
    try:
        with open(f'/proc/{pid}/cmdline') as file:
            return file.read()
    except OSError:
        return ''
