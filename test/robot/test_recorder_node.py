"""The recorder as a process: everything published ends up in the bag, in its order."""
import itertools
import json
from pathlib import Path
import signal
import time

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import numpy as np
import pytest
from rclpy.qos import ReliabilityPolicy
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import Image, Joy
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from jepa_ros.cost.term_set import term_set_sha256
from jepa_ros.errors import BagError
from jepa_ros.msg import Action, EpisodeEvent
from jepa_ros.robot.adapters import to_array
from jepa_ros.robot.bag_info import bag_info
from jepa_ros.robot.bag_metadata import custom_data
from jepa_ros.robot.bag_repair import repair
from jepa_ros.robot.bags import read_episodes
from jepa_ros.robot.contract import RobotContract
from jepa_ros.runtime.qos import EVENTS, SENSOR, STREAM

from .conftest import picture, process, stamped

ROWS = 40


class Source:
    """Publishes what a robot and its driver would, as fast as messages can be sent."""

    def __init__(self, peer):
        self.peer = peer
        make = peer.node.create_publisher
        self.image, self.odom = make(Image, 'camera/image_raw', SENSOR), make(Odometry, 'odom', SENSOR)
        self.command, self.action = make(Twist, 'cmd_vel', STREAM), make(Action, 'action', STREAM)
        self.event = make(EpisodeEvent, 'episode', EVENTS)
        self.heard = peer.hear(DiagnosticStatus, 'heartbeat', STREAM)
        self.ns = 10**9

    def figures(self) -> dict[str, str]:
        said = [m for m in self.heard if m.name == 'recorder']
        return {v.key: v.value for v in said[-1].values} if said else {}

    def wait_ready(self) -> None:
        self.peer.wait(lambda: self.figures().get('ready') == 'true'
                       and self.image.get_subscription_count() and self.command.get_subscription_count()
                       and self.odom.get_subscription_count(), 'a recorder that hears all topics')

    def row(self, number: int) -> None:
        self.image.publish(picture(number, self.ns, 128))
        odometry = stamped(Odometry, self.ns)
        odometry.pose.pose.position.x = float(number)
        self.odom.publish(odometry)
        command = Twist()
        command.linear.x = number / 100
        self.command.publish(command)
        self.ns += 10**8

    def episode(self) -> None:
        self.event.publish(stamped(EpisodeEvent, self.ns, event=EpisodeEvent.START, episode_id='a'))
        for number in range(ROWS):
            self.row(number)
            time.sleep(0.005)  # more than 0.5 MB at once does not fit DDS's shared memory
        self.event.publish(stamped(EpisodeEvent, self.ns, event=EpisodeEvent.STOP, episode_id='a'))

    def wait_recorded(self, messages: int) -> None:
        self.peer.wait(lambda: sum(json.loads(self.figures().get('messages', '{}')).values()) >= messages,
                       f'{messages} recorded messages')


@pytest.fixture
def source(peer):
    return Source(peer)


def record(tmp_path: Path, *args: str, wrapper=()):
    return process('jepa_ros.robot.recorder_node', tmp_path / 'log', '-p', 'autostart:=true',
                   '-p', f'output:={tmp_path / "bag"}', *args, wrapper=wrapper)


def test_everything_is_recorded_in_its_order(tmp_path, source, contract):
    with record(tmp_path, '-p', 'clock:=sim') as child:
        source.wait_ready()
        source.episode()
        source.wait_recorded(3 * ROWS + 2)
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 0
    assert '0 lost' in (tmp_path / 'log').read_text()
    (episode,) = read_episodes(tmp_path / 'bag', contract)
    assert len(episode) == ROWS
    assert episode.readouts[:, 0].tolist() == list(range(ROWS))
    assert episode.actions[:, 0] == pytest.approx([n / 100 for n in range(ROWS)])


def test_what_was_sent_before_ctrl_c_is_in_the_bag(tmp_path, source, contract):
    with record(tmp_path, '-p', 'clock:=sim') as child:
        source.wait_ready()
        source.episode()
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 0
    with Reader(tmp_path / 'bag') as reader:
        counts = {c.topic: c.msgcount for c in reader.connections}
    assert counts['/episode'] == 2 and counts['/cmd_vel'] == ROWS


def test_topics_with_a_given_type_are_recorded_too(tmp_path, source):
    notes = source.peer.node.create_publisher(String, 'notes', STREAM)
    with record(tmp_path, '-p', 'topics:=episode,notes:std_msgs/msg/String') as child:
        source.wait_ready()
        source.peer.wait(notes.get_subscription_count, 'a subscription to notes')
        notes.publish(String(data='hello'))
        source.wait_recorded(1)
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 0
    with Reader(tmp_path / 'bag') as reader:
        assert {c.topic: c.msgcount for c in reader.connections}['/notes'] == 1


def test_a_full_disk_is_one_line_exit_code_2_and_a_readable_bag(tmp_path, source, contract):
    limit = ('bash', '-c', 'ulimit -f 4500; exec "$0" "$@"')  # KiB, a little more than the reserve for the index
    with record(tmp_path, '-p', 'clock:=sim', wrapper=limit) as child:
        source.wait_ready()
        source.event.publish(stamped(EpisodeEvent, source.ns, event=EpisodeEvent.START, episode_id='a'))
        numbers = iter(range(100_000))
        source.peer.wait(lambda: child.poll() is not None, 'the end of the recorder',
                         timeout_s=30, meanwhile=lambda: [source.row(next(numbers)) for _ in range(3)])
        assert child.returncode == 2
    said = (tmp_path / 'log').read_text()
    assert 'File too large' in said and 'kept and readable' in said and 'Traceback' not in said
    (episode,) = read_episodes(tmp_path / 'bag', contract)
    assert len(episode) > 10


def test_a_killed_recorder_loses_less_than_the_last_second(tmp_path, source, contract):
    with record(tmp_path) as child:
        source.wait_ready()
        source.event.publish(stamped(EpisodeEvent, source.ns, event=EpisodeEvent.START, episode_id='a'))
        numbers, until_s = itertools.count(), time.monotonic() + 2.5
        source.peer.wait(lambda: time.monotonic() > until_s, 'the moment of the kill',
                         meanwhile=lambda: source.row(next(numbers)))
        killed_ns = time.time_ns()
        child.kill()
        child.wait()
    with pytest.raises(BagError, match=r'cut off.*jepa-ros bag repair .*bag saves what can be read'):
        read_episodes(tmp_path / 'bag', contract)
    assert repair(tmp_path / 'bag') > 50
    with Reader(tmp_path / 'bag') as reader:
        assert 0 < killed_ns - reader.end_time < 1_000_000_000
        counts = {c.topic: c.msgcount for c in reader.connections}
    assert counts['/camera/image_raw'] > 20 and counts['/episode'] == 1
    said = custom_data(tmp_path / 'bag')
    assert said['jepa_ros.contract_sha256'] == contract.sha256()
    assert said['jepa_ros.term_set_sha256'] == term_set_sha256()


def test_services_and_joystick_buttons_begin_and_end_audited_episodes(tmp_path, source, contract):
    joystick = source.peer.node.create_publisher(Joy, 'joy', STREAM)
    start = source.peer.node.create_client(Trigger, 'record/start_episode')
    stop = source.peer.node.create_client(SetBool, 'record/stop_episode')

    def ask(client, request):
        future = client.call_async(request)
        source.peer.wait(future.done, 'an answer')
        return future.result().success, future.result().message

    def drive(rows: int = 12) -> None:
        for number in range(rows):
            source.row(number)
            time.sleep(0.005)

    def press(button: int, running: str) -> None:
        joystick.publish(Joy(axes=[0.0], buttons=[int(n == button) for n in range(8)]))
        source.peer.wait(lambda: source.figures().get('episode') == running, f'episode {running!r}')
        joystick.publish(Joy(axes=[0.0], buttons=[0] * 8))
    with record(tmp_path, '-p', 'clock:=sim', '-p', 'joy_topic:=joy') as child:
        source.wait_ready()
        source.peer.wait(lambda: start.service_is_ready() and stop.service_is_ready()
                         and joystick.get_subscription_count(), 'services and joystick')
        assert ask(start, Trigger.Request()) == (
            False, 'nothing has come on camera/image_raw yet: is the robot on?')
        drive(2)
        source.wait_recorded(6)
        assert ask(stop, SetBool.Request(data=True)) == (False, 'no episode is running: start one first')
        assert ask(start, Trigger.Request()) == (True, 'bag-000000')
        drive()
        source.wait_recorded(6 + 36)
        assert ask(stop, SetBool.Request(data=True)) == (True, 'bag-000000')
        press(7, 'bag-000001')
        source.ns += 10**9          # the camera falls out for a second
        drive()
        source.wait_recorded(6 + 36 + 36)
        press(1, '')
        press(7, 'bag-000002')
        drive()
        source.wait_recorded(6 + 36 + 36 + 36)
        child.send_signal(signal.SIGINT)    # within an episode, which is ended too
        assert child.wait(10) == 0
    said = (tmp_path / 'log').read_text()
    assert 'bag-000001' in said and 'failed its audit: camera/image_raw has a gap of 1.10 s' in said
    assert '1 of 3 episodes failed their audit' in said
    info = bag_info(tmp_path / 'bag')
    assert [(e.name, e.end, bool(e.problems)) for e in info.episodes] == [
        ('bag-000000', 'success', False), ('bag-000001', 'failure', True), ('bag-000002', 'stop', False)]
    lengths = {e.episode_id.partition('+')[0]: len(e) for e in read_episodes(tmp_path / 'bag', contract)}
    assert lengths['bag-000000'] == 12


def test_reliable_publishers_get_a_reliable_subscription_and_nothing_comes_twice(tmp_path, peer):
    make = peer.node.create_publisher
    source = Source(peer)
    peer.node.destroy_publisher(source.image)
    source.image = make(Image, 'camera/image_raw', STREAM)

    def reliable() -> bool:
        ends = peer.node.get_subscriptions_info_by_topic('camera/image_raw')
        return any(end.qos_profile.reliability == ReliabilityPolicy.RELIABLE for end in ends)
    with record(tmp_path, '-p', 'clock:=sim') as child:
        source.wait_ready()
        peer.wait(reliable, 'a reliable subscription')
        source.episode()
        source.wait_recorded(3 * ROWS + 2)
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 0
    with Reader(tmp_path / 'bag') as reader:
        assert {c.topic: c.msgcount for c in reader.connections}['/camera/image_raw'] == ROWS


def test_compressed_images_are_recorded_under_their_own_name(tmp_path, source):
    with record(tmp_path, '-p', 'clock:=sim', '-p', 'compress_images:=png', '-p', 'split_s:=1.0') as child:
        source.wait_ready()
        source.episode()
        source.wait_recorded(3 * ROWS + 2)
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 0
    info = bag_info(tmp_path / 'bag')
    assert len(info.files) == 4
    there = RobotContract.parse(custom_data(tmp_path / 'bag')['jepa_ros.contract'])
    assert there.observations[0].topic == 'camera/image_raw/compressed'
    (episode,) = read_episodes(tmp_path / 'bag', there)
    seen = to_array(RobotContract.load('two_rooms').observations[0], picture(3, 0, 128))
    np.testing.assert_array_equal(episode.percepts['overhead'][3], seen)


@pytest.mark.parametrize('args, words', [
    (('-p', "output:=''"), 'output is empty'),
    (('-p', 'topics:=no_such_topic'), "'no_such_topic' needs its type"),
    (('-p', 'topics:=x:no_msgs/msg/X'), 'no_msgs/msg/X is not installed'),
    (('-p', 'clock:=moon'), 'one of system, sim, lockstep'),
    (('-p', 'parameters:=nonsense'), 'parameters is not JSON'),
    (('-p', 'min_free_mb:=999999'), '--min-free-mb'),
    (('-p', 'compress_images:=webp'), "'webp' is unknown"),
    (('-p', 'joy_topic:=joy', '-p', 'button_success:=7'), 'give each a button of its own'),
])
def test_what_is_wrong_at_the_start_is_one_line_and_exit_code_2(ros_domain, tmp_path, args, words):
    with record(tmp_path, *args) as child:
        assert child.wait(20) == 2
    said = (tmp_path / 'log').read_text()
    assert words in said and 'Traceback' not in said
    assert not (tmp_path / 'bag').exists()

