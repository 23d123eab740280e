"""The command gate as a process: what the robot gets over DDS."""
import math
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Twist
import pytest
from std_msgs.msg import String
from std_srvs.srv import Trigger

from jepa_ros.msg import Action
from jepa_ros.runtime.qos import STREAM

from .conftest import Peer, process

NAMES = ['vx_mps', 'vy_mps']


class Robot:
    """Plays actor, organ and robot around a gate."""

    def __init__(self, peer, organ='driver'):
        self.peer, self.organ = peer, organ
        self.commands = peer.hear(Twist, 'cmd_vel', STREAM)
        self.diagnostics = peer.hear(DiagnosticArray, '/diagnostics', STREAM)
        self._action = peer.node.create_publisher(Action, 'action', STREAM)
        self._heartbeat = peer.node.create_publisher(DiagnosticStatus, 'heartbeat', STREAM)
        self.clients = {n: peer.node.create_client(Trigger, n) for n in ('gate/stop', 'gate/reset')}
        self._beat_s = 0.0

    def beat(self) -> None:
        if time.monotonic() - self._beat_s > 0.1:
            self._beat_s = time.monotonic()
            self._heartbeat.publish(DiagnosticStatus(name=self.organ, values=[KeyValue(key='state', value='active')]))

    def act(self, vx: float, vy: float = 0.0, names=NAMES) -> None:
        message = Action(names=names, values=[vx, vy])
        message.state_stamp = self.peer.node.get_clock().now().to_msg()
        self._action.publish(message)

    def wait(self, condition, what: str):
        return self.peer.wait(condition, what, meanwhile=self.beat)

    def ready(self) -> None:
        """Wait until the gate lets commands through."""
        self.wait(lambda: self._action.get_subscription_count() and self.mode() == 'idle', 'a gate that is ready')
        self.commands.clear()

    def status(self) -> DiagnosticStatus | None:
        found = [s for array in self.diagnostics for s in array.status if s.name == 'command_gate']
        return found[-1] if found else None

    def mode(self) -> str:
        status = self.status()
        return next((v.value for v in status.values if v.key == 'mode'), '') if status else ''

    def speeds(self) -> list[float]:
        return [c.linear.x for c in self.commands]

    def call(self, name: str) -> Trigger.Response:
        future = self.clients[name].call_async(Trigger.Request())
        self.wait(future.done, f'{name} to answer')
        return future.result()


@pytest.fixture
def robot(peer):
    return Robot(peer)


@pytest.fixture
def stranger(ros_domain):
    """A node of another participant: DDS refuses two types of one topic within one."""
    made = Peer('stranger')
    yield made
    made.close()


@pytest.fixture
def gate(tmp_path, robot):
    """A gate that needs one organ, `driver`, and only forwards."""
    with process('jepa_ros.robot.gate_node', tmp_path / 'log', '-p', 'autostart:=true', '-p', 'required_organs:=driver',
                 '-p', 'repeat_rate_hz:=0.0') as child:
        robot.ready()
        yield child


@pytest.fixture
def repeating_gate(tmp_path, robot):
    with process('jepa_ros.robot.gate_node', tmp_path / 'log', '-p', 'autostart:=true',
                 '-p', 'required_organs:=driver') as child:
        robot.ready()
        yield child


def test_one_command_per_action_then_the_robot_stops_and_bad_actions_are_counted(gate, robot):
    robot.act(0.4, 0.1)
    robot.wait(lambda: robot.commands, 'a command')
    assert (robot.commands[0].linear.x, robot.commands[0].linear.y) == (0.4, 0.1)
    robot.wait(lambda: robot.speeds()[-1] == 0.0, 'a stop after the action is outdated')
    assert robot.speeds().count(0.4) == 1
    robot.commands.clear()
    for vx, names in ((math.nan, NAMES), (math.inf, NAMES), (5.0, NAMES), (0.1, ['a', 'b'])):
        robot.act(vx, names=names)
    robot.wait(lambda: sum(int(v.value) for v in robot.status().values if v.key.startswith('dropped')) == 4,
               'four dropped actions in /diagnostics')
    assert not robot.commands


def test_a_dead_organ_stops_the_robot_within_half_a_second_and_is_named(repeating_gate, robot):
    drive_until = time.monotonic() + 0.5

    def drive() -> None:
        robot.act(0.5)
        if time.monotonic() < drive_until:
            robot.beat()

    robot.peer.wait(lambda: 0.5 in robot.speeds(), 'motion', meanwhile=drive)
    robot.peer.wait(lambda: time.monotonic() >= drive_until, 'the death of the organ', meanwhile=drive)
    robot.peer.wait(lambda: robot.speeds()[-1] == 0.0, 'a stop', meanwhile=drive)
    assert time.monotonic() - drive_until < 0.5
    robot.peer.wait(lambda: 'driver is lost: no heartbeat' in robot.status().message, 'the reason', meanwhile=drive)
    assert robot.status().level == DiagnosticStatus.ERROR
    drive_until = time.monotonic() + 60
    robot.peer.wait(lambda: robot.speeds()[-1] == 0.5, 'motion again', meanwhile=drive)


def test_emergency_stop_holds_until_reset(repeating_gate, robot):
    assert robot.call('gate/stop').success
    robot.commands.clear()
    robot.peer.wait(lambda: len(robot.commands) > 5, 'commands while stopped',
                    meanwhile=lambda: (robot.beat(), robot.act(0.5)))
    assert set(robot.speeds()) == {0.0}
    robot.wait(lambda: 'emergency stop' in robot.status().message, 'the reason')
    assert robot.call('gate/reset').message == 'released'
    robot.peer.wait(lambda: robot.speeds()[-1] == 0.5, 'motion', meanwhile=lambda: (robot.beat(), robot.act(0.5)))


def test_standing_is_repeated_and_the_last_word_is_zero(repeating_gate, robot):
    robot.wait(lambda: len(robot.commands) > 4, 'repeated commands')
    robot.peer.wait(lambda: robot.speeds()[-1] == 0.5, 'motion', meanwhile=lambda: (robot.beat(), robot.act(0.5)))
    repeating_gate.send_signal(2)
    robot.wait(lambda: repeating_gate.poll() is not None, 'the gate to end')
    robot.wait(lambda: robot.speeds()[-1] == 0.0, 'a last stop')
    assert repeating_gate.returncode == 0


def test_a_command_topic_of_another_type_is_said(gate, robot, stranger):
    stranger.node.create_publisher(String, 'cmd_vel', STREAM)
    robot.wait(lambda: 'cmd_vel is used by stranger as std_msgs/msg/String' in robot.status().message, 'the complaint')
    assert robot.status().level == DiagnosticStatus.ERROR


def test_another_publisher_of_commands_is_said(gate, robot):
    robot.peer.node.create_publisher(Twist, 'cmd_vel', STREAM)
    robot.wait(lambda: 'peer also publishes on cmd_vel' in robot.status().message, 'the complaint')


@pytest.mark.parametrize('arguments, words', [
    (('-p', 'robot:=two_romes'), "unknown robot 'two_romes'; did you mean 'two_rooms'?"),
    (('-p', 'organ_timeout_s:=-1.0'), 'organ_timeout_s'),
    (('-p', 'organ_timeout:=1.0'), 'organ_timeout_s'),
])
def test_what_is_wrong_at_the_start_is_one_line_and_exit_code_2(ros_domain, tmp_path, arguments, words):
    with process('jepa_ros.robot.gate_node', tmp_path / 'log', '-p', 'autostart:=true', *arguments) as child:
        assert child.wait(20) == 2
    said = (tmp_path / 'log').read_text()
    assert words in said and 'Traceback' not in said
