"""What `robot init` and `robot check` make of habits seen in other people's recordings: each once led them astray."""
from made_bags import base_bag, every, message, odometry, scan, twist, WALL_NS, write_bag
import numpy as np
import pytest
import yaml

from jepa_ros.errors import BagError
from jepa_ros.robot.bags import read_episodes
from jepa_ros.robot.check import check_bag, Report
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.draft import draft
from jepa_ros.robot.survey import survey_bag

BEHIND_NS = 184 * 86_400 * 10**9        # a robot without a network starts with the time of its last shutdown


def drafted(bag, **options) -> tuple[str, RobotContract, Report]:
    text = draft(survey_bag(bag), **options)
    contract = RobotContract.parse(text)
    return text, contract, check_bag(contract, bag)


def changed(contract: RobotContract, **parts) -> RobotContract:
    """The contract with keys of its first observation and of its first action set: observation={}, action={}."""
    values = contract.model_dump(exclude_defaults=True)
    values['observations'][0] |= parts.get('observation', {})
    values['actions'][0] |= parts.get('action', {})
    return RobotContract.parse(yaml.safe_dump(values | parts.get('head', {})))


def said(report: Report, level: str = '') -> str:
    return '\n'.join(f'{f.level} {f.where}: {f.text}' for f in report.findings if f.level.startswith(level))


def at(*commands: tuple[float, float]):
    return [(WALL_NS + round(second * 1e9), twist(vx)) for second, vx in commands]


def transforms(period_s: float, count: int, behind_ns: int = 0, parent: str = 'odom', child: str = 'base'):
    """A frame that moves; its stamps are `behind_ns` behind the log."""
    def link(i, t):
        return message('tf2_msgs/msg/TFMessage', transforms=[message(
            'geometry_msgs/msg/TransformStamped', t - behind_ns, parent, child_frame_id=child,
            transform__translation__x=0.01 * i, transform__rotation__w=1.0)])
    return every(period_s, count, link)


# ---- commands that are given seldom

SQUARE = at((1, 0.2), (4, 0.0), (6, 0.2), (9, 0.0), (11, 0.2), (15, 0.0))


def test_commands_that_all_come_seldom_are_drafted_to_hold(tmp_path):
    """Drive on for 3 s, stand for 2 s: no interval is shorter than the silence itself."""
    bag = base_bag(tmp_path / 'bag', 180, cmd_vel=SQUARE)
    text, contract, report = drafted(bag)
    assert contract.actions[0].align == 'hold' and report.usable
    assert '3 times a command was followed by silence while the robot went on' in text
    episode, = read_episodes(bag, contract)
    seconds = (episode.stamps_ns - WALL_NS) * 1e-9
    driving = np.any([(seconds > begin) & (seconds < end) for begin, end in ((1, 3.9), (6, 8.9), (11, 14.9))], axis=0)
    assert np.array_equal(episode.actions[driving, 0], np.full(driving.sum(), 0.2, np.float32))


@pytest.mark.parametrize('timeout_s', [0.25, 1.0])
def test_a_contract_that_reads_seldom_commands_as_stops_is_warned_of(tmp_path, timeout_s):
    bag = base_bag(tmp_path / 'bag', 180, cmd_vel=SQUARE)
    _, contract, _ = drafted(bag)
    report = check_bag(changed(contract, action={'align': 'asof', 'timeout_s': timeout_s}), bag)
    assert f'3 times a command other than zero is followed by silence longer than timeout_s {timeout_s:g}' in said(
        report, 'warning')
    assert {s.path: s.value for s in report.suggestions}['actions.cmd_vel.align'] == 'hold'


def test_commands_that_are_regular_but_slower_than_the_timeout_suggest_a_longer_one(tmp_path):
    bag = base_bag(tmp_path / 'bag', 100, cmd_vel=every(0.5, 20, lambda i, t: twist(0.1 + 0.1 * (i % 2))))
    _, contract, _ = drafted(bag)
    assert contract.actions[0].align == 'asof' and contract.actions[0].timeout_s == 1.0
    report = check_bag(changed(contract, action={'timeout_s': 0.25}), bag)
    assert {s.path: s.value for s in report.suggestions} == {'actions.cmd_vel.timeout_s': 1.5}


def test_commands_that_usually_are_further_apart_than_a_second_are_never_drafted_asof(tmp_path):
    """The robot stands most of the time, and each of its moves is ended at once: nothing tells that a command holds."""
    pulses = at((0, 0.0), (2, 0.0), (4, 0.0), (6, 0.2), (6.5, 0.0), (9, 0.0), (12, 0.0))
    text, contract, _ = drafted(base_bag(tmp_path / 'bag', 150, cmd_vel=pulses))
    assert contract.actions[0].align == 'hold' and 'guess: commands come seldom, one every 2 s' in text


# ---- transforms: messages without a header, each link with a stamp of its own

def test_transforms_on_another_clock_are_drafted_by_receipt(tmp_path):
    bag = base_bag(tmp_path / 'bag', 60, tf=transforms(0.1, 60, BEHIND_NS), odom=None)
    text, contract, report = drafted(bag)
    pose = next(o for o in contract.observations if o.key == 'tf_base')
    assert pose.stamp == 'receive' and 'stamp: receive   # guess: header stamps are of another clock, 1.59e+07' in text
    assert report.usable and not said(report, 'warning')
    assert all(episode.valid['tf_base'].all() and episode.percepts['tf_base'].any()
               for episode in read_episodes(bag, contract))


def test_a_pace_of_transforms_on_another_clock_meets_the_commands_when_it_is_timed_by_receipt(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/tf': transforms(0.1, 60, BEHIND_NS),
                                       '/cmd_vel': every(0.1, 60, lambda i, t: twist(0.1 + 0.1 * (i % 2)))})
    _, contract, report = drafted(bag)
    assert contract.control_period_s == 0.1 and report.usable and (report.episodes, report.steps) == (1, 60)
    by_header = changed(contract, observation={'stamp': 'header'})
    refused = check_bag(by_header, bag)
    assert 'header stamps are 1.59e+07 s before the log times' in said(refused, 'warning')
    assert not refused.usable and 'ticks and the commands of cmd_vel are 1.59e+07 s apart' in said(refused, 'error')
    with pytest.raises(BagError, match='header stamps are of another clock than the log; set stamp: receive'):
        read_episodes(bag, by_header)


def test_a_required_transform_on_another_clock_is_named_as_what_is_stale(tmp_path):
    """Fixed links on /tf_static, which say nothing of the frame, are not the reason."""
    fixed = [(WALL_NS, transforms(0.1, 1, BEHIND_NS, 'base', 'lidar')[0][1])]
    bag = base_bag(tmp_path / 'bag', 60, tf=transforms(0.1, 60, BEHIND_NS), tf_static=fixed, odom=None, scan=None)
    _, contract, _ = drafted(bag)
    by_header = changed(contract, observation={'stamp': 'header', 'align': 'asof'}, head={'pace': 'clock'})
    stale = r'the newest sample is 1589\d+\.\d+ s old'
    with pytest.raises(BagError, match=f'no percept: /tf: {stale}'):
        read_episodes(bag, by_header)
    assert 'percepts: no percept comes out: /tf: the newest sample is 1589' in said(check_bag(by_header, bag), 'error')


def test_an_optional_observation_that_is_never_there_is_said(tmp_path):
    bag = base_bag(tmp_path / 'bag', 60, tf=transforms(0.1, 60, BEHIND_NS), odom=None)
    values = drafted(bag)[1].model_dump(exclude_defaults=True)
    pose = next(o for o in values['observations'] if o['key'] == 'tf_base')
    pose |= {'stamp': 'header', 'required': False}
    contract, lines = RobotContract.parse(yaml.safe_dump(values)), []
    assert 'tf_base: its tensor is zeros and marked invalid in 100.0 % of the percepts' in said(
        check_bag(contract, bag), 'warning')
    episodes = read_episodes(bag, contract, report=lines.append)
    assert not any(episode.valid['tf_base'].any() for episode in episodes)
    assert any('tf_base is zeros and marked invalid in every percept: /tf: the newest sample' in line for line in lines)


def test_rows_rates_and_gaps_of_transforms_are_of_their_own_links(tmp_path):
    """A quick link on the same topic makes no slow one quicker: neither in the table, nor in the control period."""
    both = sorted(transforms(0.02, 1000, parent='map', child='odom') + transforms(0.5, 40), key=lambda each: each[0])
    bag = write_bag(tmp_path / 'bag', {'/tf': both, '/cmd_vel': every(0.1, 200, lambda i, t: twist(0.1 * (i % 3)))})
    text, contract, report = drafted(bag)
    rows = {row.key: (row.messages, round(row.rate_hz, 2), round(row.gap_s, 3)) for row in report.rows}
    assert rows['tf_odom'] == (1000, 50.0, 0.02) and rows['tf_base'] == (40, 2.0, 0.5)
    pace = contract.pacing
    assert (pace.key, contract.control_period_s) == ('tf_odom', 0.02)
    slow = changed(RobotContract.parse(text), head={'pace': 'tf_base'})
    assert {s.path: s.value for s in check_bag(slow, bag).suggestions}[
        'control_period_s'] == pytest.approx(0.5)


def test_a_transform_that_nothing_tells_of_is_named_with_those_that_are_there(tmp_path):
    bag = base_bag(tmp_path / 'bag', 60, tf=transforms(0.1, 60), odom=None)
    values = drafted(bag)[1].model_dump(exclude_defaults=True)
    next(o for o in values['observations'] if o['key'] == 'tf_base')['child_frame'] = 'gripper'
    report = check_bag(RobotContract.parse(yaml.safe_dump(values)), bag)
    assert not report.usable
    assert 'none of the 60 messages on /tf places gripper in odom; they tell of odom→base' in said(report, 'error')


def test_one_bad_transform_among_good_ones_does_not_make_all_unusable(tmp_path):
    links = transforms(0.1, 60)
    links[30][1].transforms[0].transform.translation.x = np.nan
    bag = base_bag(tmp_path / 'bag', 60, tf=links, odom=None)
    _, contract, report = drafted(bag)
    assert report.usable and '1 of 60 messages tried cannot be used' in said(report, 'warning')


# ---- check and reading agree

def test_actions_that_are_never_known_together_make_a_bag_unusable(tmp_path):
    """Drive first, reach then, as a mobile manipulator does."""
    point = message('trajectory_msgs/msg/JointTrajectoryPoint', positions=np.array([0.5]))
    reach = message('trajectory_msgs/msg/JointTrajectory', WALL_NS, joint_names=['elbow'], points=[point])
    bag = base_bag(tmp_path / 'bag', 100, cmd_vel=every(0.1, 30, lambda i, t: twist(0.1 + 0.1 * (i % 2))),
                   **{'arm/joint_trajectory': [(WALL_NS + 6 * 10**9, reach)]})
    _, contract, report = drafted(bag)
    assert not report.usable and report.percepts == 100 and report.episodes == 0
    apart = 'of cmd_vel from 0.0 to 2.9 s, of joint_trajectory from 6.0 s on: at no tick all of them'
    assert apart in said(report, 'error')
    with pytest.raises(BagError, match='of joint_trajectory from 6.0 s on: at no tick all of them; record them togeth'):
        read_episodes(bag, contract)
    assert contract.actions[1].align == 'hold'      # the only command


def test_a_check_finds_as_many_steps_as_reading_gives(tmp_path):
    gaps = [(t, m) for i, (t, m) in enumerate(every(0.1, 80, lambda i, t: scan(t, [1.0] * 8))) if i not in (30, 31, 60)]
    bag = base_bag(tmp_path / 'bag', 80, scan=gaps)
    _, contract, report = drafted(bag)
    episodes = read_episodes(bag, contract)
    assert (report.episodes, report.steps) == (len(episodes), sum(map(len, episodes))) and report.episodes > 0


def test_a_recording_with_few_known_commands_is_warned_of(tmp_path):
    _, _, report = drafted(base_bag(tmp_path / 'bag', 100, cmd_vel=every(0.1, 20, lambda i, t: twist(0.1 * (i % 3)))))
    assert report.usable and 'only 19 of 100 percepts have a known command' in said(report, 'warning')


# ---- guesses

def test_a_regular_topic_that_is_offered_transient_local_is_no_topic_that_speaks_on_change(tmp_path):
    """ros2_control offers its 10 Hz joint states so."""
    def state(i, t):
        return message('sensor_msgs/msg/JointState', t, name=[f'{side}_{part}_of_a_long_name' for side in (
            'left', 'right') for part in ('shoulder', 'elbow', 'wrist')], position=np.full(6, 0.1 * i))
    topics = {'/joint_states': every(0.1, 60, state), '/cmd_vel': every(0.1, 60, lambda i, t: twist(0.1 * (i % 3))),
              '/mode': [(WALL_NS + 10**9 * s, message('std_msgs/msg/Int32', data=s)) for s in (0, 5)]}
    text, contract, _ = drafted(write_bag(tmp_path / 'bag', topics, latched=('/joint_states', '/mode')))
    joints, mode = contract.observations
    assert (joints.align, joints.qos, joints.timeout_s) == ('asof', 'sensor', pytest.approx(0.3))
    assert (mode.align, mode.qos) == ('hold', 'latched')
    assert not any(line.strip() == '#' for line in text.splitlines())       # no empty comment above a long line


def test_a_command_topic_is_no_readout(tmp_path):
    goal = every(0.5, 20, lambda i, t: message('geometry_msgs/msg/PoseStamped', t, pose__position__x=0.1 * i))
    bag = base_bag(tmp_path / 'bag', 100, cmd_vel=None, odom=None, target_pose=goal)
    _, contract, _ = drafted(bag, actions=['target_pose'])
    assert contract.actions[0].topic == 'target_pose' and contract.readouts == []


def test_only_topics_that_can_be_commands_are_advised(tmp_path):
    def state(i, t):
        return message('sensor_msgs/msg/JointState', t, name=['elbow'], position=np.array([0.1 * i]))
    bag = base_bag(tmp_path / 'bag', 20, cmd_vel=every(0.1, 20, lambda i, t: twist(0.0)),
                   commands=every(0.1, 20, lambda i, t: message('std_msgs/msg/String', data='go')),
                   joint_states_command=every(0.1, 20, state),
                   control_field=every(0.1, 20, lambda i, t: message('sensor_msgs/msg/MagneticField', t,
                                                                     magnetic_field__x=0.1 * i)),
                   target=every(0.1, 20, lambda i, t: message('geometry_msgs/msg/PointStamped', t, point__x=0.1 * i)))
    with pytest.raises(BagError, match=r'if it is one of /target \(geometry_msgs/msg/PointStamped\), give --action'):
        draft(survey_bag(bag))
    assert drafted(bag, actions=['/target'])[1].actions[0].fields[0].field == 'point.x'     # the advice can be followed


def test_readouts_on_another_clock_are_not_drafted_and_warned_of(tmp_path):
    late = every(0.1, 40, lambda i, t: odometry(t - BEHIND_NS, 0.02 * i, 0.2))
    bag = base_bag(tmp_path / 'bag', odom=late)
    _, contract, _ = drafted(bag)
    assert contract.readouts == [] and next(o for o in contract.observations if o.key == 'odom').stamp == 'receive'
    values = contract.model_dump(exclude_defaults=True) | {'readouts': [
        {'name': 'x_m', 'topic': 'odom', 'type': 'nav_msgs/msg/Odometry', 'field': 'pose.pose.position.x'}]}
    report = check_bag(RobotContract.parse(yaml.safe_dump(values)), bag)
    assert 'x_m: header stamps are 1.59e+07 s before the log times' in said(report, 'warning')


def test_joints_that_are_commanded_are_named_with_their_units(tmp_path):
    def command(i, t):
        return message('sensor_msgs/msg/JointState', t, name=['drive', 'lift'], position=np.array([0.1 * i, 0.2]),
                       velocity=np.array([1.0, -0.1 * i]), effort=np.array([0.5 * (i % 3), 2.0]))
    bag = base_bag(tmp_path / 'bag', joint_commands=every(0.1, 40, command), cmd_vel=[])
    contract = drafted(bag, actions=['/joint_commands'])[1]
    assert [(f.field, f.name) for f in contract.actions[0].fields] == [
        ('position[drive]', 'drive_rad'), ('position[lift]', 'lift_rad'),
        ('velocity[drive]', 'drive_radps'), ('velocity[lift]', 'lift_radps'),
        ('effort[drive]', 'drive_nm'), ('effort[lift]', 'lift_nm')]
