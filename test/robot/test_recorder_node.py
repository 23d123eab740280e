"""The recorder as a process: everything published ends up in the bag, in its order."""
import json
from pathlib import Path
import signal
import time

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import pytest
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import Image
from std_msgs.msg import String

from jepa_ros.msg import Action, EpisodeEvent
from jepa_ros.robot.bags import read_episodes
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


@pytest.mark.parametrize('args, words', [
    (('-p', "output:=''"), 'output is empty'),
    (('-p', 'topics:=no_such_topic'), "'no_such_topic' needs its type"),
    (('-p', 'topics:=x:no_msgs/msg/X'), 'no_msgs/msg/X is not installed'),
    (('-p', 'clock:=moon'), 'one of system, sim, lockstep'),
    (('-p', 'parameters:=nonsense'), 'parameters is not JSON'),
])
def test_what_is_wrong_at_the_start_is_one_line_and_exit_code_2(ros_domain, tmp_path, args, words):
    with record(tmp_path, *args) as child:
        assert child.wait(20) == 2
    said = (tmp_path / 'log').read_text()
    assert words in said and 'Traceback' not in said
    assert not (tmp_path / 'bag').exists()

