"""A node's process: it refuses with exit code 2 and one line, and ends in order."""
import signal
import subprocess
import sys

import pytest


def run(env, module: str, *parameters: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess:
    args = [part for text in ('autostart:=true', *parameters) for part in ('-p', text)]
    return subprocess.run([sys.executable, '-m', module, '--ros-args', *args], env=env, timeout=timeout_s,
                          capture_output=True, text=True)


@pytest.mark.parametrize('module, parameter, words', [
    ('jepa_ros.actor.node', 'max_budget_ms:=0.5', ('[actor]', 'max_budget_ms is 0.5', '1 to 10000')),
    ('jepa_ros.perception.node', 'modle:=x', ('[perception]', 'unknown parameter modle', 'did you mean model')),
    ('jepa_ros.runtime.composition', 'model:=/nowhere/at/all', ('[perception]', "'/nowhere/at/all' not found")),
    ('jepa_ros.runtime.composition', 'robot:=two_roms', ('[perception]', "unknown robot 'two_roms'", 'two_rooms')),
])
def test_what_cannot_be_configured_ends_with_code_2_and_one_line(ros_domain, module, parameter, words):
    done = run(ros_domain, module, parameter)
    errors = [line for line in done.stderr.splitlines() if '[ERROR]' in line]
    assert done.returncode == 2
    assert len(errors) == 1 and all(word in errors[0] for word in words)
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('domain', ['abc', '233', '-1'])
def test_an_unusable_domain_ends_with_code_2_and_one_line(ros_domain, domain):
    done = run({**ros_domain, 'ROS_DOMAIN_ID': domain}, 'jepa_ros.cost.node')
    assert done.returncode == 2
    assert done.stderr == f"jepa_ros: ROS_DOMAIN_ID is '{domain}': it must be a number from 0 to 232\n"


def test_sigint_ends_an_unconfigured_node_with_code_0_and_no_traceback(ros_domain):
    process = subprocess.Popen([sys.executable, '-m', 'jepa_ros.memory.node', '--ros-args', '-p', 'use_sim_time:=true',
                                '-p', 'clock_timeout_s:=0.1'], env=ros_domain, stderr=subprocess.PIPE, text=True)
    try:
        assert 'nothing came on /clock' in process.stderr.readline()  # it spins now
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=10)
        assert process.returncode == 0 and 'Traceback' not in rest
    finally:
        process.kill()
        process.wait()
