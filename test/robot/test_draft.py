"""`robot init`: a draft is complete, valid, usable with its own bag, and says what was guessed."""
from hypothesis import given, settings
from hypothesis import strategies as st
from made_bags import base_bag, blank, every, image, message, odometry, scan, twist, UNKNOWN, WALL_NS, write_bag
import numpy as np
import pytest
import yaml

from jepa_ros.errors import BagError
from jepa_ros.robot.check import check_bag
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.draft import _scalar, draft
from jepa_ros.robot.draft_streams import key_for
from jepa_ros.robot.survey import survey_bag


def drafted(bag, **options) -> tuple[str, RobotContract]:
    """Text and contract of a draft that is usable with its bag."""
    text = draft(survey_bag(bag), **options)
    contract = RobotContract.parse(text)
    report = check_bag(contract, bag)
    assert report.usable and report.percepts, report.findings
    words = ('outside', 'max_rate', 'older than', 'sets the pace')
    assert not [f for f in report.findings if f.level == 'warning' and any(word in f.text for word in words)]
    return text, contract


def observation(contract: RobotContract, key: str):
    return next(o for o in contract.observations if o.key == key)


def test_a_base_with_scan_and_odometry(tmp_path):
    text, contract = drafted(base_bag(tmp_path / 'rover-7'))
    assert contract.name == 'rover_7' and contract.control_period_s == 0.1 and contract.pace == ''
    found = observation(contract, 'scan')
    assert (found.beams, found.frame, found.align, found.timeout_s) == (8, 'laser', 'asof', 0.3)
    assert observation(contract, 'odom').fields == ['twist.twist.linear.x']
    assert contract.readout_names == ['x_m']  # neither y nor yaw ever changed
    action = contract.actions[0]
    assert [f.name for f in action.fields] == ['vx_mps', 'wz_radps']
    assert [(f.min, f.max) for f in action.fields] == [(0.0, 0.3), (-0.5, 0.5)]
    assert (action.safe, action.align, action.timeout_s) == ('zeros', 'asof', 0.3)
    assert '# seen 0 … 0.3, never the other way' in text and 'guess' in text


def test_the_name_that_is_given_is_taken(tmp_path):
    assert drafted(base_bag(tmp_path / 'bag'), name='Rover One')[1].name == 'rover_one'


def test_fields_that_are_always_zero_are_no_actions(tmp_path):
    straight = every(0.1, 40, lambda i, t: twist(0.1 + 0.1 * (i % 2)))
    fields = drafted(base_bag(tmp_path / 'bag', cmd_vel=straight))[1].actions[0].fields
    assert [f.field for f in fields] == ['linear.x']


def test_a_recording_that_holds_its_contract_gives_that_one(two_episodes):
    text, contract = drafted(two_episodes)
    assert contract == RobotContract.load('two_rooms') and 'give --name to draft another' in text


def test_another_contract_than_the_one_inside_is_drafted_when_a_name_is_given(two_episodes):
    text = draft(survey_bag(two_episodes), name='other')
    assert RobotContract.parse(text).name == 'other'
    assert 'holds the contract of robot two_rooms; it can be read with that only' in text


def test_commands_on_change_hold(tmp_path):
    seldom = [(WALL_NS + round(s * 1e9), twist(v)) for s, v in ((0, 0.1), (0.1, 0.2), (0.2, 0.3), (2.5, 0.1), (3.9, 0))]
    text, contract = drafted(base_bag(tmp_path / 'bag', cmd_vel=seldom))
    assert contract.actions[0].align == 'hold'
    assert '2 times a command was followed by silence while the robot went on' in text


def test_uneven_sensors_are_read_at_the_ticks_of_the_clock(tmp_path):
    rng = np.random.default_rng(0)
    times = WALL_NS + np.cumsum(rng.choice([100, 100, 200], 60) * 10**6)
    uneven = [(int(t), scan(int(t), [1.0] * 8)) for t in times]
    text, contract = drafted(base_bag(tmp_path / 'bag', 80, scan=uneven))
    assert contract.pace == 'clock' and 'pace: clock' in text


def test_cameras_set_the_pace_and_large_images_are_drafted_smaller(tmp_path):
    cameras = {'front/image_raw': every(0.05, 60, lambda i, t: image(t, 240, 320, seed=i)),
               'depth/image_raw': every(0.1, 30, lambda i, t: image(t, 48, 64, '16UC1', seed=i)),
               'rear/image_raw': every(0.1, 30, lambda i, t: image(t, 48, 64, 'mono8', seed=i))}
    text, contract = drafted(base_bag(tmp_path / 'bag', **cameras))
    front, depth, rear = (observation(contract, k) for k in ('front', 'depth', 'rear'))
    assert contract.observations[0] is front and contract.control_period_s == 0.05
    assert (front.height, front.width, front.encoding) == (120, 160, 'rgb8')
    assert (depth.encoding, rear.encoding) == ('depth', 'mono8')
    assert 'messages are 320×240 rgb8; guess: 1/2 of that is enough' in text


def test_sensors_that_no_adapter_reads_are_left_out_with_the_reason(tmp_path):
    odd = every(0.1, 20, lambda i, t: message('sensor_msgs/msg/Image', t, height=8, width=8, encoding='nv12', step=16,
                                              data=np.zeros(128, np.uint8)))
    inverted = every(0.1, 20, lambda i, t: message('sensor_msgs/msg/LaserScan', t, ranges=np.ones(8, np.float32)))
    flat = every(0.1, 20, lambda i, t: message('sensor_msgs/msg/PointCloud2', t, height=1, width=3, point_step=4))
    text, contract = drafted(base_bag(tmp_path / 'bag', odd=odd, inverted=inverted, flat=flat))
    assert [o.key for o in contract.observations] == ['scan', 'odom']
    assert "/odd: encoding 'nv12' is not supported" in text
    assert '/inverted: ' in text and 'leave no valid distance' in text and '/flat: its clouds have no finite' in text


def test_an_arm(tmp_path):
    def state(i, t):
        return message('sensor_msgs/msg/JointState', t, name=['shoulder', 'elbow'],
                       position=np.array([0.1 * i, 1.0]), velocity=np.array([0.1, 0.0]), effort=np.zeros(0))

    def goal(i, t):
        point = message('trajectory_msgs/msg/JointTrajectoryPoint', positions=np.array([0.1 * i, 1.0 + 0.01 * i]))
        return message('trajectory_msgs/msg/JointTrajectory', t, joint_names=['shoulder', 'elbow'], points=[point])
    bag = write_bag(tmp_path / 'arm', {'/joint_states': every(0.02, 100, state),
                                       '/arm_controller/joint_trajectory': every(0.1, 20, goal)})
    _, contract = drafted(bag)
    joints = observation(contract, 'joint_states')
    assert joints.joints == ['shoulder', 'elbow'] and joints.fields == ['position', 'velocity']
    action = contract.actions[0]
    assert action.safe == 'hold' and [f.field for f in action.fields] == ['position[shoulder]', 'position[elbow]']
    assert [f.name for f in action.fields] == ['shoulder_rad', 'elbow_rad']
    assert action.fields[0].max == pytest.approx(1.9)


def test_arrays_that_are_named_like_commands_are_actions_and_others_observations(tmp_path):
    def numbers(i, t):
        return message('std_msgs/msg/Float64MultiArray', data=np.array([0.1 * (i % 5), -0.2, 0.0]))
    bag = write_bag(tmp_path / 'bag', {'/effort_controller/commands': every(0.1, 30, numbers),
                                       '/tactile': every(0.1, 30, numbers)})
    _, contract = drafted(bag)
    assert [f.field for f in contract.actions[0].fields] == ['data[0]', 'data[1]', 'data[2]']
    assert contract.actions[0].safe == 'zeros' and observation(contract, 'tactile').size == 3


def test_joints_that_come_in_turns_are_drafted_apart(tmp_path):
    def state(i, t):
        names = ['shoulder', 'elbow'] if i % 2 else ['finger']
        return message('sensor_msgs/msg/JointState', t, name=names, position=np.full(len(names), 0.01 * i),
                       velocity=np.full(len(names), np.nan), effort=np.zeros(0))
    _, contract = drafted(base_bag(tmp_path / 'bag', joint_states=every(0.05, 80, state)))
    assert [(o.joints, o.fields) for o in contract.observations if o.joints] == [
        (['finger'], ['position']), (['shoulder', 'elbow'], ['position'])]


def test_a_sensor_that_is_there_for_a_part_only_is_not_required(tmp_path):
    late = every(0.1, 60, lambda i, t: message('sensor_msgs/msg/Temperature', t, temperature=20.0 + i),
                 WALL_NS + 4 * 10**9)
    text, contract = drafted(base_bag(tmp_path / 'bag', 100, battery=late))
    assert not observation(contract, 'battery').required and 'begin 4.0 s late' in text
    assert observation(contract, 'scan').required and observation(contract, 'odom').required


def test_what_speaks_only_on_change_is_held(tmp_path):
    bumps = [(WALL_NS + s * 10**9, message('std_msgs/msg/Bool', data=bool(s % 2))) for s in (0, 1, 2, 9)]
    _, contract = drafted(base_bag(tmp_path / 'bag', 100, bump=bumps))
    assert observation(contract, 'bump').align == 'hold'


def test_latched_topics_are_read_as_latched(tmp_path):
    topics = {'/scan': every(0.1, 40, lambda i, t: scan(t, [1.0] * 8)),
              '/cmd_vel': every(0.1, 40, lambda i, t: twist(0.1)),
              '/mode': [(WALL_NS + s * 10**9, message('std_msgs/msg/Int32', data=s)) for s in (0, 1)]}
    found = observation(drafted(write_bag(tmp_path / 'bag', topics, latched=('/mode',)))[1], 'mode')
    assert (found.qos, found.align) == ('latched', 'hold')


def test_a_joystick_is_no_sensor(tmp_path):
    joy = every(0.1, 40, lambda i, t: message('sensor_msgs/msg/Joy', t, axes=np.array([0.1 * i], np.float32)))
    text, contract = drafted(base_bag(tmp_path / 'bag', joy=joy))
    assert '/joy: what a person commands' in text and all(o.key != 'joy' for o in contract.observations)


def test_two_arms_with_the_same_joints_keep_their_numbers_apart(tmp_path):
    def goal(i, t):
        point = message('trajectory_msgs/msg/JointTrajectoryPoint', positions=np.array([0.1 * i]))
        return message('trajectory_msgs/msg/JointTrajectory', t, joint_names=['elbow'], points=[point])
    arms = {f'/{side}/joint_trajectory': every(0.1, 40, goal) for side in ('left', 'right')}
    bag = write_bag(tmp_path / 'bag', arms | {'/scan': every(0.1, 40, lambda i, t: scan(t, [1.0] * 8))})
    assert drafted(bag)[1].action_names == ['elbow_rad', 'right_joint_trajectory_elbow_rad']


def test_an_imu_without_orientation_is_read_without_it(tmp_path):
    def imu(i, t):
        made = message('sensor_msgs/msg/Imu', t, 'imu', angular_velocity__z=0.1 * i, linear_acceleration__z=9.8)
        made.orientation_covariance[0] = -1
        return made
    _, contract = drafted(base_bag(tmp_path / 'bag', imu=every(0.01, 400, imu)))
    assert observation(contract, 'imu').fields == ['angular_velocity', 'linear_acceleration']


def test_a_point_cloud_becomes_a_range_image(tmp_path):
    def cloud(i, t):
        points = np.array([[2.0, 0.1 * k, -0.5 + 0.1 * k] for k in range(10)], np.float32)
        fields = [message('sensor_msgs/msg/PointField', name=n, offset=4 * k, datatype=7, count=1)
                  for k, n in enumerate('xyz')]
        return message('sensor_msgs/msg/PointCloud2', t, 'lidar', height=1, width=10, fields=fields, point_step=12,
                       row_step=120, data=np.frombuffer(points.tobytes(), np.uint8), is_dense=True)
    found = observation(drafted(base_bag(tmp_path / 'bag', lidar__points=every(0.1, 40, cloud)))[1], 'lidar_points')
    assert found.elevation_min_rad == pytest.approx(-0.3) and found.elevation_max_rad == pytest.approx(0.2)
    assert found.range_max_m == pytest.approx(2.3)


def test_transforms_that_odometry_tells_too_are_left_out(tmp_path):
    def links(i, t):
        pair = [message('geometry_msgs/msg/TransformStamped', t, parent, child_frame_id=child,
                        transform__translation__x=0.01 * i, transform__rotation__w=1.0)
                for parent, child in (('odom', 'base'), ('base', 'gripper'))]
        return message('tf2_msgs/msg/TFMessage', transforms=pair)
    text, contract = drafted(base_bag(tmp_path / 'bag', tf=every(0.1, 40, links)))
    found = observation(contract, 'tf_gripper')
    assert (found.parent_frame, found.child_frame) == ('base', 'gripper')
    assert '/tf: base in odom, which /odom says too' in text and len(contract.observations) == 3


def test_a_namespace_is_left_out_of_the_topics(tmp_path):
    inside = {f'/robots/r1{n}': m for n, m in {
        '/scan': every(0.1, 20, lambda i, t: scan(t, [1.0] * 8)),
        '/cmd_vel': every(0.1, 20, lambda i, t: twist(0.1 * (i % 3)))}.items()}
    text, contract = drafted(write_bag(tmp_path / 'bag', inside))
    assert contract.observations[0].topic == 'scan' and contract.actions[0].topic == 'cmd_vel'
    assert 'give --namespace robots/r1' in text


def test_of_several_velocity_topics_the_plainest_is_the_command(tmp_path):
    other = every(0.1, 40, lambda i, t: twist(0.1 * (i % 2)))
    text, contract = drafted(base_bag(tmp_path / 'bag', cmd_vel_nav=other, cmd_vel_smoothed=other))
    assert [a.topic for a in contract.actions] == ['cmd_vel']
    assert '/cmd_vel_nav: another geometry_msgs/msg/Twist' in text


def test_stamps_of_zero_are_drafted_as_receive_times(tmp_path):
    bag = base_bag(tmp_path / 'bag', scan=every(0.1, 40, lambda i, t: scan(0, [1.0] * 8)))
    text, contract = drafted(bag)
    assert observation(contract, 'scan').stamp == 'receive' and '40 of 40 header stamps are zero' in text


def test_stamps_of_a_simulator_are_drafted_with_its_clock(tmp_path):
    def simulated(make):
        return every(0.1, 40, lambda i, t: make(i, t - WALL_NS + 10**9))
    bag = base_bag(tmp_path / 'bag', scan=simulated(lambda i, t: scan(t, [1.0] * 8)),
                   odom=simulated(lambda i, t: odometry(t, 0.1 * i, 0.1)))
    assert drafted(bag)[1].clock == 'sim'


def test_topics_of_unknown_types_are_listed_as_left_out(tmp_path):
    blank(UNKNOWN)
    bag = base_bag(tmp_path / 'bag', bumper=every(0.1, 10, lambda i, t: message(UNKNOWN, left=True)))
    text, contract = drafted(bag)
    assert '#   /bumper: ' in text and UNKNOWN in text
    assert all(o.topic != 'bumper' for o in contract.observations)


@pytest.mark.parametrize('topics, words', [
    ({'cmd_vel': None}, ('no command topic in it', 'record it with the command topic')),
    ({'cmd_vel': every(0.1, 5, lambda i, t: twist(0.0))}, ('/cmd_vel: it holds nothing but zeros',)),
    ({'cmd_vel': None, 'throttle': every(0.1, 9, lambda i, t: message('std_msgs/msg/Float64', data=0.1 * i))},
     ('no command topic', '/throttle (std_msgs/msg/Float64)', '--action'))])
def test_a_bag_without_commands_names_what_could_be_one(tmp_path, topics, words):
    with pytest.raises(BagError) as caught:
        draft(survey_bag(base_bag(tmp_path / 'bag', **topics)))
    assert '\n' not in str(caught.value) and all(word in str(caught.value) for word in words), caught.value


def test_a_command_topic_can_be_named(tmp_path):
    throttle = every(0.1, 40, lambda i, t: message('std_msgs/msg/Float64', data=0.1 * (i % 5)))
    _, contract = drafted(base_bag(tmp_path / 'bag', cmd_vel=None, throttle=throttle), actions=['/throttle'])
    assert (contract.actions[0].topic, contract.actions[0].fields[0].field) == ('throttle', 'data')
    with pytest.raises(BagError, match='topic /gas is not in it; it has /odom, /scan'):
        draft(survey_bag(base_bag(tmp_path / 'again', cmd_vel=None)), actions=['/gas'])


def test_a_bag_without_sensors_says_what_it_has(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/cmd_vel': every(0.1, 10, lambda i, t: twist(0.1 * i))})
    with pytest.raises(BagError, match=r'no sensor topic .* /cmd_vel \(geometry_msgs/msg/Twist\)'):
        draft(survey_bag(bag))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.from_regex(r'(/[A-Za-z_][A-Za-z0-9_]{0,6}){1,4}', fullmatch=True), min_size=1, max_size=6))
def test_keys_of_any_topics_are_valid_and_differ(topics):
    taken: set[str] = set()
    keys = [key_for(topic, taken) for topic in topics]
    assert len(set(keys)) == len(keys)
    for key in keys:
        RobotContract.model_validate({'name': key, 'control_period_s': 0.1, 'actions': [
            {'key': key, 'topic': 'a', 'type': 'geometry_msgs/msg/Twist',
             'fields': [{'name': 'v', 'field': 'linear.x', 'min': -1, 'max': 1, 'max_rate': 1}]}], 'observations': [
            {'key': key, 'topic': 's', 'type': 'sensor_msgs/msg/LaserScan', 'beams': 8}]})


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(max_size=12), st.integers(), st.booleans(), st.lists(st.text(max_size=5), max_size=3),
                 st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda v: float(f'{v:.6g}'))))
def test_any_value_is_read_back_from_its_yaml(value):
    assert yaml.safe_load(f'key: {_scalar(value)}')['key'] == value
