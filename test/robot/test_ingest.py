"""Messages become percepts: never of the future, stale ones withheld, on ticks of an observation or of the clock."""
from geometry_msgs.msg import PoseStamped
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from rosbags.typesys import get_typestore, Stores
from sensor_msgs.msg import JointState

from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.ingest import Ingest

from .conftest import picture, stamped

MS = 1_000_000
S = 1000 * MS
POSE = 'geometry_msgs/msg/PoseStamped'
TYPES = get_typestore(Stores.ROS2_JAZZY).types


def robot(*observations: dict, readouts=(), **fields) -> RobotContract:
    """Contract of PoseStamped observations (field x), unless they say otherwise."""
    plain = {'type': POSE, 'fields': ['pose.position.x']}
    action = {'key': 'base', 'topic': 'cmd_vel', 'type': 'geometry_msgs/msg/Twist',
              'fields': [{'name': 'v', 'field': 'linear.x', 'min': -1.0, 'max': 1.0, 'max_rate': 1.0}]}
    return RobotContract.model_validate({
        'name': 'r', 'control_period_s': 0.1, 'actions': [action], 'readouts': list(readouts),
        'observations': [(plain if 'type' not in o else {}) | {'topic': o['key']} | o for o in observations], **fields})


def pose(ms: float, x: float = 0.0, frame: str = '') -> PoseStamped:
    message = stamped(PoseStamped, round(ms * MS))
    message.pose.position.x, message.header.frame_id = x, frame
    return message


def feed(ingest: Ingest, *messages) -> list:
    """`(topic, sent in ms, stamp in ms)` each, with x = its number; returns all percepts."""
    return [percept for number, (topic, sent, stamp) in enumerate(messages)
            for percept in ingest.put(topic, pose(stamp, number), sent * MS)]


def seen(percepts, key: str) -> list:
    return [float(p.values[key][0]) for p in percepts]


def test_the_first_observation_makes_the_ticks():
    percepts = feed(Ingest(robot({'key': 'a'}, {'key': 'b'})),
                    ('b', 90, 90), ('a', 100, 100), ('b', 150, 150), ('b', 190, 190), ('a', 200, 200))
    assert [p.stamp_ns for p in percepts] == [100 * MS, 200 * MS]
    assert seen(percepts, 'a') == [1, 4] and seen(percepts, 'b') == [0, 3]


def test_another_observation_may_make_the_ticks():
    percepts = feed(Ingest(robot({'key': 'a'}, {'key': 'b'}, pace='b')), ('a', 100, 100), ('b', 150, 150))
    assert [p.stamp_ns for p in percepts] == [150 * MS]


def test_a_sample_sent_after_the_tick_is_not_in_it_even_if_it_was_measured_before():
    percepts = feed(Ingest(robot({'key': 'a'}, {'key': 'b'})),
                    ('b', 50, 50), ('a', 100, 100), ('b', 120, 90), ('a', 200, 200))
    assert seen(percepts, 'b') == [0, 2]


def test_a_sample_measured_after_the_tick_is_not_in_it_even_if_it_was_sent_before():
    """A camera that needs 60 ms to deliver, and odometry that is ahead of it."""
    percepts = feed(Ingest(robot({'key': 'a'}, {'key': 'b'})), ('b', 95, 95), ('b', 150, 150), ('a', 160, 100))
    assert seen(percepts, 'b') == [0]


def test_a_percept_is_withheld_until_all_required_observations_have_come():
    ingest = Ingest(robot({'key': 'a'}, {'key': 'b'}))
    assert feed(ingest, ('a', 100, 100)) == []
    assert ingest.withheld == {'b': 1} and ingest.reason == 'b: no usable sample yet'
    assert len(feed(ingest, ('b', 150, 150), ('a', 200, 200))) == 1 and ingest.reason == ''


def test_hold_takes_the_newest_sample_whatever_its_age():
    percepts = feed(Ingest(robot({'key': 'a'}, {'key': 'b', 'timeout_s': 0.2})), ('b', 50, 50), ('a', 9000, 9000))
    assert len(percepts) == 1


def test_asof_withholds_the_percept_when_the_newest_sample_is_stale():
    ingest = Ingest(robot({'key': 'a'}, {'key': 'b', 'timeout_s': 0.2, 'align': 'asof'}))
    percepts = feed(ingest, ('b', 50, 50), ('a', 250, 250), ('a', 251, 251))
    assert [p.stamp_ns for p in percepts] == [250 * MS]
    assert ingest.counters['b'].stale == 1
    assert ingest.reason == 'b: the newest sample is 0.20 s old, its timeout_s is 0.2'


def test_an_observation_that_is_not_required_may_be_missing_and_says_so():
    ingest = Ingest(robot({'key': 'a'}, {'key': 'b', 'align': 'asof', 'timeout_s': 0.2, 'required': False}))
    percepts = feed(ingest, ('a', 100, 100), ('b', 150, 150), ('a', 200, 200), ('a', 900, 900))
    assert [p.valid for p in percepts] == [{'a': True, 'b': b} for b in (False, True, False)]
    assert seen(percepts, 'b') == [0, 1, 0] and percepts[0].values['b'].dtype == np.float32
    assert (ingest.counters['b'].missing, ingest.counters['b'].stale) == (1, 1)


def test_a_message_of_the_pace_that_cannot_be_used_makes_no_tick():
    camera = {'key': 'a', 'type': 'sensor_msgs/msg/Image', 'height': 8, 'width': 8}
    ingest, broken = Ingest(robot(camera)), picture(1, 200 * MS, 8)
    broken.height = 80
    assert len(ingest.put('a', picture(0, 100 * MS, 8), 100 * MS)) == 1
    assert ingest.put('a', broken, 200 * MS) == []
    assert ingest.counters['a'].bad == 1 and 'data has 192 bytes' in ingest.reason
    assert len(ingest.put('a', picture(2, 300 * MS, 8), 300 * MS)) == 1 and ingest.reason == ''


def test_duplicates_and_stragglers_of_the_pace_make_no_tick():
    percepts = feed(Ingest(robot({'key': 'a'})), ('a', 100, 100), ('a', 101, 100), ('a', 150, 90), ('a', 200, 200))
    assert [p.stamp_ns for p in percepts] == [100 * MS, 200 * MS]


def test_ticks_go_on_when_the_clock_goes_back_and_nothing_of_before_is_used():
    ingest = Ingest(robot({'key': 'a'}, {'key': 'b'}))
    before = feed(ingest, ('b', 9000, 9000), ('a', 9010, 9010))
    after = feed(ingest, ('a', 9100, 100), ('b', 9150, 150), ('a', 9200, 200))
    assert len(before) == 1 and [p.stamp_ns for p in after] == [200 * MS]
    assert seen(after, 'b') == [1] and ingest.counters['b'].jump_back == 1


def test_receive_stamps_are_sending_times():
    percepts = feed(Ingest(robot({'key': 'a', 'stamp': 'receive'})), ('a', 100, 0), ('a', 200, 5))
    assert [p.stamp_ns for p in percepts] == [100 * MS, 200 * MS]


def test_other_frames_are_counted_and_used():
    ingest = Ingest(robot({'key': 'a', 'frame': 'base_link'}))
    assert ingest.put('a', pose(100, 1, '/base_link'), 100 * MS)
    assert ingest.put('a', pose(200, 2, 'laser'), 200 * MS)
    assert ingest.counters['a'].frame == 1 and "'laser'" in ingest.counters['a'].lines['frame']
    assert ingest.frame_id == 'laser'


def test_joint_states_of_other_joints_on_the_same_topic_are_no_concern():
    arm = {'key': 'arm', 'topic': 'joint_states', 'type': 'sensor_msgs/msg/JointState', 'joints': ['elbow']}
    ingest = Ingest(robot(arm))
    for n in range(1, 5):
        name = 'elbow' if n % 2 else 'finger'
        ingest.put('joint_states', stamped(JointState, n * S, name=[name], position=[float(n)]), n * S)
    assert ingest.counters['arm'].counts() == {
        'received': 2, 'converted': 2, 'gap': 1, 'foreign': 2}


def test_readouts_are_the_newest_of_the_tick_or_nan():
    x = {'name': 'x_m', 'topic': 'odom', 'type': POSE, 'field': 'pose.position.x'}
    percepts = feed(Ingest(robot({'key': 'a'}, readouts=[x])), ('a', 100, 100), ('odom', 150, 150), ('a', 200, 200))
    assert np.isnan(percepts[0].readouts[0]) and percepts[1].readouts.tolist() == [1.0]


def test_an_own_converter_replaces_the_adapters():
    ingest = Ingest(robot({'key': 'a'}), convert=lambda stream, message: np.array([7.0, 8.0]))
    assert ingest.put('a', pose(100), 100 * MS)[0].values['a'].tolist() == [7.0, 8.0]


# ---- ticks of the clock

def by_clock(**fields) -> Ingest:
    return Ingest(robot({'key': 'a', 'timeout_s': 0.3, **fields}, pace='clock'))


def test_clock_ticks_stand_at_multiples_of_the_period():
    percepts = feed(by_clock(), ('a', 130, 130), ('a', 290, 290), ('a', 405, 405))
    assert [p.stamp_ns // MS for p in percepts] == [200, 300, 400]
    assert seen(percepts, 'a') == [0, 1, 1]


def test_a_sample_sent_at_the_tick_is_in_it():
    percepts = feed(by_clock(), ('a', 130, 130), ('a', 200, 200), ('a', 201, 201))
    assert seen(percepts, 'a') == [1]


def test_advance_makes_the_ticks_that_no_message_has_made_yet():
    ingest = by_clock()
    feed(ingest, ('a', 130, 130))
    assert ingest.due_ns() == 200 * MS and ingest.advance(199 * MS) == []
    assert [p.stamp_ns // MS for p in ingest.advance(310 * MS)] == [200, 300]


def test_clock_ticks_end_in_silence_and_start_again():
    ingest = by_clock()
    feed(ingest, ('a', 130, 130))
    assert [p.stamp_ns // MS for p in ingest.advance(10**6 * MS)] == [200, 300, 400]
    assert ingest.due_ns() is None
    assert [p.stamp_ns // MS for p in feed(ingest, ('a', 86_400_050, 86_400_050), ('a', 86_400_250, 86_400_250))] == [
        86_400_100, 86_400_200]


def test_clock_ticks_follow_a_clock_that_is_set_back():
    ingest = by_clock()
    feed(ingest, ('a', 9130, 9130))
    assert [p.stamp_ns // MS for p in feed(ingest, ('a', 150, 150), ('a', 250, 250))] == [200]


def test_an_observation_makes_the_same_clock_ticks_with_and_without_readouts():
    x = {'name': 'x_m', 'topic': 'odom', 'type': POSE, 'field': 'pose.position.x'}
    messages = [('a', 130, 130), ('a', 250, 250), ('a', 2000, 2000), ('a', 2150, 2150)]
    alone = by_clock()
    both = Ingest(robot({'key': 'a', 'timeout_s': 0.3}, readouts=[x], pace='clock'))
    mixed = sorted([*messages, *(('odom', t, t) for t in range(0, 3000, 40))], key=lambda m: m[1])
    assert ([p.stamp_ns for p in feed(both, *mixed) + both.advance(3 * S)]
            == [p.stamp_ns for p in feed(alone, *messages) + alone.advance(3 * S)])


# ---- transforms, which only bags have where tf2 is not installed

def transforms(*links, static: bool = False):
    """TFMessage of `(stamp in ms, parent, child, x)`."""
    header, time = TYPES['std_msgs/msg/Header'], TYPES['builtin_interfaces/msg/Time']
    vector, turn = TYPES['geometry_msgs/msg/Vector3'], TYPES['geometry_msgs/msg/Quaternion']
    return TYPES['tf2_msgs/msg/TFMessage']([
        TYPES['geometry_msgs/msg/TransformStamped'](
            header(time(*divmod(ms * MS, S)), parent), child,
            TYPES['geometry_msgs/msg/Transform'](vector(x, 0.0, 0.0), turn(0.0, 0.0, 0.0, 1.0)))
        for ms, parent, child, x in links])


@pytest.fixture
def tf():
    return Ingest(robot({'key': 'pose', 'topic': '/tf', 'type': 'tf2_msgs/msg/TFMessage', 'parent_frame': 'odom',
                         'child_frame': 'laser'}))


def test_a_pose_is_composed_of_moving_and_fixed_links_and_stamped_by_the_moving_one(tf):
    assert tf.put('/tf', transforms((100, 'odom', 'base', 1.0)), 100 * MS) == []
    assert tf.put('/tf_static', transforms((5, 'base', 'laser', 0.5)), 120 * MS) == []
    (percept,) = tf.put('/tf', transforms((200, 'odom', 'base', 2.0), (250, 'base', 'wheel', 9.0)), 210 * MS)
    assert percept.stamp_ns == 200 * MS and percept.values['pose'][0] == 2.5


def test_transforms_of_other_frames_are_no_samples(tf):
    tf.put('/tf_static', transforms((0, 'base', 'laser', 0.5)), 50 * MS)
    assert tf.put('/tf', transforms((100, 'base', 'wheel', 1.0)), 100 * MS) == []
    assert tf.counters['pose'].received == 0 and tf.counters['pose'].foreign == 2
    assert 'do not place laser in odom' in tf.counters['pose'].lines['foreign']


# ---- invariants

EVENTS = st.lists(st.tuples(st.sampled_from('abc'), st.integers(1, 60), st.integers(-3, 8)), max_size=50)


@given(EVENTS, st.sampled_from(['', 'b', 'clock']))
@settings(max_examples=150, deadline=None)
def test_no_percept_holds_a_sample_measured_or_sent_after_its_tick(events, pace):
    """Streams a and b are required and held, c is optional and becomes stale."""
    ingest = Ingest(robot({'key': 'a'}, {'key': 'b'}, {'key': 'c', 'required': False, 'align': 'asof',
                                                       'timeout_s': 0.2}, pace=pace))
    sent, percepts, samples = 0, [], {}
    for number, (topic, step, age) in enumerate(events, 1):
        sent += step * MS
        stamp = max(sent - 10 * age * MS, 0)
        samples[number] = (topic, stamp, sent)
        for percept in ingest.put(topic, pose(stamp / MS, number), sent):
            percepts.append((percept, sent))
    for percept, now in percepts:
        for key, valid in percept.valid.items():
            if not valid:
                assert key == 'c' and percept.values['c'].tolist() == [0.0]
                continue
            topic, stamp, sample_sent = samples[int(percept.values[key][0])]
            assert topic == key and 0 < stamp <= percept.stamp_ns and sample_sent <= now
            assert pace != 'clock' or sample_sent <= percept.stamp_ns
            assert key != 'c' or percept.stamp_ns - stamp <= 200 * MS
    if pace == 'clock':
        assert all(p.stamp_ns % (100 * MS) == 0 for p, _ in percepts)
    stamps = [p.stamp_ns for p, _ in percepts]
    assert stamps == sorted(set(stamps)), 'no clock went back by more than a second here'
