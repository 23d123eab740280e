"""The replay over real DDS: the same bytes, a clock that only grows, pause, step, loop, and who must not be there."""
from contextlib import contextmanager
import json
import signal
import threading
import time

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import Reader, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import UInt32
from std_srvs.srv import Trigger

from jepa_ros.errors import BagError, ConfigError
from jepa_ros.msg import EpisodeEvent
from jepa_ros.robot.bag_metadata import Provenance
from jepa_ros.robot.bag_types import offered_qos
from jepa_ros.robot.bag_writer import BagWriter
from jepa_ros.robot.raw import header_ns
from jepa_ros.robot.replay import GAP_NS
from jepa_ros.robot.replay_node import ReplayNode
from jepa_ros.robot.ros_types import stamp_ns
from jepa_ros.runtime.qos import STREAM

from .conftest import PERIOD_NS, process, Tape

BEST_EFFORT = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=1000)


class Replaying:
    """A replay in a thread of its own. `wait()` returns when it has ended and raises what it raised."""

    def __init__(self, bag, **parameters):
        self._context = rclpy.Context()
        self._context.init()
        overrides = [Parameter(k, value=v) for k, v in {'bag': str(bag), **parameters}.items()]
        self.node = ReplayNode(context=self._context, parameter_overrides=overrides)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name='replay')
        self._thread.start()

    def play(self, peer) -> None:
        """Resume it as soon as all who listen are connected, and wait for its end."""
        self.begin(peer)
        peer.wait(lambda: self.ended, 'the end of the replay')
        self.wait()

    def begin(self, peer) -> None:
        """Discovery takes seconds on a busy machine: the replay waits, paused, until all who listen are connected."""
        self.connect(peer)
        if not self.ended:
            call(peer, 'resume')

    def connect(self, peer) -> None:
        """Wait until all who listen are connected."""
        peer.wait(lambda: self.ended or all(map(self._listeners, peer.wanted)), 'those who listen to be connected')

    def _listeners(self, topic: str) -> int:
        publishers = {p.topic_name: p for p in self.node.publishers}
        return publishers[topic].get_subscription_count() if topic in publishers else 0

    def _run(self) -> None:
        try:
            self.node.run(self._executor)
        except BaseException as error:
            self._error = error

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def wait(self) -> None:
        self._thread.join(20)
        assert self.ended
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.node.stopping = True
        self._thread.join(20)
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


@contextmanager
def replaying(bag, **parameters):
    """A replay that waits, paused, unless the test is about its beginning."""
    made = Replaying(bag, **{'paused': True, 'discovery_wait_s': 0.1, **parameters})
    try:
        yield made
    finally:
        made.close()


class Ear:
    """All raw messages of some topics with the wall time of each."""

    def __init__(self, peer, topics: dict[str, type], profile=BEST_EFFORT):
        peer.wanted |= {peer.node.resolve_topic_name(topic) for topic in topics}
        self.heard: dict[str, list[tuple[float, bytes]]] = {topic: [] for topic in topics}
        for topic, kind in topics.items():
            peer.node.create_subscription(kind, topic, lambda raw, t=topic: self._take(t, raw), profile, raw=True)

    def _take(self, topic: str, raw: bytes) -> None:
        self.heard[topic].append((time.monotonic(), raw))

    def raws(self, topic: str) -> list[bytes]:
        return [raw for _, raw in self.heard[topic]]

    def span_s(self, topic: str) -> float:
        times = [wall for wall, _ in self.heard[topic]]
        return times[-1] - times[0]


def recorded(bag) -> dict[str, list[bytes]]:
    out: dict[str, list[bytes]] = {}
    with Reader(bag) as reader:
        for connection, _, raw in reader.messages():
            out.setdefault(connection.topic, []).append(bytes(raw))
    return out


def same(heard: list[bytes], wanted: list[bytes]) -> bool:
    """The same bytes; on its way DDS may fill a message up to a multiple of four."""
    return len(heard) == len(wanted) and all(
        raw[:len(was)] == was and len(raw) - len(was) < 4 for raw, was in zip(heard, wanted))


def with_qos(bag, path, contract):
    """The bag with the QoS that its real publishers offer."""
    offered = {'/episode': offered_qos(True, 10, True), '/cmd_vel': offered_qos(True, 5)}
    with BagWriter(path, Provenance(contract, 'sim')) as writer, Reader(bag) as reader:
        for connection in reader.connections:
            writer.add_topic(connection.topic, connection.msgtype,
                             offered.get(connection.topic, offered_qos(False, 1)))
        for connection, ns, raw in reader.messages():
            writer.write(connection.topic, ns, raw)
    return path


def straight(path, contract, rows: int):
    """A bag of one episode of so many rows, 10 per second."""
    tape = Tape(path, contract)
    tape.episode('a', rows)
    tape.writer.close()
    return path


def call(peer, name: str) -> str:
    client = peer.node.create_client(Trigger, name if '/' in name else f'replay/{name}')
    peer.wait(client.service_is_ready, name)
    answer = client.call_async(Trigger.Request())
    peer.wait(answer.done, f'an answer of {name}')
    assert answer.result().success
    return answer.result().message


@pytest.fixture
def peer(peer):
    """The test's own node; `wanted` are the topics on which the replay is to have it as a listener."""
    peer.wanted = set()
    return peer


# ---- what goes out -----------------------------------------------------------------------------------------------

def test_the_bytes_are_those_of_the_bag_and_the_clock_only_grows(peer, two_episodes):
    names = {'camera/image_raw': Image, 'odom': Odometry, 'recorded/cmd_vel': Twist, 'episode': EpisodeEvent}
    ear, clock, actuator = Ear(peer, names), Ear(peer, {'/clock': Clock}, RELIABLE), peer.hear(Twist, 'cmd_vel', STREAM)
    wanted = recorded(two_episodes)
    with replaying(two_episodes, rate=4.0, topics='*') as replay:
        replay.play(peer)
        peer.wait(lambda: all(len(ear.heard[n]) >= len(wanted[f'/{n.removeprefix("recorded/")}']) for n in names),
                  'the last messages')
        last_ns = header_ns(wanted['/camera/image_raw'][-1])
        peer.wait(lambda: any(header_ns(raw) >= last_ns for raw in clock.raws('/clock')), 'the last time')
    for name in names:
        assert same(ear.raws(name), wanted[f'/{name.removeprefix("recorded/")}'])
    stamps = [header_ns(raw) for raw in clock.raws('/clock')]      # a Clock begins as a header does, with its stamp
    assert stamps == sorted(stamps)
    assert {header_ns(raw) for raw in wanted['/camera/image_raw']} <= set(stamps), 'each tick has its own clock message'
    assert actuator == []


def test_a_replay_recorded_again_is_the_same_recording(peer, two_episodes, tmp_path, contract):
    two_episodes = with_qos(two_episodes, tmp_path / 'as_recorded', contract)
    said = peer.hear(DiagnosticStatus, 'heartbeat', STREAM)
    wanted = recorded(two_episodes)

    def counts() -> dict[str, int]:
        told = [{v.key: v.value for v in m.values} for m in said if m.name == 'recorder']
        return json.loads(told[-1].get('messages', '{}')) if told else {}

    def ready() -> bool:
        return any({v.key: v.value for v in m.values}.get('ready') == 'true' for m in said if m.name == 'recorder')
    with process('jepa_ros.robot.recorder_node', tmp_path / 'log', '-p', 'autostart:=true', '-p', 'clock:=sim',
                 '-p', f'output:={tmp_path / "again"}', '-p', 'topics:=episode') as recorder:
        with replaying(two_episodes, rate=2.0, topics='*', with_commands=True) as replay:
            peer.wait(ready, 'a recorder that hears the replay')
            replay.play(peer)
        peer.wait(lambda: sum(counts().values()) >= sum(map(len, wanted.values())), 'all to be recorded')
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(10) == 0
    again = recorded(tmp_path / 'again')
    assert set(again) == set(wanted)
    assert all(same(again[topic], raws) for topic, raws in wanted.items())


@pytest.mark.parametrize('rate', [2.0, 4.0])
def test_the_rate_says_how_long_it_takes(peer, contract, tmp_path, rate):
    ear = Ear(peer, {'camera/image_raw': Image})
    bag = straight(tmp_path / 'bag', contract, 20)
    with replaying(bag, rate=rate) as replay:
        replay.play(peer)
        lost_s = replay.node.status.lost_s
    assert ear.span_s('camera/image_raw') == pytest.approx(2.0 / rate + lost_s, abs=0.15)


def test_rate_0_with_answers_loses_nothing_even_for_a_slow_consumer(peer, contract, tmp_path):
    bag, heard = straight(tmp_path / 'bag', contract, 30), []
    done = peer.node.create_publisher(UInt32, 'done', STREAM)

    def slowly(message: Image) -> None:
        heard.append(stamp_ns(message.header.stamp))
        time.sleep(0.01)
        done.publish(UInt32(data=len(heard)))
    peer.node.create_subscription(Image, 'camera/image_raw', slowly, QoSProfile(
        depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    peer.wanted.add('/camera/image_raw')
    with replaying(bag, rate=0.0, wait_for='done') as replay:
        peer.wait(lambda: done.get_subscription_count(), 'the replay to listen')
        replay.begin(peer)
        began_s = time.monotonic()
        peer.wait(lambda: replay.ended and len(heard) == 31, 'all images')
        replay.wait()
    assert heard == [header_ns(raw) for raw in recorded(bag)['/camera/image_raw']]
    assert time.monotonic() - began_s < 30 * 0.5, 'nobody waited for an answer that does not come'


def test_start_and_duration_play_a_part(peer, contract, tmp_path):
    ear = Ear(peer, {'camera/image_raw': Image})
    bag = straight(tmp_path / 'bag', contract, 20)
    with replaying(bag, rate=4.0, start=0.55, duration=0.5) as replay:
        replay.play(peer)
    assert same(ear.raws('camera/image_raw'), recorded(bag)['/camera/image_raw'][6:11])


def test_what_was_latched_before_the_start_is_there(peer, contract, tmp_path):
    with BagWriter(tmp_path / 'bag', Provenance(contract)) as writer:
        writer.add_topic('/sim/collisions', 'std_msgs/msg/UInt32', offered_qos(True, 1, True))
        writer.add_topic('/odom', 'nav_msgs/msg/Odometry')
        for number, ns in ((3, 10**9), (4, 10**9 + 1)):
            writer.write('/sim/collisions', ns, serialize_message(UInt32(data=number)))
        for ns in (2 * 10**9, 3 * 10**9):
            writer.write('/odom', ns, serialize_message(Odometry()))
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    heard = peer.hear(UInt32, 'sim/collisions', latched)
    peer.wanted.add('/sim/collisions')
    with replaying(tmp_path / 'bag', start=0.5, rate=4.0) as replay:
        replay.play(peer)
        peer.wait(lambda: heard, 'the setting')
    assert [m.data for m in heard] == [4]


def test_a_loop_moves_stamps_on_and_never_turns_the_clock_back(peer, contract, tmp_path):
    ear, clock = Ear(peer, {'camera/image_raw': Image, 'odom': Odometry}), Ear(peer, {'/clock': Clock}, RELIABLE)
    bag = straight(tmp_path / 'bag', contract, 5)
    images = recorded(bag)['/camera/image_raw']
    with replaying(bag, rate=8.0, loop=True) as replay:
        replay.begin(peer)
        peer.wait(lambda: len(ear.heard['camera/image_raw']) >= 2 * len(images) + 1, 'a third pass')
        assert replay.node.status.passes >= 3
    heard = ear.raws('camera/image_raw')
    assert same(heard[:len(images)], images), 'the first pass is byte for byte'
    with Reader(bag) as reader:
        length = reader.duration + GAP_NS
    for number, raw in enumerate(heard):
        passes, index = divmod(number, len(images))
        assert header_ns(raw) == header_ns(images[index]) + passes * length
        assert same([raw[12:]], [images[index][12:]])
    stamps = [header_ns(raw) for raw in clock.raws('/clock')]
    assert stamps == sorted(stamps)


# ---- pause and step ----------------------------------------------------------------------------------------------

def test_services_pause_step_and_resume(peer, contract, tmp_path):
    ear, clock = Ear(peer, {'camera/image_raw': Image}), Ear(peer, {'/clock': Clock}, RELIABLE)
    images = recorded(straight(tmp_path / 'bag', contract, 10))['/camera/image_raw']
    with replaying(tmp_path / 'bag', rate=2.0) as replay:
        replay.connect(peer)
        for steps in (1, 2, 3):
            assert call(peer, 'step').startswith('paused at')
            peer.wait(lambda n=steps: len(ear.heard['camera/image_raw']) >= n, 'one tick more')
        stands = len(clock.heard['/clock'])
        peer.wait(lambda: len(clock.heard['/clock']) > stands + 20, 'a clock that stands still but is told')
        assert same(ear.raws('camera/image_raw'), images[:3])
        assert len({header_ns(raw) for raw in clock.raws('/clock')[stands + 5:]}) == 1
        assert call(peer, 'resume').startswith('playing at 0.2')
        peer.wait(lambda: len(ear.heard['camera/image_raw']) > 4, 'the replay to go on')
        assert call(peer, 'pause').startswith('paused at')
        assert replay.node.status.paused and not replay.ended
        replay.play(peer)
    assert same(ear.raws('camera/image_raw'), images)


# ---- who must not be there ---------------------------------------------------------------------------------------

def test_another_clock_in_the_domain_is_refused(peer, two_episodes):
    peer.node.create_publisher(Clock, '/clock', 10)
    with replaying(two_episodes, discovery_wait_s=9.0) as replay, \
            pytest.raises(ConfigError, match='has a publisher of /clock: /peer'):
        replay.wait()


def test_a_live_robot_on_the_same_topic_is_refused(peer, two_episodes):
    peer.node.create_publisher(Image, 'camera/image_raw', BEST_EFFORT)
    with replaying(two_episodes, discovery_wait_s=9.0) as replay, \
            pytest.raises(ConfigError, match='/camera/image_raw: /peer; end it'):
        replay.wait()


def test_commands_are_not_sent_where_somebody_may_be_a_robot(peer, two_episodes):
    heard = Ear(peer, {'cmd_vel': Twist})
    with replaying(two_episodes, with_commands=True, discovery_wait_s=9.0) as replay, \
            pytest.raises(ConfigError, match='/peer listens on /cmd_vel and may be a robot'):
        peer.wait(lambda: replay.ended, 'the refusal')
        replay.wait()
    assert heard.heard['cmd_vel'] == []


def test_commands_are_held_back_as_soon_as_a_robot_comes(peer, contract, tmp_path):
    bag = straight(tmp_path / 'bag', contract, 30)
    ear = Ear(peer, {'odom': Odometry})
    with replaying(bag, rate=2.0, with_commands=True) as replay:
        replay.begin(peer)
        peer.wait(lambda: len(ear.heard['odom']) > 3, 'the replay to begin')
        robot = Ear(peer, {'cmd_vel': Twist})
        peer.wait(lambda: replay.node.health.has('robot /cmd_vel'), 'the robot to be noticed')
        replay.play(peer)
    assert robot.heard['cmd_vel'] == []
    assert len(ear.heard['odom']) == 31, 'all else goes on'


# ---- bags that cannot be played ----------------------------------------------------------------------------------

def test_types_that_are_not_installed_are_skipped_with_one_line(peer, tmp_path, capfd):
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg('uint8 a', 'nowhere_msgs/msg/Bump'))
    with Writer(tmp_path / 'bag', version=9) as writer:
        odometry = writer.add_connection('/odom', 'nav_msgs/msg/Odometry', typestore=store)
        bumps = [writer.add_connection(f'/bump{i}', 'nowhere_msgs/msg/Bump', typestore=store) for i in range(2)]
        writer.write(odometry, 1, serialize_message(Odometry()))
        for connection in bumps:
            writer.write(connection, 2, b'\x00\x01\x00\x00\x01')
    ear = Ear(peer, {'odom': Odometry})
    with replaying(tmp_path / 'bag') as replay:
        replay.play(peer)
        peer.wait(lambda: ear.heard['odom'], 'the message')
    warned = [line for line in capfd.readouterr().err.splitlines() if 'WARN' in line]
    assert len(warned) == 1 and '/bump0 (nowhere_msgs/msg/Bump), /bump1' in warned[0]
    with replaying(tmp_path / 'bag', topics='bump*') as replay, pytest.raises(BagError, match='not installed'):
        replay.wait()


def test_a_part_without_messages_is_one_line(peer, tmp_path, contract):
    bag = straight(tmp_path / 'bag', contract, 5)
    with replaying(bag, topics='cmd_vel', start=0.45) as replay, pytest.raises(BagError, match='there is no message'):
        replay.wait()


def test_nobody_who_answers_is_one_line(ros_domain, tmp_path, two_episodes):
    with replaying(two_episodes, wait_for='state') as replay, pytest.raises(ConfigError, match='nobody publishes'):
        replay.wait()


def test_the_executable_plays_in_its_namespace_and_ends_by_itself(peer, two_episodes, tmp_path):
    ear, clock = Ear(peer, {'/r2/camera/image_raw': Image}), Ear(peer, {'/clock': Clock})
    with process('jepa_ros.robot.replay_node', tmp_path / 'log', '-p', f'bag:={two_episodes}', '-p', 'rate:=4.0',
                 '-p', 'paused:=true', '-r', '__ns:=/r2') as child:
        peer.wait(lambda: clock.heard['/clock'] and peer.node.count_publishers('/r2/camera/image_raw'), 'the replay')
        call(peer, '/r2/replay/resume')
        peer.wait(lambda: child.poll() is not None, 'the end of the replay')
        assert child.returncode == 0
    assert same(ear.raws('/r2/camera/image_raw'), recorded(two_episodes)['/camera/image_raw'])
    assert PERIOD_NS == header_ns(ear.raws('/r2/camera/image_raw')[1]) - header_ns(ear.raws('/r2/camera/image_raw')[0])
