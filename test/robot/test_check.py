"""What `robot check` says of a contract and a bag: everything that does not fit, and which values would."""
from made_bags import base_bag, every, image, message, odometry, scan, twist, WALL_NS, write_bag
import numpy as np
import pytest
import yaml

from jepa_ros.errors import BagError
from jepa_ros.robot.check import check_bag, near_topic, NEEDS, Report
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.findings import round_out
from jepa_ros.robot.survey import Survey, survey_bag, TopicSurvey

SCAN = {'key': 'scan', 'topic': 'scan', 'type': 'sensor_msgs/msg/LaserScan', 'beams': 8}
ODOM = {'name': 'x_m', 'topic': 'odom', 'type': 'nav_msgs/msg/Odometry', 'field': 'pose.pose.position.x'}
BASE = {'key': 'base', 'topic': 'cmd_vel', 'type': 'geometry_msgs/msg/Twist', 'fields': [
    {'name': 'vx_mps', 'field': 'linear.x', 'min': -0.5, 'max': 0.5, 'max_rate': 10.0},
    {'name': 'wz_radps', 'field': 'angular.z', 'min': -1.0, 'max': 1.0, 'max_rate': 20.0}]}


def contract(observation: dict | None = None, action: dict | None = None, readout: dict | None = None,
             **more) -> RobotContract:
    return RobotContract.parse(yaml.safe_dump({
        'name': 'rover', 'control_period_s': 0.1, 'observations': [SCAN | (observation or {})],
        'readouts': [ODOM | (readout or {})], 'actions': [BASE | (action or {})]} | more))


def said(report: Report, level: str = '') -> str:
    return '\n'.join(f'{f.level} {f.where}: {f.text}' for f in report.findings if f.level.startswith(level))


def suggested(report: Report) -> dict:
    return {s.path: s.value for s in report.suggestions}


def test_a_bag_that_fits_is_usable_without_a_word(tmp_path):
    report = check_bag(contract(), base_bag(tmp_path / 'bag'))
    assert report.usable and not said(report, 'error') + said(report, 'warning')
    assert report.percepts == 40
    assert [(r.key, r.found, r.messages, round(r.rate_hz, 3)) for r in report.rows] == [
        ('scan', '/scan', 40, 10.0), ('x_m', '/odom', 40, 10.0), ('base', '/cmd_vel', 40, 10.0)]
    assert '8 beams, 50.0 % valid (12.5 % zero, 12.5 % inf, 12.5 % nan, 12.5 % outside)' in report.rows[0].content


@pytest.mark.parametrize('name, near', [('scan_raw', '/scan'), ('camera/odometry', None), ('lidar', '/scan')])
def test_a_missing_topic_is_named_with_one_that_could_be_meant(tmp_path, name, near):
    kind = 'sensor_msgs/msg/LaserScan' if near else 'sensor_msgs/msg/PointCloud2'
    topics = {n: TopicSurvey(n, t) for n, t in (('/scan', 'sensor_msgs/msg/LaserScan'),
                                                ('/odom', 'nav_msgs/msg/Odometry'))}
    assert near_topic(name, kind, Survey('', topics)) == near


def test_a_missing_topic_makes_the_contract_unusable(tmp_path):
    report = check_bag(contract({'topic': 'scanner'}), base_bag(tmp_path / 'bag'))
    assert not report.usable
    assert 'error scan: topic scanner is not there; did you mean /scan?' in said(report)


def test_a_missing_topic_that_is_not_required_is_a_warning(tmp_path):
    extra = SCAN | {'key': 'rear', 'topic': 'rear_scan', 'required': False}
    report = check_bag(contract(observations=[SCAN, extra]), base_bag(tmp_path / 'bag'))
    assert report.usable and 'warning rear: topic rear_scan is not there' in said(report)


def test_another_type_is_an_error(tmp_path):
    stamped = every(0.1, 40, lambda i, t: message('geometry_msgs/msg/TwistStamped', t, twist__linear__x=0.1))
    report = check_bag(contract(), base_bag(tmp_path / 'bag', cmd_vel=stamped))
    assert not report.usable
    assert ('error base: topic /cmd_vel has type geometry_msgs/msg/TwistStamped, the contract says '
            'geometry_msgs/msg/Twist') in said(report)


def test_a_field_that_is_not_there_is_an_error(tmp_path):
    report = check_bag(contract(readout={'field': 'pose.position.x'}), base_bag(tmp_path / 'bag'))
    assert report.usable is False
    assert "no field 'pose.position.x'" in said(report, 'error')


def test_gaps_beyond_the_timeout_suggest_another(tmp_path):
    slow = [(t, m) for i, (t, m) in enumerate(every(0.1, 60, lambda i, t: scan(t, [1.0] * 8))) if i % 20 < 13]
    report = check_bag(contract({'timeout_s': 0.3, 'align': 'asof'}, pace='clock'),
                       base_bag(tmp_path / 'bag', 60, scan=slow))
    assert 'warning scan: 2 times a sample gets older than timeout_s 0.3, up to 0.8 s' in said(report)
    assert suggested(report)['observations.scan.timeout_s'] == pytest.approx(0.88)
    assert report.percepts < 50  # none in the gaps


def test_a_sample_that_is_held_may_be_old(tmp_path):
    def brightness(i, t):
        return message('std_msgs/msg/Float64', data=0.1 * i)
    lamp = {'key': 'lamp', 'topic': 'lamp', 'type': 'std_msgs/msg/Float64', 'fields': ['data'], 'align': 'hold'}
    bag = base_bag(tmp_path / 'bag', lamp=every(1.0, 4, brightness))
    assert 'older than' not in said(check_bag(contract(observations=[SCAN, lamp]), bag))
    young = contract(observations=[SCAN, lamp | {'align': 'asof'}])
    assert '3 times a sample gets older' in said(check_bag(young, bag))


def test_a_pace_that_differs_from_the_control_period_suggests_another(tmp_path):
    report = check_bag(contract(control_period_s=0.05), base_bag(tmp_path / 'bag'))
    assert 'control_period_s: scan sets the pace with one sample every 0.1 s' in said(report, 'warning')
    assert suggested(report)['control_period_s'] == pytest.approx(0.1)


def test_stamps_of_zero_ask_for_receive_times(tmp_path):
    bag = base_bag(tmp_path / 'bag', scan=every(0.1, 40, lambda i, t: scan(0, [1.0] * 8)))
    report = check_bag(contract(), bag)
    assert not report.usable and '40 of 40 header stamps are zero; set stamp: receive' in said(report, 'error')
    assert check_bag(contract({'stamp': 'receive'}), bag).usable


def test_stamps_of_a_simulator_ask_for_its_clock(tmp_path):
    simulated = every(0.1, 40, lambda i, t: scan(t - WALL_NS + 10**9, [1.0] * 8))
    report = check_bag(contract(), base_bag(tmp_path / 'bag', scan=simulated))
    assert 'set clock: sim if a simulator stamps them' in said(report, 'warning')


def test_stamps_of_a_simulator_that_publishes_its_clock_are_only_noted(tmp_path):
    bag = base_bag(tmp_path / 'bag', scan=every(0.1, 40, lambda i, t: scan(t - WALL_NS + 10**9, [1.0] * 8)),
                   clock=every(0.1, 40, lambda i, t: message('rosgraph_msgs/msg/Clock', clock__sec=i)))
    report = check_bag(contract(), bag)
    assert 'the simulator that publishes /clock' in said(report, 'note') and 'header' not in said(report, 'warning')


def test_stamps_in_the_future_are_said(tmp_path):
    early = every(0.1, 40, lambda i, t: scan(t + 50_000_000, [1.0] * 8))
    report = check_bag(contract(), base_bag(tmp_path / 'bag', scan=early))
    assert 'up to 0.05 s later than the log times' in said(report, 'warning')


def test_repeated_and_falling_stamps_are_counted(tmp_path):
    odd = every(0.1, 40, lambda i, t: scan(t - (100_000_000 if i == 5 else 250_000_000 if i == 9 else 0), [1.0] * 8))
    report = check_bag(contract(), base_bag(tmp_path / 'bag', scan=odd))
    assert '1 header stamps repeat' in said(report, 'warning') and '1 header stamps go back' in said(report, 'warning')


def test_another_frame_is_a_warning(tmp_path):
    report = check_bag(contract({'frame': 'base_laser'}), base_bag(tmp_path / 'bag'))
    assert "40 messages are in frame 'laser', the contract expects 'base_laser'" in said(report, 'warning')


def test_best_effort_where_reliable_is_asked_for_is_a_conflict(tmp_path):
    topics = {'/scan': every(0.1, 20, lambda i, t: scan(t, [1.0] * 8)),
              '/odom': every(0.1, 20, lambda i, t: odometry(t, 0.1 * i)),
              '/cmd_vel': every(0.1, 20, lambda i, t: twist(0.1))}
    bag = write_bag(tmp_path / 'bag', topics, best_effort=('/scan',))
    report = check_bag(contract({'qos': 'stream'}), bag)
    assert 'best effort where the contract asks for reliable: nothing would arrive live; set qos: sensor' in said(
        report)
    assert 'best effort' not in said(check_bag(contract(), bag))
    assert 'volatile where the contract asks for latched' in said(check_bag(contract({'qos': 'latched'}), base_bag(
        tmp_path / 'reliable')))


def test_needs_are_those_of_the_qos_profiles():
    from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

    from jepa_ros.runtime.qos import PROFILES
    for name, needs in NEEDS.items():
        profile = PROFILES[name]
        assert needs == (profile.reliability == ReliabilityPolicy.RELIABLE,
                         profile.durability == DurabilityPolicy.TRANSIENT_LOCAL)


def test_commands_outside_the_limits_suggest_wider_ones(tmp_path):
    fast = every(0.1, 40, lambda i, t: twist(0.81 if i % 2 else -0.2, 0.1 * (i % 3)))
    report = check_bag(contract(), base_bag(tmp_path / 'bag', cmd_vel=fast))
    assert report.usable  # a wrong limit costs quality, not the recording
    assert 'vx_mps (linear.x): 50.0 % of the commands are outside [-0.5, 0.5]' in said(report, 'warning')
    assert suggested(report)['actions.base.vx_mps.max'] == pytest.approx(0.81)
    assert 'quicker than max_rate 10 per s, up to 11' in said(report, 'warning')
    assert suggested(report)['actions.base.vx_mps.max_rate'] == pytest.approx(11.0)


def test_commands_that_saturate_or_never_change_are_said(tmp_path):
    flat = every(0.1, 40, lambda i, t: twist(0.5 if i % 2 else 0.1, 0.0))
    report = check_bag(contract(), base_bag(tmp_path / 'bag', cmd_vel=flat))
    assert 'vx_mps (linear.x) saturates: 50 % of the commands are 0.5' in said(report, 'note')
    assert 'wz_radps (angular.z) is always 0' in said(report, 'note')


def test_a_command_that_moves_a_field_outside_the_contract_is_said(tmp_path):
    sideways = every(0.1, 40, lambda i, t: message('geometry_msgs/msg/Twist', linear__x=0.1, linear__y=0.01 * i))
    report = check_bag(contract(), base_bag(tmp_path / 'bag', cmd_vel=sideways))
    assert '/cmd_vel also moves linear.y' in said(report, 'warning')


def at(*commands: tuple[float, float]):
    """Commands of forward velocity at seconds from the start."""
    return [(WALL_NS + round(second * 1e9), twist(vx)) for second, vx in commands]


def test_commands_on_change_suggest_to_hold(tmp_path):
    seldom = at((0, 0.1), (0.1, 0.2), (0.2, 0.3), (2.5, 0.1), (3.9, 0.0))
    report = check_bag(contract(), base_bag(tmp_path / 'bag', cmd_vel=seldom))
    assert suggested(report)['actions.base.align'] == 'hold'
    held = check_bag(contract({}, {'align': 'hold'}), base_bag(tmp_path / 'again', cmd_vel=seldom))
    assert 'actions.base.align' not in suggested(held)


def test_a_robot_that_stops_before_it_falls_silent_needs_no_hold(tmp_path):
    stopping = at((0, 0.1), (0.1, 0.2), (0.2, 0.0), (2.5, 0.1), (2.6, 0.0))
    assert 'actions.base.align' not in suggested(check_bag(contract(), base_bag(tmp_path / 'bag', cmd_vel=stopping)))


def test_images_that_would_be_enlarged_are_said(tmp_path):
    camera = {'key': 'camera', 'topic': 'camera/image_raw', 'type': 'sensor_msgs/msg/Image', 'height': 96, 'width': 128}
    images = {'camera/image_raw': every(0.1, 20, lambda i, t: image(t, seed=i))}
    report = check_bag(contract(observations=[SCAN, camera]), base_bag(tmp_path / 'bag', 20, **images))
    assert 'images of 64×48 are enlarged to 128×96' in said(report, 'note')
    assert next(r.content for r in report.rows if r.key == 'camera').startswith('64×48 rgb8')


def test_an_image_whose_data_contradicts_its_header_is_counted_and_named(tmp_path):
    camera = {'key': 'camera', 'topic': 'image', 'type': 'sensor_msgs/msg/Image', 'height': 48, 'width': 64}

    def cut(i, t):
        made = image(t, seed=i)
        made.data = made.data[:100] if i % 4 == 3 else made.data
        return made
    report = check_bag(contract(observations=[camera]), base_bag(tmp_path / 'bag', 20, image=every(0.1, 20, cut)))
    assert '5 of 20 messages tried cannot be used: image: ' in said(report, 'warning')
    assert report.percepts == 15


def test_joints_that_are_not_read_are_listed(tmp_path):
    def state(i, t):
        return message('sensor_msgs/msg/JointState', t, name=['elbow', 'wrist'], position=np.array([0.1 * i, 0.0]),
                       velocity=np.zeros(0), effort=np.zeros(0))
    joints = {'key': 'joints', 'topic': 'joint_states', 'type': 'sensor_msgs/msg/JointState', 'joints': ['elbow']}
    bag = base_bag(tmp_path / 'bag', 20, joint_states=every(0.1, 20, state))
    report = check_bag(contract(observations=[joints]), bag)
    assert report.usable and 'joints that are not read: wrist' in said(report, 'note')
    missing = check_bag(contract(observations=[joints | {'joints': ['elbow', 'hand']}]), bag)
    assert not missing.usable and 'hand' in said(missing, 'error')


def test_an_empty_topic_is_an_error(tmp_path):
    path = base_bag(tmp_path / 'bag')
    survey = survey_bag(path)
    survey.topics['/scan'] = TopicSurvey('/scan', 'sensor_msgs/msg/LaserScan')
    from jepa_ros.robot.check import report
    from jepa_ros.robot.trial import Trial
    trial = Trial(contract())
    trial.begin(survey)
    assert 'no message on /scan: it is empty' in said(report(survey, trial), 'error')


def test_topics_are_found_in_the_namespace_that_is_given(tmp_path):
    inside = {f'/robot_1{n}': m for n, m in {
        '/scan': every(0.1, 20, lambda i, t: scan(t, [1.0] * 8)),
        '/odom': every(0.1, 20, lambda i, t: odometry(t, 0.1 * i)),
        '/cmd_vel': every(0.1, 20, lambda i, t: twist(0.1 * (i % 3)))}.items()}
    bag = write_bag(tmp_path / 'bag', inside)
    assert check_bag(contract(), bag, '/robot_1').rows[0].found == '/robot_1/scan'
    assert check_bag(contract(), bag).usable  # the only topics that end so
    elsewhere = said(check_bag(contract(), bag, '/robot_2'))
    assert 'not there in namespace /robot_2; did you mean /robot_1/scan?' in elsewhere


def test_a_bag_of_another_contract_is_not_usable(tmp_path, two_episodes):
    other = RobotContract.load('two_rooms').model_copy(update={'name': 'other'})
    report = check_bag(other, two_episodes)
    assert not report.usable and "another robot contract: name is 'two_rooms' there" in said(report, 'error')
    assert check_bag(RobotContract.load('two_rooms'), two_episodes).usable


def test_a_missing_bag_is_named(tmp_path):
    with pytest.raises(BagError, match='nowhere: there is no such bag'):
        check_bag(contract(), tmp_path / 'nowhere')


def test_a_report_is_plain_json(tmp_path):
    import json
    plain = json.loads(json.dumps(check_bag(contract(), base_bag(tmp_path / 'bag')).to_json()))
    assert plain['usable'] is True and plain['rows'][0]['messages'] == 40
    assert plain['counters']['scan']['received'] == 40


@pytest.mark.parametrize('value, rounded', [
    (3.14159, 3.2), (-0.412, -0.42), (0.30000001192, 0.3), (0.0, 0.0), (1.0, 1.0), (99.5, 100.0), (0.101, 0.11),
    (-3.14159274, -3.2), (12345.0, 13000.0)])
def test_limits_are_rounded_outward_to_two_digits(value, rounded):
    assert round_out(value) == pytest.approx(rounded, rel=1e-9)
