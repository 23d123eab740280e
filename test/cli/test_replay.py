"""`jepa-ros replay` as a user runs it: one line for each mistake, a bar and keys, a clean end."""
import os
import pty
import signal
import subprocess
import sys
import time

from nav_msgs.msg import Odometry
import pytest
from rclpy.serialization import serialize_message

from jepa_ros.cli.keys import Keys
from jepa_ros.cli.main import main
from jepa_ros.robot.bag_metadata import Provenance
from jepa_ros.robot.bag_types import offered_qos
from jepa_ros.robot.bag_writer import BagWriter
from jepa_ros.robot.contract import RobotContract

JEPA_ROS = [sys.executable, '-m', 'jepa_ros.cli.main']
SECOND = 10**9


def write_bag(path, seconds: float = 2.0):
    with BagWriter(path, Provenance(RobotContract.load('two_rooms'))) as writer:
        writer.add_topic('/odom', 'nav_msgs/msg/Odometry', offered_qos(True, 5))
        writer.add_topic('/state', 'jepa_ros/msg/State')
        for number in range(round(seconds * 10)):
            writer.write('/odom', SECOND + number * SECOND // 10, serialize_message(Odometry()))
    return path


@pytest.fixture
def bag(tmp_path):
    return write_bag(tmp_path / 'bag')


@pytest.mark.parametrize('argv, words', [
    (['/nowhere'], ('/nowhere: there is no such bag',)),
    (['{bag}', '--rate', '-1'], ('--rate', '0')),
    (['{bag}', '--rate', 'nan'], ('rate',)),
    (['{bag}', '--start', '2'], ('start 2 s is past the end', '1.9 s long')),
    (['{bag}', '--start', '-1'], ('--start',)),
    (['{bag}', '--topics', 'odmo'], ('topic odmo is not in the bag', 'did you mean odom?')),
    (['{bag}', '--topics', 'state'], ('nothing to replay on /state',)),
    (['{bag}', '--robot', 'nowhere.yaml'], ('nowhere.yaml',)),
    (['{bag}', '--namespace', 'a b'], ("'a b'",)),
    (['{bag}', '--shadow'], ('--shadow needs --model',)),
    (['{bag}', '--shadow', '--model', 'm', '--loop'], ('--shadow does not go with --loop',)),
    (['{bag}', '--shadow', '--model', 'm', '--with-commands'], ('--shadow does not go with --with-commands',)),
    (['{bag}', '--shadow', '--model', 'no_such'], ('no_such',)),
    (['{bag}', '--shadow', '--model', 'm', '--goal', 'x_m'], ('x_m', 'no such file')),
    (['{bag}', '--model', 'two_rooms'], ('--model goes with --shadow only',)),
])
def test_a_mistake_is_one_line_and_exit_code_2(capfd, ros_domain, bag, argv, words):
    assert main(['replay', *(arg.format(bag=bag) for arg in argv)]) == 2
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith('jepa-ros: ')
    assert all(word in said[0] for word in words), said[0]


def test_a_bag_without_messages_is_one_line(capfd, ros_domain, tmp_path):
    assert main(['replay', str(write_bag(tmp_path / 'empty', 0))]) == 2
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1 and 'empty: the bag holds no message' in said[0]


def test_a_replay_ends_by_itself_and_says_where_it_is(ros_domain, bag):
    done = subprocess.run([*JEPA_ROS, 'replay', str(bag), '--rate', '10'], env=ros_domain, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0
    assert '20 messages replayed' in done.stderr and 'of 1.9 s  × 10  20 messages' in done.stderr
    assert done.stdout == ''


def test_ctrl_c_ends_it_at_once_without_a_word_of_python(ros_domain, bag):
    replay = subprocess.Popen([*JEPA_ROS, 'replay', str(bag), '--loop'], env=ros_domain, stderr=subprocess.PIPE,
                              text=True)
    try:
        assert 'INFO' in replay.stderr.readline()      # it plays
        replay.send_signal(signal.SIGINT)
        assert replay.wait(15) == 0
        assert 'Traceback' not in replay.stderr.read()
    finally:
        replay.kill()
        replay.wait()


class Terminal:
    """A process on a terminal of its own, and what it wrote there."""

    def __init__(self, command: list[str], env: dict):
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(command, env={**env, 'TERM': 'xterm', 'COLUMNS': '120'}, stdin=slave,
                                        stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        os.set_blocking(self._master, False)
        self.text = ''

    def read_until(self, words: str, timeout_s: float = 30.0) -> None:
        end_s = time.monotonic() + timeout_s
        while words not in self.text:
            assert time.monotonic() < end_s, f'no {words!r} in {self.text[-2000:]!r}'
            try:
                self.text += os.read(self._master, 65536).decode(errors='replace')
            except BlockingIOError:
                time.sleep(0.02)

    def press(self, keys: str) -> None:
        self.text = ''
        os.write(self._master, keys.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def test_keys_pause_step_resume_and_quit(ros_domain, tmp_path):
    bag = write_bag(tmp_path / 'long', seconds=300.0)
    terminal = Terminal([*JEPA_ROS, 'replay', str(bag), '--pause'], ros_domain)
    try:
        terminal.read_until('paused')
        terminal.press('s')
        terminal.read_until(' 1 messages')
        terminal.press('\x1b[C')
        terminal.read_until(' 2 messages')
        terminal.press(' ')
        terminal.read_until('replaying')
        terminal.press(' ')
        terminal.read_until('paused')
        terminal.press('q')
        assert terminal.process.wait(15) == 0
    finally:
        terminal.close()


def test_where_standard_input_is_no_terminal_there_are_no_keys(monkeypatch, tmp_path):
    (tmp_path / 'in').write_text('q')
    with (tmp_path / 'in').open() as file:
        monkeypatch.setattr(sys, 'stdin', file)
        with Keys() as keys:
            assert keys.pressed() == []


def test_keys_are_read_without_enter_and_the_terminal_is_left_as_it_was(monkeypatch):
    import termios
    master, slave = pty.openpty()
    with os.fdopen(slave) as terminal:
        before = termios.tcgetattr(slave)
        monkeypatch.setattr(sys, 'stdin', terminal)
        with Keys() as keys:
            os.write(master, b' s\x1b[Cq')
            pressed: list[str] = []
            while len(pressed) < 4:
                pressed += keys.pressed()
            assert pressed == [' ', 's', 'right', 'q']
        assert termios.tcgetattr(slave) == before
    os.close(master)
