"""When the messages of one stream came, where its topic carries several: each transform and joint group has its own."""
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from made_bags import every, message, WALL_NS
import numpy as np
import pytest

from jepa_ros.robot.arrivals import Arrivals, of_stream
from jepa_ros.robot.survey import TopicSurvey

TF, JOINTS = 'tf2_msgs/msg/TFMessage', 'sensor_msgs/msg/JointState'


def link(parent: str, child: str, stamp_ns: int, x: float = 0.0):
    return message('geometry_msgs/msg/TransformStamped', stamp_ns, parent, child_frame_id=child,
                   transform__translation__x=x, transform__rotation__w=1.0)


def tree(messages, name: str = '/tf') -> TopicSurvey:
    """Survey of [(log time, links)]."""
    topic = TopicSurvey(name, TF)
    for log_ns, links in messages:
        topic.take(message(TF, transforms=links), log_ns)
    return topic


def lookup(parent: str, child: str):
    return SimpleNamespace(type=TF, parent_frame=parent, child_frame=child)


def test_a_transform_has_the_messages_times_and_delay_of_its_own():
    quick = every(0.02, 100, lambda i, t: [link('map', 'odom', t)])
    slow = every(0.5, 4, lambda i, t: [link('odom', 'base', t - 10**11)])
    topic = tree(sorted(quick + slow, key=lambda each: each[0]))
    base, odom = of_stream(lookup('odom', 'base'), topic), of_stream(lookup('map', 'odom'), topic)
    assert (topic.recorded, base.recorded, odom.recorded) == (104, 4, 100)
    assert (base.median_s, odom.median_s) == pytest.approx((0.5, 0.02))
    assert (base.rate_hz, odom.rate_hz) == pytest.approx((2.0, 50.0))
    assert base.delay_s[1] == pytest.approx(100.0) and odom.delay_s[1] == 0


def test_a_way_over_several_links_has_the_messages_that_move_it_once():
    fixed = tree([(WALL_NS, [link('base', 'camera', WALL_NS - 10**12)])], '/tf_static')
    both = every(0.1, 10, lambda i, t: [link('odom', 'base', t), link('map', 'odom', t - 10**7),
                                        link('base', 'arm', t)])
    found = of_stream(lookup('/map', 'camera'), tree(both), fixed)
    assert found.recorded == 10 and list(found.stamp_ns) == [t for t, _ in both]     # the newest link's


def test_a_way_of_fixed_links_alone_is_timed_by_the_log():
    fixed = tree([(WALL_NS, [link('base', 'camera', WALL_NS - 10**12)])], '/tf_static')
    found = of_stream(lookup('base', 'camera'), tree([]), fixed)
    assert found.recorded == 1 and found.delay_s == (0, 0, 0)


def test_frames_that_are_not_connected_have_nothing():
    topic = tree(every(0.1, 10, lambda i, t: [link('odom', 'base', t)]))
    assert of_stream(lookup('map', 'base'), topic).recorded == 0


def test_links_in_a_loop_end():
    topic = tree([(WALL_NS, [link('a', 'b', WALL_NS), link('b', 'a', WALL_NS)])])
    assert of_stream(lookup('c', 'a'), topic).recorded == 0


def test_joints_have_the_messages_that_name_one_of_them():
    topic = TopicSurvey('/joint_states', JOINTS)
    for i in range(30):
        names = ['finger'] if i % 3 else ['elbow', 'wrist']
        topic.take(message(JOINTS, WALL_NS + i * 10**8, name=names, position=np.full(len(names), 0.1 * i)),
                   WALL_NS + i * 10**8)
    arm = of_stream(SimpleNamespace(type=JOINTS, joints=['wrist', 'elbow']), topic)
    assert (arm.recorded, arm.median_s) == (10, pytest.approx(0.3))


def test_a_stamp_that_is_repeated_is_a_message_but_no_sample():
    own = Arrivals()
    for i in range(10):
        own.arrive(i, WALL_NS + i * 10**8, message('std_msgs/msg/Header', stamp=message(
            'builtin_interfaces/msg/Time', sec=1_700_000_000 + i // 2)))
    assert (own.recorded, own.median_s, own.gap_s) == (10, pytest.approx(1.0), pytest.approx(1.0))
    assert own.received().median_s == pytest.approx(0.1)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_every_message_that_tells_of_the_way_counts_exactly_once(told):
    """Any mix of links of a way of two and one beside it."""
    messages = [(WALL_NS + i * 10**8, [link(*pair, WALL_NS + i * 10**8 - k) for k, pair in enumerate(
        [('map', 'odom')] * first + [('odom', 'base')] * second + [('base', 'arm')] * beside)])
        for i, (beside, first, second) in enumerate(told)]
    on_way = [t for (t, _), (_, first, second) in zip(messages, told) if first or second]
    connected = any(f for _, f, _ in told) and any(s for _, _, s in told)
    found = of_stream(lookup('map', 'base'), tree(messages))
    assert list(found.log_ns) == (on_way if connected else [])
