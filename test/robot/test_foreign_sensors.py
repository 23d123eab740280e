"""What `robot init` makes of what is odd in part: empty, reordered, not finite, of another clock."""
import cv2
from made_bags import base_bag, every, message, odometry, scan, twist, WALL_NS, write_bag
import numpy as np
import pytest

from jepa_ros.errors import BagError
from jepa_ros.robot.bags import read_episodes
from jepa_ros.robot.check import check_bag
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.draft import draft
from jepa_ros.robot.survey import survey_bag

HOUR_NS = 3600 * 10**9


def drafted(bag, **options) -> tuple[str, RobotContract]:
    text = draft(survey_bag(bag), **options)
    return text, RobotContract.parse(text)


def observation(contract: RobotContract, key: str):
    return next(o for o in contract.observations if o.key == key)


def picture(t: int, encoding: str, channels: int, size: int | None = None):
    data = np.random.default_rng(0).integers(0, 256, 8 * 8 * channels if size is None else size, np.uint8)
    return message('sensor_msgs/msg/Image', t, 'camera', height=8, width=8, encoding=encoding, step=8 * channels,
                   data=data)


def joints(t: int, names: str, value: float):
    return message('sensor_msgs/msg/JointState', t, name=list(names),
                   position=np.array([value + ord(n) for n in names]))


def commands(count: int = 40):
    return every(0.1, count, lambda i, t: twist(0.1 * (i % 4)))


# ---- reasons

@pytest.mark.parametrize('topic, made, words', [
    ('/short', lambda i, t: picture(t, 'rgb8', 3, 100), 'data has 100 bytes, 8×8 rgb8 with step 24 needs 192'),
    ('/odd', lambda i, t: picture(t, 'nv12', 1), "encoding 'nv12' is not supported; rgb8, .*8UC3.*yuyv, mono16 are"),
    ('/joint_states', lambda i, t: joints(t, 'abc' if i % 10 else 'ab', 0.1 * i),
     'its messages hold no joints that always come together'),
    ('/scan', lambda i, t: scan(t, []), 'its scans have no beams')])
def test_a_bag_whose_sensors_cannot_be_read_says_why(tmp_path, topic, made, words):
    bag = write_bag(tmp_path / 'bag', {topic: every(0.1, 20, made), '/cmd_vel': commands(20)})
    with pytest.raises(BagError, match=rf'it has {topic} \([a-z_]+/msg/[A-Za-z]+: {words}') as caught:
        drafted(bag)
    assert '\n' not in str(caught.value)


# ---- a bad start, a changing order

def test_cameras_that_begin_with_an_empty_image_are_drafted(tmp_path):
    jpeg = cv2.imencode('.jpg', np.zeros((48, 64, 3), np.uint8))[1].reshape(-1)

    def compressed(i, t):
        return message('sensor_msgs/msg/CompressedImage', t, format='jpeg', data=jpeg if i > 1 else jpeg[:0])
    raw = every(0.1, 40, lambda i, t: picture(t, 'bgr8', 3) if i else message('sensor_msgs/msg/Image', t))
    _, contract = drafted(base_bag(tmp_path / 'bag', **{'front/compressed': every(0.1, 40, compressed), 'rear': raw}))
    assert (observation(contract, 'front').height, observation(contract, 'front').width) == (48, 64)
    assert (observation(contract, 'rear').height, observation(contract, 'rear').encoding) == (8, 'rgb8')


def test_a_scan_that_begins_without_beams_is_drafted(tmp_path):
    scans = every(0.1, 40, lambda i, t: scan(t, [1.0] * 8 if i else []), WALL_NS + 10**7)
    assert observation(drafted(base_bag(tmp_path / 'bag', scan=scans))[1], 'scan').beams == 8


def test_joints_whose_order_changes_are_one_group(tmp_path):
    states = every(0.1, 40, lambda i, t: joints(t, 'abc' if i % 2 else 'cba', 0.1 * i))
    bag = write_bag(tmp_path / 'bag', {'/joint_states': states, '/cmd_vel': commands()})
    _, contract = drafted(bag)
    assert contract.observations[0].joints == ['c', 'b', 'a']
    assert check_bag(contract, bag).usable
    episode, = read_episodes(bag, contract)
    np.testing.assert_allclose(episode.percepts['joint_states'][7], [0.7 + ord(j) for j in 'cba'], rtol=1e-6)


@pytest.mark.parametrize('encoding, channels, kind', [
    ('8UC3', 3, 'rgb8'), ('8UC1', 1, 'mono8'), ('mono16', 2, 'mono8'), ('yuv422_yuy2', 2, 'rgb8'),
    ('16UC1', 2, 'depth')])
def test_pictures_are_drafted_by_what_their_encoding_holds(tmp_path, encoding, channels, kind):
    camera = every(0.1, 40, lambda i, t: picture(t, encoding, channels), WALL_NS + 10**7)
    bag = write_bag(tmp_path / 'bag', {'/camera': camera, '/cmd_vel': commands()})
    _, contract = drafted(bag)
    assert contract.observations[0].encoding == kind and check_bag(contract, bag).usable


# ---- commands

def test_a_command_that_is_once_not_finite_stays_in_the_draft(tmp_path):
    odd = every(0.1, 40, lambda i, t: twist(np.nan if i % 9 == 4 else 0.1 * (i % 4), 0.5 * (i % 2)))
    bag = base_bag(tmp_path / 'bag', cmd_vel=odd)
    text, contract = drafted(bag)
    forward = contract.actions[0].fields[0]
    assert (forward.field, forward.min, forward.max) == ('linear.x', 0.0, 0.3)
    assert 'seen 0 … 0.3, never the other way, 4 of 40 not finite: these commands are left out' in text
    report = check_bag(contract, bag)
    assert report.usable and any('4 of 40 messages tried cannot be used' in f.text for f in report.findings)
    assert all(np.isfinite(episode.actions).all() for episode in read_episodes(bag, contract))


def test_a_command_that_is_never_finite_is_an_error(tmp_path):
    _, contract = drafted(base_bag(tmp_path / 'good'))
    bag = base_bag(tmp_path / 'bag', cmd_vel=every(0.1, 40, lambda i, t: twist(np.nan, 0.1 * (i % 2))))
    report = check_bag(contract, bag)
    assert not report.usable and any('linear.x): no value is finite' in f.text for f in report.findings)


def test_a_command_topic_that_can_be_no_action_is_left_out_where_another_can(tmp_path):
    point = message('trajectory_msgs/msg/JointTrajectoryPoint', positions=np.array([0.5]))
    path = message('trajectory_msgs/msg/JointTrajectory', WALL_NS, joint_names=['elbow'], points=[point, point])
    bag = base_bag(tmp_path / 'bag', **{'arm/joint_trajectory': [(WALL_NS + 10**9, path)]})
    text, contract = drafted(bag)
    assert [a.topic for a in contract.actions] == ['cmd_vel']
    assert '#   /arm/joint_trajectory: its trajectories have several points (1 joints, 2 points)' in text
    with pytest.raises(BagError, match='several points'):
        drafted(bag, actions=['/arm/joint_trajectory', '/cmd_vel'])


# ---- clocks

def stamps(offset_ns: int, made):
    return every(0.1, 40, lambda i, t: made(i, t + offset_ns), WALL_NS + 10**7)


def wrong_scan(offset_ns: int):
    return stamps(offset_ns, lambda i, t: scan(t, [1.0] * 8))


@pytest.mark.parametrize('offset_ns', [HOUR_NS, -50 * 10**9, 10**9 - WALL_NS])
def test_a_pace_on_another_clock_than_all_others_is_timed_by_receipt(tmp_path, offset_ns):
    bag = base_bag(tmp_path / 'bag', scan=wrong_scan(offset_ns))
    text, contract = drafted(bag)
    assert contract.clock == 'system' and contract.pacing.key == 'scan' and contract.pacing.stamp == 'receive'
    assert observation(contract, 'odom').stamp == 'header' and 'header stamps are of another clock' in text
    assert check_bag(contract, bag).usable and len(read_episodes(bag, contract)[0]) > 30


def test_a_robot_whose_clock_is_wrong_is_not_taken_for_a_simulator(tmp_path):
    behind = stamps(-HOUR_NS, lambda i, t: odometry(t, 0.1 * i, 0.1))
    bag = base_bag(tmp_path / 'bag', scan=wrong_scan(-HOUR_NS), odom=behind)
    _, contract = drafted(bag)
    assert contract.clock == 'system' and {o.stamp for o in contract.observations} == {'receive'}
    assert check_bag(contract, bag).usable


def test_a_recording_with_a_clock_is_of_a_simulator_whatever_its_stamps_count_from(tmp_path):
    clock = every(0.1, 40, lambda i, t: message('rosgraph_msgs/msg/Clock', clock__sec=(t - HOUR_NS) // 10**9))
    bag = base_bag(tmp_path / 'bag', scan=wrong_scan(-HOUR_NS), odom=None, clock=clock)
    _, contract = drafted(bag)
    assert contract.clock == 'sim' and contract.observations[0].stamp == 'header' and check_bag(contract, bag).usable
