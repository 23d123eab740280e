"""Shadow mode: how agreement is counted, and that an agent that watches never commands a robot."""
import json
import math
import threading
import time

from geometry_msgs.msg import Twist
from hypothesis import given
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from tiny import contract as tiny_contract
from tiny import invariant

from jepa_ros.errors import BagError, CheckpointError, ConfigError
from jepa_ros.evaluation.shadow import agreement, aligned, compare, Heard, lines, Part, pursued, read_parts, Wanted
from jepa_ros.evaluation.shadow_plot import plot
from jepa_ros.msg import EpisodeEvent
from jepa_ros.robot.bag_metadata import Provenance
from jepa_ros.robot.bag_types import offered_qos
from jepa_ros.robot.bag_writer import BagWriter
from jepa_ros.robot.contract import RobotContract
from jepa_ros.runtime.qos import STREAM

PERIOD = 100_000_000
TOPICS = {'/camera/image_raw': 'sensor_msgs/msg/Image', '/odom': 'nav_msgs/msg/Odometry',
          '/cmd_vel': 'geometry_msgs/msg/Twist', '/episode': 'jepa_ros/msg/EpisodeEvent'}


def stamped(kind: type, ns: int, **fields):
    message = kind(**fields)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(ns, 10**9)
    return message


def write_bag(path, contract: RobotContract, episodes: int = 2, rows: int = 8):
    """Episodes as a lockstep recording has them; vx of row i is i / 100."""
    size, ns = contract.observations[0].height, 10**9
    with BagWriter(path, Provenance(contract, 'lockstep')) as writer:
        for topic, kind in TOPICS.items():
            writer.add_topic(topic, kind, offered_qos(topic != '/camera/image_raw', 5))
        for number in range(episodes):
            event = {'episode_id': f'e{number}'}
            writer.write('/episode', ns, serialize_message(stamped(EpisodeEvent, ns, event=0, **event)))
            for row in range(rows + 1):
                image = stamped(Image, ns, height=size, width=size, encoding='rgb8', step=3 * size)
                image.data.frombytes(np.random.default_rng([number, row]).bytes(3 * size * size))
                writer.write('/camera/image_raw', ns, serialize_message(image))
                writer.write('/odom', ns + 1, serialize_message(stamped(Odometry, ns)))
                if row < rows:
                    command = Twist()
                    command.linear.x = row / 100
                    writer.write('/cmd_vel', ns + 2, serialize_message(command))
                else:
                    writer.write('/episode', ns + 3, serialize_message(stamped(EpisodeEvent, ns + 1, event=4, **event)))
                ns += PERIOD
    return path


def part(rows: int = 5, index: int = 0, first_ns: int = 10**9) -> Part:
    actions = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2) / 10
    return Part(index, f'e{index}', first_ns + np.arange(rows, dtype=np.int64) * PERIOD, actions, 0.4)


# ---- counting ----------------------------------------------------------------------------------------------------

def test_the_same_actions_agree_wholly():
    one = part()
    heard = Heard(begun=9, actions={int(ns): list(a) for ns, a in zip(one.stamps_ns, one.actions)})
    figures = compare([one], heard, tiny_contract())
    assert figures['answered'] == figures['due'] == 5 and figures['answered_share'] == 1.0
    for field in figures['actions'].values():
        assert (field['mae'], field['rmse']) == (0.0, 0.0) and field['correlation'] == pytest.approx(1.0)


def test_errors_are_counted_per_field_and_only_where_an_action_came():
    one = part()
    heard = Heard(begun=9, actions={int(one.stamps_ns[1]): [one.actions[1][0] + 0.5, one.actions[1][1]],
                           int(one.stamps_ns[3]): [one.actions[3][0] - 0.1, one.actions[3][1]]})
    figures = compare([one], heard, tiny_contract())
    vx, vy = figures['actions'].values()
    assert (figures['answered'], figures['due'], figures['answered_share']) == (2, 5, 0.4)
    assert vx['mae'] == pytest.approx(0.3) and vx['rmse'] == pytest.approx(math.sqrt((0.25 + 0.01) / 2))
    assert vy['mae'] == pytest.approx(0.0, abs=1e-6)


def test_ticks_from_the_one_that_ended_the_goal_on_need_no_action():
    one = part()
    heard = Heard(begun=9, ends_ns={0: int(one.stamps_ns[3])}, outcomes={0: 'reached'})
    assert pursued(one, heard, PERIOD).tolist() == [True, True, True, False, False]
    assert compare([one], heard, tiny_contract())['due'] == 3


def test_parts_that_were_not_begun_do_not_count():
    assert compare([part(), part(index=1)], Heard(begun=1), tiny_contract())['due'] == 5


def test_without_a_single_answer_nothing_is_claimed():
    figures = compare([part()], Heard(begun=9), tiny_contract())
    assert figures['answered_share'] == 0.0
    assert all(field['mae'] is None and field['correlation'] is None for field in figures['actions'].values())
    json.dumps(figures, allow_nan=False)
    assert ('answered', '0 of 5 due (0.0%)') in lines({**figures, 'goal': 'x'})


@invariant
@given(values=st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), max_size=30))
def test_errors_are_ordered_and_the_correlation_is_one_at_most(values):
    recorded, agent = (np.array([v[i] for v in values], float) for i in (0, 1))
    figures = agreement(recorded, agent)
    assert figures['ticks'] == len(values)
    if values:
        assert 0 <= figures['mae'] <= figures['rmse'] + 1e-9
    if figures['correlation'] is not None:
        assert abs(figures['correlation']) <= 1 + 1e-9


@invariant
@given(shift=st.integers(-PERIOD, PERIOD))
def test_an_answer_belongs_to_the_tick_within_half_a_period(shift):
    one = part(rows=3)
    track = {int(one.stamps_ns[1]) + shift: 'here'}
    found = aligned(one, track, PERIOD)
    assert found.count('here') >= 1 or abs(shift) > PERIOD // 2
    if abs(shift) < PERIOD // 2:
        assert found == [None, 'here', None]


def test_the_plot_shows_gaps_and_missing_answers(tmp_path):
    heard = Heard(begun=9, actions={int(part().stamps_ns[1]): [0.1, 0.2]}, surprise={int(part().stamps_ns[2]): 1.5})
    plot(tmp_path / 'agreement.png', [part(), part(index=1, first_ns=10**10)], heard, tiny_contract())
    assert (tmp_path / 'agreement.png').read_bytes().startswith(b'\x89PNG')


# ---- what is read from the bag -----------------------------------------------------------------------------------

@pytest.fixture
def contract():
    return RobotContract.load('two_rooms')


@pytest.fixture
def bag(tmp_path, contract):
    return write_bag(tmp_path / 'bag', contract)


def test_each_episode_is_a_part_whose_goal_is_its_last_percept(bag, contract):
    first, second = read_parts(bag, contract, 0.0, 0.0)
    assert (first.name, second.name) == ('e0', 'e1') and (first.index, second.index) == (0, 1)
    assert first.actions[:, 0] == pytest.approx(np.arange(8) / 100)
    assert first.goal_s == pytest.approx(0.7) and second.goal_s == pytest.approx(0.9 + 0.7)


def test_episodes_can_be_cut_into_parts_with_goals_of_their_own(bag, contract):
    parts = read_parts(bag, contract, 0.0, 0.0, every_s=0.4)
    assert [p.name for p in parts] == ['e0/0', 'e0/1', 'e1/0', 'e1/1']
    assert [len(p.stamps_ns) for p in parts] == [4, 4, 4, 4]


def test_only_the_part_that_is_played_counts(bag, contract):
    (only,) = read_parts(bag, contract, 0.2, 0.4)
    assert only.actions[:, 0] == pytest.approx([0.02, 0.03, 0.04, 0.05])


def test_a_part_without_recorded_commands_is_one_line(bag, contract):
    with pytest.raises(BagError, match='no percept there is followed by a recorded command'):
        read_parts(bag, contract, 0.85, 0.06)


# ---- the real thing ----------------------------------------------------------------------------------------------

class Watch:
    """Looks, from a context and thread of its own, whether anybody ever could command the robot."""

    def __init__(self):
        self._context = rclpy.Context()
        self._context.init()
        self._node = rclpy.create_node('watch', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self.commands, self.recorded, self.publishers, self.looks = [], [], set(), 0
        self._node.create_subscription(Twist, 'cmd_vel', self.commands.append, STREAM)
        self._node.create_subscription(Twist, 'recorded/cmd_vel', self.recorded.append, STREAM)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._ending.is_set():
            self._executor.spin_once(timeout_sec=0.02)
            self.publishers |= {end.node_name for end in self._node.get_publishers_info_by_topic('cmd_vel')}
            self.looks += 1

    def met(self, replay) -> None:
        """Return when the replaying node and this one know of each other: DDS may take longer than the replay."""
        def known() -> bool:
            heard = [end.node_name for end in replay.get_subscriptions_info_by_topic('recorded/cmd_vel')]
            return 'watch' in heard and replay.get_name() in self._node.get_node_names()
        deadline = time.monotonic() + 20
        while not known():
            assert time.monotonic() < deadline, 'the nodes have not found each other'
            time.sleep(0.02)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


def wanted(bag, random_model, output, **changes) -> Wanted:
    parameters = {'bag': str(bag), 'rate': 0.0, 'start': 0.0, 'duration': 0.0, 'topics': '', 'paused': False}
    given = dict(bag=bag, model=str(random_model), robot='', task='', goal='hindsight', goal_message=None,
                 goal_every_s=0.0, namespace='', output=output, parameters=parameters)
    return Wanted(**{**given, **changes})


def test_an_agent_in_the_shadow_answers_and_nothing_ever_reaches_the_actuator(ros_domain, bag, random_model, tmp_path):
    from jepa_ros.evaluation import shadow_run
    watch, said = Watch(), []
    try:
        figures = shadow_run.run(wanted(bag, random_model, tmp_path / 'out'), watch.met, said.append)
    finally:
        watch.close()
    assert watch.looks > 50 and watch.publishers == set(), 'somebody could have commanded the robot'
    assert watch.commands == []
    assert watch.recorded, 'the recorded commands went aside'
    assert figures['parts'] == 2 and figures['ticks'] == 16
    assert figures['answered'] >= 0.8 * figures['due'] > 0, figures
    assert figures['surprise']['p50'] is not None and figures['latency_ms']['p50'] > 0
    assert json.loads((tmp_path / 'out' / 'shadow.json').read_text())['answered'] == figures['answered']
    assert (tmp_path / 'out' / 'agreement.png').is_file()


@pytest.mark.parametrize('changes, error, words', [
    ({'model': '/nowhere'}, CheckpointError, '/nowhere'), ({'robot': 'tiny.yaml'}, CheckpointError, 'tiny')])
def test_a_model_that_does_not_fit_is_one_line(bag, random_model, tmp_path, monkeypatch, changes, error, words):
    from jepa_ros.evaluation import shadow_run
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tiny.yaml').write_text(tiny_contract().to_yaml())
    with pytest.raises(error, match=words) as caught:
        shadow_run.run(wanted(bag, random_model, tmp_path / 'out', **changes))
    assert '\n' not in str(caught.value)


def test_a_bag_of_another_robot_is_one_line(random_model, tmp_path):
    from jepa_ros.evaluation import shadow_run
    bag = write_bag(tmp_path / 'tiny', tiny_contract())
    with pytest.raises(BagError, match='another robot contract: name is'):
        shadow_run.run(wanted(bag, random_model, tmp_path / 'out'))


def test_an_output_that_cannot_be_written_is_one_line(bag, random_model, tmp_path):
    from jepa_ros.evaluation import shadow_run
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match='give a folder that can be written'):
        shadow_run.run(wanted(bag, random_model, tmp_path / 'file'))
