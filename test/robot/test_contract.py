"""What a robot contract accepts, refuses and hashes."""
import copy

from hypothesis import example, given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
import yaml

from jepa_ros.errors import ContractError
from jepa_ros.paths import known
from jepa_ros.robot.contract import RobotContract


@pytest.fixture(scope='module')
def shipped() -> dict:
    return yaml.safe_load(RobotContract.load('two_rooms').to_yaml())


def parse(data) -> RobotContract:
    return RobotContract.parse(yaml.safe_dump(data, sort_keys=False), 'robot.yaml')


def line_of(data) -> str:
    with pytest.raises(ContractError) as caught:
        parse(data)
    line = str(caught.value)
    assert '\n' not in line and line.startswith('robot.yaml')
    return line


@pytest.mark.parametrize('name', known('robots'))
def test_shipped_contracts_load(name):
    assert RobotContract.load(name).name == name


def test_vectors_keep_the_order_of_the_file():
    contract = RobotContract.load('two_rooms')
    assert contract.action_names == ['vx_mps', 'vy_mps'] and contract.readout_names == ['x_m', 'y_m']
    np.testing.assert_array_equal(contract.action_low, [-0.8, -0.8])
    np.testing.assert_array_equal(contract.action_high, [0.8, 0.8])


def test_yaml_round_trip_gives_an_equal_contract():
    contract = RobotContract.load('two_rooms')
    again = RobotContract.parse(contract.to_yaml())
    assert again == contract and again.sha256() == contract.sha256()


def test_unknown_robot_suggests_the_nearest_name():
    with pytest.raises(ContractError, match=r"unknown robot 'two_romes'; did you mean 'two_rooms'\? \(known: "):
        RobotContract.load('two_romes')


def test_missing_file_is_named():
    with pytest.raises(ContractError, match='no/such.yaml does not exist'):
        RobotContract.load('no/such.yaml')


def test_broken_yaml_names_file_and_line(tmp_path):
    path = tmp_path / 'robot.yaml'
    path.write_text('name: x\nobservations: [\n')
    with pytest.raises(ContractError, match=r'robot.yaml, line \d+: not YAML'):
        RobotContract.load(path)


def test_binary_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / 'robot.yaml'
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ContractError, match='robot.yaml cannot be read'):
        RobotContract.load(path)


@pytest.mark.parametrize('change, words', [
    (lambda d: d['actions'][0]['fields'][0].update(max=-1.0), ['line 37', 'actions.0.fields.0', 'less than max']),
    (lambda d: d['actions'][0]['fields'][0].update(max=float('nan')), ['actions.0.fields.0.max', 'finite']),
    (lambda d: d['actions'][0]['fields'][0].update(min=0.1), ['actions.0', 'vx_mps: 0 must lie within']),
    (lambda d: d['actions'][0]['fields'][0].update(max_rate=0), ['max_rate', 'greater than 0']),
    (lambda d: d['actions'][0]['fields'][1].update(name='vx_mps'), ["action name 'vx_mps' appears twice"]),
    (lambda d: d['observations'][0].update(type='sensor_msgs/msg/Imag'), ['no adapter', 'did you mean']),
    (lambda d: d['observations'][0].update(align='future'), ['observations.0.align', "'hold' or 'asof'"]),
    (lambda d: d['observations'][0].update(height=0), ['observations.0.height', 'got 0']),
    (lambda d: d['observations'][0].update(topik='x'), ['observations.0.topik', 'unknown key']),
    (lambda d: d['observations'][0].update(topic='a b'), ['observations.0.topic', "got 'a b'"]),
    (lambda d: d.pop('control_period_s'), ['control_period_s', 'is missing']),
    (lambda d: d.update(observations=[]), ['observations', 'at least 1']),
    (lambda d: d['readouts'][0].update(type='nav_msgs/msg/Path'), ["topic 'odom' has two types"]),
])
def test_refusals_name_file_line_and_field(shipped, change, words):
    data = copy.deepcopy(shipped)
    change(data)
    line = line_of(data)
    assert all(word in line for word in words), line


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
                    max_leaves=12))
@example({'\n': None})
@settings(max_examples=60, deadline=None)
def test_any_yaml_is_a_contract_or_one_line(data):
    try:
        parse(data)
    except ContractError as error:
        assert '\n' not in str(error)


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_is_a_contract_or_one_line(text):
    try:
        RobotContract.parse(text, 'robot.yaml')
    except ContractError as error:
        assert '\n' not in str(error)


@pytest.mark.parametrize('change', [
    lambda d: d.update(name='other'),
    lambda d: d.update(control_period_s=0.2),
    lambda d: d['observations'][0].update(height=32),
    lambda d: d['readouts'].pop(),
    lambda d: d['actions'][0]['fields'].reverse(),
    lambda d: d['actions'][0]['fields'][0].update(max=0.9),
])
def test_hash_changes_with_what_bears_on_tensors(shipped, change):
    data = copy.deepcopy(shipped)
    change(data)
    assert parse(data).sha256() != parse(shipped).sha256()


@pytest.mark.parametrize('change', [
    lambda d: d.update(description='other'),
    lambda d: d['observations'][0].update(topic='front/image'),
    lambda d: d['observations'][0].update(timeout_s=1.0),
    lambda d: d['actions'][0]['fields'][0].update(max_rate=1.0),
])
def test_hash_ignores_what_does_not(shipped, change):
    data = copy.deepcopy(shipped)
    change(data)
    assert parse(data).sha256() == parse(shipped).sha256()


DRIVES = {'battery': {'readout': 'y_m', 'low': 0.2}, 'clearance': [{'readout': 'x_m', 'least': 0.3}],
          'collision': [{'readout': 'x_m', 'low': 0.0}], 'limits': [{'readout': 'y_m', 'low': -1.5, 'high': 1.5}]}


def test_a_contract_without_drives_does_not_mention_them(shipped):
    contract = parse(shipped)
    assert contract.drives is None and 'drives' not in contract.to_yaml() and 'drives' not in contract.model_dump()


def test_drives_survive_and_leave_the_hash_alone(shipped):
    """What a robot fears can be said after its model was trained."""
    contract = parse(shipped | {'drives': DRIVES})
    again = RobotContract.parse(contract.to_yaml())
    assert again == contract and RobotContract.model_validate(contract.model_dump(mode='json')) == contract
    assert contract.sha256() == parse(shipped).sha256()
    assert contract.drives.battery.empty == 0 and contract.drives.collision[0].high is None


@pytest.mark.parametrize('drives, line', [
    ({'batery': DRIVES['battery']}, 'drives.batery: unknown key (did you mean battery?); known: battery, clearance'),
    ({'battery': {'readout': 'y_n', 'low': 0.2}}, "drives.battery: this robot has no readout 'y_n'; did you mean 'y_m"),
    ({'limits': [{'readout': 'x_m', 'low': 0}, {'readout': 'z', 'low': 0}]}, 'drives.limits.1: this robot has no rea'),
    ({'battery': {'readout': 'y_m', 'low': 0.2, 'empty': 0.3}}, 'low (0.2) must be above empty (0.3)'),
    ({'battery': {'readout': 'y_m'}}, 'drives.battery.low: is missing'),
    ({'clearance': [{'readout': 'x_m', 'least': 0}]}, 'drives.clearance.0.least: Input should be greater than 0'),
    ({'collision': [{'readout': 'x_m'}]}, "readout 'x_m' has neither low nor high: give one of them or both"),
    ({'limits': [{'readout': 'x_m', 'low': 1, 'high': 1}]}, 'low (1) must be less than high (1)'),
    ({'limits': [{'readout': 'x_m', 'low': float('nan')}]}, 'drives.limits.0.low'),
    ({'limits': {'x_m': 3}}, 'drives.limits'),
])
def test_drives_that_cannot_be_are_refused_in_one_line(shipped, drives, line):
    assert line in line_of(shipped | {'drives': drives})


def test_drives_of_a_robot_without_readouts_are_refused(shipped):
    assert "drives.battery: this robot has no readout 'y_m': it has no readouts at all" in line_of(
        shipped | {'readouts': [], 'drives': {'battery': DRIVES['battery']}})
