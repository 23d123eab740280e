"""`jepa-ros up` and `jepa-ros goal` as a user runs them."""
import os
import signal
import subprocess
import sys

import cv2
import numpy as np

JEPA_ROS = [sys.executable, '-m', 'jepa_ros.cli.main']


def goal(env, *args: str) -> subprocess.CompletedProcess:
    return subprocess.run([*JEPA_ROS, 'goal', *args], env=env, capture_output=True, text=True, timeout=40)


def run_to_the_end(command: list[str], env, timeout_s: float = 40.0) -> tuple[int, str]:
    """Exit code and all output; after the timeout the output ends with the stacks of all threads."""
    with subprocess.Popen([sys.executable, '-X', 'faulthandler', *command[1:]], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as process:
        try:
            said = process.communicate(timeout=timeout_s)[0]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            said = process.communicate()[0]
    return process.returncode, said


def children_of(pid: int) -> list[str]:
    with open(f'/proc/{pid}/task/{pid}/children') as file:
        direct = file.read().split()
    threads = [open(f'/proc/{pid}/task/{task}/children').read().split() for task in os.listdir(f'/proc/{pid}/task')]
    return sorted({*direct, *(child for each in threads for child in each)})


def test_up_says_when_all_are_active_serves_goals_and_ends_with_ctrl_c(ros_domain, random_model, tmp_path):
    command = [*JEPA_ROS, 'up', f'model={random_model}', 'world=two_rooms', 'namespace=first']
    up = subprocess.Popen(command, env=ros_domain, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        first = up.stdout.readline()
        assert 'starting sim, command_gate, agent' in first
        while 'all active' not in (line := up.stdout.readline()):
            assert line, 'up ended before all were active'
        children = children_of(up.pid)
        assert len(children) == 3

        missed = goal(ros_domain, '--readout', 'x_m=90', '--timeout', '0.5', '--namespace', 'first')
        assert missed.returncode == 1
        assert missed.stderr.strip().startswith('jepa-ros: goal not reached (TIMEOUT): not reached within 0.')
        picture = tmp_path / 'goal.png'
        cv2.imwrite(str(picture), np.full((200, 200, 3), 99, np.uint8))
        wrong = goal(ros_domain, '--image', str(picture), '--task', 'raech', '--namespace', 'first')
        assert wrong.returncode == 1 and 'UNKNOWN_TASK' in wrong.stderr and 'did you mean reach' in wrong.stderr

        code, said = run_to_the_end(command, ros_domain)
        assert code == 2 and 'already' in said and ', namespace /first' in said, said

        up.send_signal(signal.SIGINT)
        assert up.wait(20) == 0
        assert not [pid for pid in children if os.path.exists(f'/proc/{pid}')]
    finally:
        up.kill()
        up.wait()
