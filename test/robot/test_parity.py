"""What an agent sees live and what is read from a recording of the same run: equal, bit for bit (design §7).

Real messages go over DDS to the live path of the perception node and to the real recorder at once.
"""
from contextlib import contextmanager
from pathlib import Path
import time

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from real_bags import DATA, needs_data

from jepa_ros.msg import EpisodeEvent
from jepa_ros.paths import known
from jepa_ros.robot import order
from jepa_ros.robot.adapters import observation_types, tensor_spec, TRANSFORM_TYPE
from jepa_ros.robot.bag_open import open_bag
from jepa_ros.robot.bags import iter_percepts, read_episodes
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.raw import has_header, header_ns, with_header_ns
from jepa_ros.robot.recorder_node import Recorder
from jepa_ros.robot.ros_types import message_class
from jepa_ros.runtime.live_ingest import LiveIngest
from jepa_ros.runtime.node import ManagedNode
from jepa_ros.runtime.qos import EVENTS

from .conftest import process, stamped
from .plausible import message_for, streams_of

STEPS = 12
STEP_S = 0.05           # between two bursts of messages
DELAY_NS = 3_000_000    # from the measurement to the sending
SETTLE = {'settle_s': 0.5}  # a busy machine takes messages late, and what is too late is not in its tick
CAMERA = {'height': 24, 'width': 32}
SENSORS = [
    {'key': 'colour', 'type': 'sensor_msgs/msg/Image', **CAMERA},
    {'key': 'grey', 'type': 'sensor_msgs/msg/Image', 'encoding': 'mono8', **CAMERA},
    {'key': 'depth', 'type': 'sensor_msgs/msg/Image', 'encoding': 'depth', **CAMERA},
    {'key': 'jpeg', 'type': 'sensor_msgs/msg/CompressedImage', **CAMERA},
    {'key': 'scan', 'type': 'sensor_msgs/msg/LaserScan', 'beams': 90},
    {'key': 'cloud', 'type': 'sensor_msgs/msg/PointCloud2', 'height': 8, 'width': 32, 'elevation_min_rad': -0.5,
     'elevation_max_rad': 0.5, 'range_max_m': 20.0},
    {'key': 'joints', 'type': 'sensor_msgs/msg/JointState', 'joints': ['elbow', 'wrist'],
     'fields': ['position', 'velocity', 'effort']},
    {'key': 'imu', 'type': 'sensor_msgs/msg/Imu', 'fields': ['orientation', 'angular_velocity', 'linear_acceleration']},
    {'key': 'odom', 'type': 'nav_msgs/msg/Odometry', 'fields': ['pose.pose.position.x', 'pose.pose.orientation.yaw']},
    {'key': 'doubles', 'type': 'std_msgs/msg/Float64MultiArray', 'size': 5},
    {'key': 'floats', 'type': 'std_msgs/msg/Float32MultiArray', 'size': 3, 'required': False},
    {'key': 'any', 'type': 'geometry_msgs/msg/WrenchStamped', 'fields': ['wrench.force.x', 'wrench.torque.z'],
     'stamp': 'receive', 'align': 'asof', 'timeout_s': 0.2, 'required': False},
]
COMMANDS = {'geometry_msgs/msg/Twist': 'linear.x', 'geometry_msgs/msg/TwistStamped': 'twist.angular.z',
            'trajectory_msgs/msg/JointTrajectory': 'position[elbow]', 'std_msgs/msg/Float64MultiArray': 'data[0]'}


def all_adapters(pace: str) -> RobotContract:
    """A robot with a sensor and a command of every type."""
    return RobotContract.model_validate({
        'name': 'everything', 'control_period_s': STEP_S, 'pace': pace, **SETTLE,
        'observations': [{'topic': f'sensor/{s["key"]}'} | s for s in SENSORS],
        'readouts': [{'name': 'x_m', 'topic': 'truth', 'type': 'geometry_msgs/msg/PoseStamped',
                      'field': 'pose.position.x'}],
        'actions': [{'key': f'a{i}', 'topic': f'command/a{i}', 'type': kind,
                     'fields': [{'name': f'v{i}', 'field': path, 'min': -9.0, 'max': 9.0, 'max_rate': 9.0}]}
                    for i, (kind, path) in enumerate(COMMANDS.items())]})


class Listener(ManagedNode):
    """The live path of the perception node, with a list for an encoder."""

    def __init__(self, contract: RobotContract, **node_options):
        self._contract = contract
        self.percepts: list = []
        super().__init__('listener', **node_options)

    def setup(self) -> None:
        self.live = LiveIngest(self, self._contract, self.percepts.extend)

    def started(self) -> None:
        self.live.started()

    def check(self) -> None:
        self.live.check()


class Run:
    """A listener and a recorder in one domain, and publishers for all topics of the contract."""

    def __init__(self, contract: RobotContract, folder: Path, clock: str, use_sim_time: bool):
        self.contract, self.bag = contract, folder / 'bag'
        (folder / 'robot.yaml').write_text(contract.to_yaml(), encoding='utf-8')
        self.context = rclpy.Context()
        self.context.init()
        self.node = rclpy.create_node('robot', context=self.context)
        self.listener = Listener(contract, context=self.context,
                                 parameter_overrides=[Parameter('use_sim_time', value=use_sim_time)])
        settings = {'robot': str(folder / 'robot.yaml'), 'output': str(self.bag), 'clock': clock, 'topics': 'episode',
                    'min_free_mb': 1}
        self.recorder = Recorder(context=self.context, parameter_overrides=[
            Parameter(name, value=value) for name, value in settings.items()])
        self.executor = SingleThreadedExecutor(context=self.context)
        for node in (self.node, self.listener, self.recorder):
            self.executor.add_node(node)
        for node in (self.listener, self.recorder):
            assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS, node.failure
            assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS, node.failure
        self.publishers: dict = {}
        self.sent: dict[str, int] = {}
        self.events = self.node.create_publisher(EpisodeEvent, 'episode', EVENTS)

    def spin(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left_s)

    def wait(self, condition, what: str) -> None:
        end_s = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end_s, f'waited in vain for {what}'
            self.executor.spin_once(timeout_sec=0.02)

    def connect(self) -> None:
        """Make the publishers; all that listen are known when it returns."""
        observed = {o.topic for o in self.contract.observations}
        for topic, streams in streams_of(self.contract).items():
            self.publishers[topic] = self.node.create_publisher(
                message_class(streams[0].type, topic), topic, QoSProfile(depth=64))
        self.wait(lambda: self.events.get_subscription_count() and all(
            p.get_subscription_count() == 1 + (topic in observed) for topic, p in self.publishers.items()),
            'the recorder and the listener')

    def publish(self, topic: str, message) -> None:
        self.publishers[topic].publish(message)
        self.sent[topic] = self.sent.get(topic, 0) + 1

    def wait_taken(self) -> None:
        """Until both have taken all: on a busy machine the listener keeps only the newest of what makes the ticks."""
        observed = {o.topic for o in self.contract.observations}
        live, recording = self.listener.live, self.recorder._recording
        self.wait(lambda: all(live.taken.get(topic) == count for topic, count in self.sent.items() if topic in observed)
                  and all(recording.taken(f'/{topic.lstrip("/")}') == count for topic, count in self.sent.items()),
                  'the messages to be taken')

    def event(self, kind: int, stamp_ns: int) -> None:
        self.events.publish(stamped(EpisodeEvent, stamp_ns, event=kind, episode_id='run'))

    def close_bag(self) -> None:
        self.spin(SETTLE['settle_s'] + 0.1)
        assert self.recorder.trigger_deactivate() == TransitionCallbackReturn.SUCCESS, self.recorder.failure

    def close(self) -> None:
        self.executor.shutdown()
        for node in (self.recorder, self.listener):
            if node.active:
                node.trigger_deactivate()
            node.trigger_shutdown()
            node.destroy_node()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture(autouse=True)
def patient_recorder(monkeypatch):
    """The recorder holds messages back as long as the listener does, for the same reason."""
    monkeypatch.setattr(order, 'HOLD_NS', round(SETTLE['settle_s'] * 1e9))


@contextmanager
def running(contract: RobotContract, folder: Path, clock: str = '', use_sim_time: bool = False):
    made = Run(contract, folder, clock or contract.clock, use_sim_time)
    try:
        yield made
    finally:
        made.close()


def publish_made_up(run: Run) -> None:
    """Bursts of messages of all topics, in an order that changes."""
    rng, sim = np.random.default_rng(7), run.contract.clock == 'sim'
    topics = list(streams_of(run.contract).items())
    run.event(EpisodeEvent.START, 10**9 if sim else time.time_ns())
    run.spin(0.02)
    next_s = time.monotonic()
    for number in range(STEPS):
        for at in rng.permutation(len(topics)):
            topic, streams = topics[at]
            stamp_ns = (10 + number) * round(STEP_S * 1e9) + 10**9 if sim else time.time_ns() - DELAY_NS
            run.publish(topic, message_for(streams, number, stamp_ns))
        next_s += STEP_S
        run.wait_taken()
        run.spin(next_s - time.monotonic())
    run.event(EpisodeEvent.STOP, 10**12 if sim else time.time_ns())
    run.close_bag()


def assert_equal(contract: RobotContract, live: list, bag: Path, at_least: int) -> None:
    """All percepts of the bag were there live, in all bits; live, the clock may tick on behind the last message."""
    recorded = list(iter_percepts(bag, contract))
    with open_bag(bag) as opened:
        counts = {c.topic: c.msgcount for c in opened.connections}
    assert len(recorded) >= at_least, f'{len(recorded)} percepts in the bag, {len(live)} live, of {counts}'
    assert [p.stamp_ns for p in live[:len(recorded)]] == [p.stamp_ns for p in recorded]
    if contract.pacing is not None:
        assert len(live) == len(recorded)
    for ours, theirs in zip(live, recorded):
        assert ours.valid == theirs.valid
        for observation in contract.observations:
            spec, key = tensor_spec(observation), observation.key
            a, b = ours.values[key], theirs.values[key]
            assert a.shape == b.shape == spec.shape and a.dtype == b.dtype == spec.dtype
            assert a.tobytes() == b.tobytes(), f'{key} at {ours.stamp_ns}'


def assert_rows(contract: RobotContract, live: list, bag: Path) -> None:
    """Rows of the bag's episodes are those percepts."""
    by_stamp, rows = {p.stamp_ns: p for p in live}, 0
    for episode in read_episodes(bag, contract):
        for t, stamp in enumerate(episode.stamps_ns):
            for key, values in episode.percepts.items():
                assert values[t].tobytes() == by_stamp[stamp].values[key].tobytes()
                assert episode.valid[key][t] == by_stamp[stamp].valid[key]
            rows += 1
    assert rows > 0


def test_every_message_type_with_an_adapter_is_in_this_test():
    assert {s['type'] for s in SENSORS} >= {*observation_types()} - {TRANSFORM_TYPE}   # no wheel has tf2_msgs


@pytest.mark.parametrize('pace', ['', 'clock'])
def test_every_adapter_gives_the_same_tensors_live_and_from_the_bag(ros_domain, tmp_path, pace):
    contract = all_adapters(pace)
    with running(contract, tmp_path) as run:
        run.connect()
        publish_made_up(run)
        assert_equal(contract, run.listener.percepts, run.bag, STEPS - 3)
        assert_rows(contract, run.listener.percepts, run.bag)
        counters = run.listener.live.ingest.counters
        assert all(not counters[s['key']].dropped for s in SENSORS)


@pytest.mark.parametrize('robot', known('robots'))
def test_every_shipped_robot_has_the_same_percepts_live_and_from_the_bag(ros_domain, tmp_path, robot):
    contract = RobotContract.load(robot).model_copy(update=SETTLE)
    if contract.clock != 'sim':     # the messages below come at another rate than the robot's
        contract = contract.model_copy(update={'control_period_s': STEP_S})
    with running(contract, tmp_path) as run:
        run.connect()
        publish_made_up(run)
        assert_equal(contract, run.listener.percepts, run.bag, STEPS - 3)


def test_the_simulated_base_has_the_same_percepts_live_and_from_the_bag(ros_domain, tmp_path):
    contract = RobotContract.load('two_rooms')
    with running(contract, tmp_path, clock='sim', use_sim_time=True) as run, \
            process('jepa_ros.sim.node', tmp_path / 'log', '-p', 'world:=two_rooms'):
        run.wait(lambda: len(run.listener.percepts) >= 12, 'percepts of the simulator')
        run.close_bag()
        percepts = run.listener.percepts
        recorded = list(iter_percepts(run.bag, contract))
        # The recorder may have found the simulator some images sooner or later than the listener, and only the newest
        # image waits for a listener on a busy machine.
        ours = [p for p in percepts if recorded[0].stamp_ns <= p.stamp_ns <= recorded[-1].stamp_ns]
        theirs = {p.stamp_ns: p.values['overhead'] for p in recorded}
        assert len(ours) >= 10
        assert all(p.values['overhead'].tobytes() == theirs[p.stamp_ns].tobytes() for p in ours)


@needs_data
@pytest.mark.parametrize('robot, bag', [('neato', 'neato/obstacle-avoider'), ('donkeycar', 'donkeycar/seg_03')])
def test_messages_of_real_robots_give_the_same_percepts_live_and_from_the_bag(ros_domain, tmp_path, robot, bag):
    contract = RobotContract.load(robot).model_copy(update=SETTLE)
    with running(contract, tmp_path) as run:
        run.connect()
        replay(run, DATA / bag, 2.0)
        assert_equal(contract, run.listener.percepts, run.bag, 7)


def replay(run: Run, source: Path, seconds: float) -> None:
    """Publish the first seconds of a recording at its own pace, its stamps moved to now."""
    stamped_topics = {t for t, streams in streams_of(run.contract).items()
                      if has_header(message_class(streams[0].type, t))}
    with open_bag(source) as opened:
        names = {opened.topic(topic): topic for topic in run.publishers}
        start_ns = opened.log_span_ns[0]
        shift_ns = time.time_ns() - start_ns
        for name, log_ns, raw in opened.raw_messages(list(names), stop_ns=start_ns + round(seconds * 1e9)):
            run.spin((log_ns + shift_ns - time.time_ns()) * 1e-9)
            raw = bytes(raw)
            if names[name] in stamped_topics:
                raw = with_header_ns(raw, header_ns(raw) + shift_ns)
            run.publish(names[name], raw)
            run.wait_taken()
    run.close_bag()


