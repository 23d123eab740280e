"""The second form of contracts: streams of every type, what is refused, what is hashed, shapes."""
from pathlib import Path
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
import yaml

from jepa_ros.errors import ContractError
from jepa_ros.robot.adapters import tensor_spec
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.units import check_units, SYMBOLS

FILE = """\
name: rover
control_period_s: 0.1
clock: sim
pace: scan
observations:
  - {key: front, topic: front/image, type: sensor_msgs/msg/Image, height: 48, width: 64, frame: front_camera}
  - {key: grey, topic: rear/compressed, type: sensor_msgs/msg/CompressedImage, height: 48, width: 64, encoding: mono8}
  - {key: depth, topic: depth, type: sensor_msgs/msg/Image, height: 48, width: 64, encoding: depth, range_max_m: 8.0}
  - {key: scan, topic: scan, type: sensor_msgs/msg/LaserScan, beams: 180, range_min_m: 0.1}
  - {key: lidar, topic: points, type: sensor_msgs/msg/PointCloud2, height: 16, width: 360, elevation_min_rad: -0.3,
     elevation_max_rad: 0.3, range_max_m: 50.0, required: false, qos: stream}
  - {key: joints, topic: joint_states, type: sensor_msgs/msg/JointState, joints: [a, b], fields: [position, effort]}
  - {key: imu, topic: imu, type: sensor_msgs/msg/Imu, align: asof, timeout_s: 0.05}
  - {key: odom, topic: odom, type: nav_msgs/msg/Odometry, fields: [pose.pose.position.x, pose.pose.orientation.yaw]}
  - {key: wrench, topic: wrench, type: geometry_msgs/msg/WrenchStamped, fields: [wrench.force.z], units: N}
  - {key: numbers, topic: numbers, type: std_msgs/msg/Float64MultiArray, size: 5, stamp: receive}
  - {key: pose, topic: tf, type: tf2_msgs/msg/TFMessage, parent_frame: map, child_frame: base_link}
readouts:
  - {name: yaw_rad, topic: odom, type: nav_msgs/msg/Odometry, field: pose.pose.orientation.yaw}
actions:
  - key: wheels
    topic: cmd_vel
    type: geometry_msgs/msg/TwistStamped
    align: hold
    frame: base_link
    fields:
      - {name: vx_mps, field: twist.linear.x, min: -0.2, max: 0.5, max_rate: 1.0}
  - key: arm
    topic: arm/trajectory
    type: trajectory_msgs/msg/JointTrajectory
    safe: hold
    joints: [b, a]
    fields:
      - {name: a_rad, field: 'position[a]', min: 0.1, max: 2.0, max_rate: 1.0}
      - {name: b_rad, field: 'position[b]', min: -3.0, max: -1.0, max_rate: 1.0}
  - key: lights
    topic: lights
    type: std_msgs/msg/Float64MultiArray
    units: normalised
    fields:
      - {name: left, field: 'data[0]', min: 0.0, max: 1.0, max_rate: 10.0}
      - {name: right, field: 'data[1]', min: 0.0, max: 1.0, max_rate: 10.0}
"""
SHAPES = {'front': (48, 64, 3), 'grey': (48, 64, 1), 'depth': (2, 48, 64), 'scan': (2, 180), 'lidar': (2, 16, 360),
          'joints': (4,), 'imu': (6,), 'odom': (2,), 'wrench': (1,), 'numbers': (5,), 'pose': (7,)}


def parse(data) -> RobotContract:
    return RobotContract.parse(data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False), 'robot.yaml')


def changed(change) -> dict:
    """The file's data after `change(data)`; streams by key: data['scan'], data['wheels']."""
    data = yaml.safe_load(FILE)
    by_key = {stream['key']: stream for stream in (*data['observations'], *data['actions'])}
    change({**data, **by_key, 'file': data})
    return data


def line_of(change) -> str:
    with pytest.raises(ContractError) as caught:
        parse(changed(change))
    line = str(caught.value)
    assert '\n' not in line and line.startswith('robot.yaml')
    return line


def test_every_observation_says_its_shape_and_type():
    for observation in parse(FILE).observations:
        spec = tensor_spec(observation)
        assert spec.shape == SHAPES[observation.key]
        assert spec.dtype == (np.uint8 if observation.key in ('front', 'grey') else np.float32)
        assert len(spec.names) == (spec.shape[0] if len(spec.shape) == 1 else 0)


def test_yaml_round_trip_gives_an_equal_contract():
    contract = parse(FILE)
    again = parse(contract.to_yaml())
    assert again == contract and again.sha256() == contract.sha256()


def test_a_trajectory_takes_one_control_period_unless_it_says_otherwise():
    assert [a.time_from_start_s for a in parse(FILE).actions] == [None, 0.1, None]
    slower = changed(lambda d: d['arm'].update(time_from_start_s=0.5))
    assert parse(slower).actions[1].time_from_start_s == 0.5


@pytest.mark.parametrize('pace, expected', [('', 'front'), ('imu', 'imu'), ('clock', None)])
def test_pace_names_the_observation_that_makes_the_ticks(pace, expected):
    pacing = parse(changed(lambda d: d['file'].update(pace=pace))).pacing
    assert (pacing and pacing.key) == expected


@pytest.mark.parametrize('change, words', [
    # of all observations
    (lambda d: d['scan'].update(qos='best'), ['observations.3.qos', "'sensor', 'stream' or 'latched'"]),
    (lambda d: d['scan'].update(stamp='both'), ['observations.3.stamp', "'header' or 'receive'"]),
    (lambda d: d['scan'].update(timeout_s=0), ['observations.3.timeout_s', 'greater than 0']),
    (lambda d: d['scan'].update(frame='two words'), ['observations.3.frame', "got 'two words'"]),
    (lambda d: d['wrench'].update(units='newton'), ['observations.8.units', "'newton' in units 'newton' is no unit"]),
    (lambda d: d['scan'].update(required='maybe'), ['observations.3.required']),
    # keys of the type
    (lambda d: d['front'].pop('height'), ['observations.0', 'height is missing: sensor_msgs/msg/Image needs height']),
    (lambda d: d['front'].update(beams=5), ['beams does not belong to sensor_msgs/msg/Image, which has height, width']),
    (lambda d: d['front'].update(height=4), ['too small, at least 8×8']),
    (lambda d: d['front'].update(range_max_m=5.0), ['range_max_m belong to encoding depth, not to rgb8']),
    (lambda d: d['front'].update(encoding='yuv'), ["'rgb8', 'mono8' or 'depth'"]),
    (lambda d: d['scan'].pop('beams'), ['beams is missing: sensor_msgs/msg/LaserScan needs beams']),
    (lambda d: d['scan'].update(beams=1), ['observations.3.beams', 'greater than or equal to 2']),
    (lambda d: d['scan'].update(range_min_m=6.0, range_max_m=5.0), ['range_min_m (6) must be less than range_max_m']),
    (lambda d: d['scan'].update(range_max_m=-1.0), ['range_max_m', 'greater than or equal to 0']),
    (lambda d: d['lidar'].update(elevation_max_rad=-1.0), ['elevation_min_rad (-0.3) must be less than elevation']),
    (lambda d: d['lidar'].pop('elevation_min_rad'), ['elevation_min_rad is missing']),
    (lambda d: d['joints'].update(joints=['a', 'b', 'a']), ["joints lists 'a' twice"]),
    (lambda d: d['joints'].pop('joints'), ['joints is missing: sensor_msgs/msg/JointState needs joints']),
    (lambda d: d['joints'].update(fields=['angle']), ["field 'angle' is unknown for sensor_msgs/msg/JointState"]),
    (lambda d: d['imu'].update(fields=['magnetic_field']), ["field 'magnetic_field' is unknown for sensor_msgs/m"]),
    (lambda d: d['imu'].update(fields=['orientation', 'orientation']), ["fields lists 'orientation' twice"]),
    (lambda d: d['odom'].update(fields=['pose.position.x']), ["Odometry has no number at 'pose.position.x'"]),
    (lambda d: d['odom'].update(fields=['pose.pose.position.yaw']), ["no number at 'pose.pose.position.yaw'"]),
    (lambda d: d['odom'].update(fields=['pose.covariance[36]']), ["no number at 'pose.covariance[36]'"]),
    (lambda d: d['odom'].update(fields=[]), ['fields is missing: nav_msgs/msg/Odometry needs fields']),
    (lambda d: d['wrench'].update(fields=['wrench..z']), ['observations.8.fields.0', "got 'wrench..z'"]),
    (lambda d: d['wrench'].update(fields=['wrench.force[.z']), ['observations.8.fields.0']),
    (lambda d: d['numbers'].update(size=0), ['observations.9.size', 'greater than or equal to 1']),
    (lambda d: d['numbers'].pop('size'), ['size is missing']),
    (lambda d: d['pose'].update(child_frame='map'), ["parent_frame and child_frame are both 'map'"]),
    (lambda d: d['pose'].pop('parent_frame'), ['parent_frame is missing']),
    # of the whole
    (lambda d: d['file'].update(pace='skan'), ["pace 'skan' names no observation; did you mean 'scan'?"]),
    (lambda d: d['file'].update(pace='lidar'), ["observation 'lidar' makes the ticks (pace), so it cannot be"]),
    (lambda d: d['scan'].update(key='clock'), ["observation key 'clock' is taken"]),
    (lambda d: d['file'].update(clock='wall'), ["'system' or 'sim'"]),
    (lambda d: d['file'].update(control_period_s=-0.1), ['control_period_s', 'got -0.1']),
    (lambda d: d['file'].update(settle_s=-1), ['settle_s', 'got -1']),
    # actions
    (lambda d: d['arm'].update(key='wheels'), ["action key 'wheels' appears twice"]),
    (lambda d: d['wheels']['fields'][0].update(field='linear.x'), ["TwistStamped has no field 'linear.x', it has t"]),
    (lambda d: d['wheels']['fields'][0].update(min=0.6), ['actions.0.fields.0', 'min (0.6) must be less than max']),
    (lambda d: d['wheels']['fields'][0].update(max_rate=-1), ['max_rate', 'greater than 0']),
    (lambda d: d['wheels'].update(align='newest'), ['actions.0.align', "'asof' or 'hold'"]),
    (lambda d: d['wheels'].update(joints=['a']), ['joints belongs to trajectory_msgs/msg/JointTrajectory']),
    (lambda d: d['wheels'].update(time_from_start_s=0.1), ['time_from_start_s belongs to trajectory_msgs']),
    (lambda d: d['wheels'].update(units='normalized'), ["is no unit; did you mean 'normalised'?"]),
    (lambda d: d['arm'].update(safe='zeros'), ['a_rad: 0 must lie within [0.1, 2], it is the command that stops the '
                                               'robot; or set safe: hold']),
    (lambda d: d['arm'].update(joints=['a', 'a', 'b']), ["joints lists 'a' twice"]),
    (lambda d: d['arm'].update(joints=['a']), ["joint 'b' has no field position[b] or is not in joints"]),
    (lambda d: d['arm'].update(joints=['a', 'b', 'c']), ["joint 'c' has no field position[c]"]),
    (lambda d: d['arm']['fields'][0].update(field='positions[a]'), ["has no field 'positions[a]', it has position["]),
    (lambda d: d['arm']['fields'][0].update(field='velocity[a]'), ["joint 'b' has no field velocity[b]"]),
    (lambda d: d['arm']['fields'][0].update(field='position[b]'), ["field 'position[b]' is commanded twice"]),
    (lambda d: d['lights']['fields'][1].update(field='data[2]'), ['must be data[0] to data[1], each once']),
])
def test_what_makes_no_sense_is_refused_in_one_line(change, words):
    line = line_of(change)
    assert all(word in line for word in words), line


@pytest.mark.parametrize('change', [
    lambda d: d['file'].update(pace='front'),
    lambda d: d['file'].update(pace='clock'),
    lambda d: d['scan'].update(beams=90),
    lambda d: d['scan'].update(range_min_m=0.2),
    lambda d: d['scan'].update(stamp='receive'),
    lambda d: d['lidar'].update(required=True),
    lambda d: d['lidar'].update(elevation_max_rad=0.4),
    lambda d: d['joints']['joints'].reverse(),
    lambda d: d['imu'].update(fields=['angular_velocity']),
    lambda d: d['pose'].update(child_frame='camera'),
    lambda d: d['wheels'].update(align='asof'),
    lambda d: d['arm'].update(time_from_start_s=0.2),
])
def test_hash_changes_with_what_bears_on_tensors(change):
    assert parse(changed(change)).sha256() != parse(FILE).sha256()


@pytest.mark.parametrize('change', [
    lambda d: d['file'].update(clock='system', settle_s=0.5, description='x'),
    lambda d: d['scan'].update(qos='stream', frame='laser', units='m'),
    lambda d: d['wheels'].update(frame='base', units='m/s', timeout_s=1.0),
    lambda d: d['arm'].update(time_from_start_s=0.1),
])
def test_hash_ignores_what_does_not(change):
    assert parse(changed(change)).sha256() == parse(FILE).sha256()


def test_hash_of_the_first_form_stays_what_it_was():
    shipped = '16f5f49595093a0f35f05c07b51d8a4b0a020d23186598a0386ccc12eb00eac5'
    assert RobotContract.load('two_rooms').sha256() == shipped


def test_the_first_observation_named_as_pace_is_the_same_contract():
    named = parse(changed(lambda d: d['file'].update(pace='front')))
    silent = parse(changed(lambda d: d['file'].update(pace='')))
    assert named.sha256() == silent.sha256()


@given(st.sampled_from(SYMBOLS), st.sampled_from(SYMBOLS), st.sampled_from(['{}/{}', '{}*{}', '{}/{}^2', '{}·{}²']))
@settings(max_examples=60, deadline=None)
def test_products_and_powers_of_units_are_units(one, other, form):
    assert check_units(form.format(one, other)) == form.format(one, other)


@pytest.mark.parametrize('units', ['', '1', '%', 'normalised', 'normalised/s', '1/s', 'm/s', 'rad/s^2', 'N*m'])
def test_units_that_robots_use_are_units(units):
    assert check_units(units) == units


@pytest.mark.parametrize('units', ['12', 'normalised^2', 'm//s', '/s', 'meters', 'm s', 'M'])
def test_what_is_no_unit_is_refused(units):
    with pytest.raises(ValueError, match='is no unit'):
        check_units(units)


@given(st.text(max_size=12))
@settings(max_examples=60, deadline=None)
def test_any_text_is_a_unit_or_one_line(text):
    try:
        check_units(text)
    except ValueError as error:
        assert '\n' not in str(error)


def test_a_contract_loads_without_ros_opencv_and_torch():
    code = ('import sys; from jepa_ros.robot.contract import RobotContract; RobotContract.load("two_rooms"); '
            'print([m for m in ("rclpy", "cv2", "torch", "rosbags") if m in sys.modules])')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == '[]'
