"""Bags: what is written is read back by us and by others; what is wrong with one is said in one line."""
from pathlib import Path

from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
import numpy as np
import pytest
from rosbags.rosbag2 import Reader
import yaml

from jepa_ros.errors import BagError
from jepa_ros.msg import EpisodeEvent
from jepa_ros.robot.adapters import to_array
from jepa_ros.robot.bag_open import open_bag
from jepa_ros.robot.bags import bag_duration_s, bag_sha256, read_episodes, read_percept
from jepa_ros.robot.contract import RobotContract

from .conftest import picture, Tape

DATA = Path(__file__).resolve().parents[3] / 'shared' / 'data'


def refusal(call) -> str:
    with pytest.raises(BagError) as caught:
        call()
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_episodes_are_split_at_their_events(two_episodes, contract):
    a, b = read_episodes(two_episodes, contract)
    assert (a.episode_id, len(a), b.episode_id, len(b)) == ('a', 5, 'b', 3)
    assert a.source == str(two_episodes)


def test_rows_hold_percept_action_and_readout_of_one_moment(two_episodes, contract):
    _, b = read_episodes(two_episodes, contract)
    np.testing.assert_array_equal(b.stamps_ns, 10**9 + np.arange(6, 9) * 10**8)
    np.testing.assert_array_equal(b.readouts[:, 0], [6, 7, 8])
    np.testing.assert_allclose(b.actions[:, 0], [0.0, 0.01, 0.02])
    assert b.actions.dtype == b.readouts.dtype == np.float32
    for row, number in enumerate((6, 7, 8)):
        live = to_array(contract.observations[0], picture(number, 0))
        np.testing.assert_array_equal(b.percepts['overhead'][row], live)


def test_progress_ends_at_one(two_episodes, contract):
    shares = []
    read_episodes(two_episodes, contract, shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_an_episode_without_end_ends_with_the_bag(tmp_path, contract):
    tape = Tape(tmp_path / 'bag', contract)
    tape.event(EpisodeEvent.START, 'a')
    for _ in range(4):
        tape.row()
    tape.writer.close()
    assert [len(e) for e in read_episodes(tmp_path / 'bag', contract)] == [4]


def test_a_start_ends_the_episode_before(tmp_path, contract):
    tape = Tape(tmp_path / 'bag', contract)
    for name in 'ab':
        tape.event(EpisodeEvent.START, name)
        tape.row()
        tape.row()
    tape.writer.close()
    assert [(e.episode_id, len(e)) for e in read_episodes(tmp_path / 'bag', contract)] == [('a', 2), ('b', 2)]


def test_an_episode_is_cut_where_percepts_are_missing(tmp_path, contract):
    tape = Tape(tmp_path / 'bag', contract)
    tape.event(EpisodeEvent.START, 'a')
    for number in range(6):
        if number == 3:
            tape.ns += 10**8
        tape.row()
    tape.writer.close()
    assert [(e.episode_id, len(e)) for e in read_episodes(tmp_path / 'bag', contract)] == [('a', 3), ('a+1', 3)]


def test_a_bag_recorded_in_a_namespace_is_read_with_the_same_contract(tmp_path, contract):
    types = {'/robot1/camera/image_raw': 'sensor_msgs/msg/Image', '/robot1/odom': 'nav_msgs/msg/Odometry',
             '/robot1/cmd_vel': 'geometry_msgs/msg/Twist', '/robot1/episode': 'jepa_ros/msg/EpisodeEvent'}
    tape = Tape(tmp_path / 'bag', contract, types=types)
    put = tape.put
    tape.put = lambda topic, message, ns: put('/robot1' + topic, message, ns)
    tape.episode('a', 3)
    tape.writer.close()
    assert len(read_episodes(tmp_path / 'bag', contract)[0]) == 3


def test_percept_at_a_time_is_the_newest_not_later(two_episodes, contract):
    percept = read_percept(two_episodes, contract, 0.29)['overhead']
    np.testing.assert_array_equal(percept, to_array(contract.observations[0], picture(2, 0)))
    percept = read_percept(two_episodes, contract, 0.3)['overhead']
    np.testing.assert_array_equal(percept, to_array(contract.observations[0], picture(3, 0)))


@pytest.mark.parametrize('time_s', [-0.1, 1.0, 1e9, float('nan')])
def test_a_time_outside_the_bag_names_its_length(two_episodes, contract, time_s):
    assert 'outside the bag, which is 0.9 s long' in refusal(lambda: read_percept(two_episodes, contract, time_s))


def test_duration_is_from_first_to_last_percept(two_episodes, contract):
    assert bag_duration_s(two_episodes, contract) == pytest.approx(0.9)


def test_hash_is_of_the_recorded_data(two_episodes):
    before = bag_sha256(two_episodes)
    (two_episodes / 'notes.txt').write_text('x')
    assert bag_sha256(two_episodes) == before
    with (two_episodes / 'bag.mcap').open('r+b') as file:
        file.seek(60)
        byte = file.read(1)[0]
        file.seek(60)
        file.write(bytes([byte ^ 1]))
    assert bag_sha256(two_episodes) != before


def test_other_readers_open_the_bag(two_episodes):
    with Reader(two_episodes) as reader:
        assert {c.topic: c.msgcount for c in reader.connections} == {
            '/camera/image_raw': 10, '/odom': 10, '/cmd_vel': 8, '/episode': 4}
        assert all(c.digest.startswith('RIHS01_') for c in reader.connections)
    with (two_episodes / 'bag.mcap').open('rb') as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        decoded = list(reader.iter_decoded_messages())
        assert reader.get_summary().chunk_indexes[0].compression == 'zstd'
    assert len(decoded) == 32
    assert [m.episode_id for _, channel, _, m in decoded if channel.topic == '/episode'] == ['a', 'a', 'b', 'b']


def test_the_bag_describes_itself(two_episodes, contract):
    info = yaml.safe_load((two_episodes / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    assert info['version'] == 9 and info['storage_identifier'] == 'mcap'
    custom = info['custom_data']
    assert RobotContract.parse(custom['jepa_ros.contract']) == contract
    assert custom['jepa_ros.contract_sha256'] == contract.sha256()
    assert custom['jepa_ros.clock'] == 'lockstep' and custom['jepa_ros.parameters'] == '{"seed": 7}'
    assert {'jepa_ros.git_revision', 'jepa_ros.model_sha256', 'jepa_ros.version'} <= set(custom)
    with (two_episodes / 'bag.mcap').open('rb') as file:
        inside = [m.metadata for m in make_reader(file).iter_metadata() if m.name == 'rosbag2']
    assert 'jepa_ros.contract' in inside[0]['serialized_metadata']


# ---- bad input

def test_missing_bag(tmp_path, contract):
    assert refusal(lambda: read_episodes(tmp_path / 'no', contract)).endswith('no: there is no such bag')


def test_folder_that_is_no_bag(tmp_path, contract):
    assert 'metadata.yaml is missing' in refusal(lambda: read_episodes(tmp_path, contract))


@pytest.mark.parametrize('text', ['', '- a', 'rosbag2_bagfile_information: 3', 'a: [', '\x00'])
def test_broken_metadata(two_episodes, contract, text):
    (two_episodes / 'metadata.yaml').write_text(text)
    assert str(two_episodes) in refusal(lambda: read_episodes(two_episodes, contract))


@pytest.mark.parametrize('length', [0, 7, 40, 5_000, -1, -40])
def test_truncated_data(two_episodes, contract, length):
    path = two_episodes / 'bag.mcap'
    path.write_bytes(path.read_bytes()[:length])
    line = refusal(lambda: read_episodes(two_episodes, contract))
    assert 'was cut off' in line and 'jepa-ros bag repair' in line


def test_missing_data_file(two_episodes, contract):
    (two_episodes / 'bag.mcap').unlink()
    assert 'missing' in refusal(lambda: read_episodes(two_episodes, contract))


def test_damaged_data(two_episodes, contract):
    path = two_episodes / 'bag.mcap'
    data = bytearray(path.read_bytes())
    data[200:3000] = bytes(2800)
    path.write_bytes(data)
    assert 'damaged' in refusal(lambda: read_episodes(two_episodes, contract))


def other_contract(contract, change) -> RobotContract:
    data = contract.model_dump()
    change(data)
    return RobotContract.model_validate(data)


@pytest.mark.parametrize('change, words', [
    (lambda d: d.update(name='other'), "name is 'two_rooms' there and 'other'"),
    (lambda d: d['actions'][0]['fields'][0].update(max=2.0), 'actions'),
    (lambda d: d['readouts'][0].update(field='pose.pose.position.z'), 'readouts'),
    (lambda d: d.update(control_period_s=0.2), 'control_period_s'),
])
def test_bag_of_another_contract(two_episodes, contract, change, words):
    line = refusal(lambda: read_episodes(two_episodes, other_contract(contract, change)))
    assert 'another robot contract' in line and words in line


def test_other_tensor_size_reads_the_same_recording(two_episodes, contract):
    small = other_contract(contract, lambda d: d['observations'][0].update(height=32, width=32))
    assert read_episodes(two_episodes, small)[0].percepts['overhead'].shape == (5, 32, 32, 3)


def test_topic_of_another_type(tmp_path, contract):
    types = {'/camera/image_raw': 'sensor_msgs/msg/CompressedImage', '/odom': 'nav_msgs/msg/Odometry',
             '/cmd_vel': 'geometry_msgs/msg/Twist'}
    Tape(tmp_path / 'bag', contract, types=types).writer.close()
    assert 'topic /camera/image_raw has type sensor_msgs/msg/CompressedImage' in refusal(
        lambda: read_episodes(tmp_path / 'bag', contract))


def test_bag_without_episodes(tmp_path, contract):
    tape = Tape(tmp_path / 'bag', contract)
    tape.row()
    tape.writer.close()
    assert 'no START event' in refusal(lambda: read_episodes(tmp_path / 'bag', contract))


def test_bag_without_messages(tmp_path, contract):
    Tape(tmp_path / 'bag', contract).writer.close()
    assert 'no START event' in refusal(lambda: read_episodes(tmp_path / 'bag', contract))
    assert 'no message' in refusal(lambda: read_percept(tmp_path / 'bag', contract, 0.0))


def test_existing_output_is_not_overwritten(two_episodes, contract):
    before = bag_sha256(two_episodes)
    assert 'exists already' in refusal(lambda: Tape(two_episodes, contract))
    assert bag_sha256(two_episodes) == before


def test_unknown_message_type_is_named(tmp_path, contract):
    line = refusal(lambda: Tape(tmp_path / 'bag', contract, types={'/x': 'no_such_msgs/msg/Thing'}))
    assert 'no_such_msgs/msg/Thing' in line


FOREIGN = sorted(p.parent for p in DATA.glob('*/*/metadata.yaml'))


@pytest.mark.skipif(not FOREIGN, reason='no foreign bags: ../shared/data is not next to this checkout')
def test_foreign_sqlite_bags_are_opened_and_refused_in_one_line(contract):
    for bag in FOREIGN:
        line = refusal(lambda bag=bag: read_episodes(bag, contract))
        assert 'is not in the bag' in line or 'has type' in line, line
        assert len(bag_sha256(bag)) == 64


@pytest.mark.skipif(not FOREIGN, reason='no foreign bags: ../shared/data is not next to this checkout')
def test_commands_and_odometry_of_foreign_sqlite_bags_become_numbers(contract):
    streams = {'/cmd_vel': contract.actions[0], '/odom': contract.readouts[0]}
    for bag in FOREIGN:
        with open_bag(bag) as opened:
            topics = [topic for topic in streams if opened.topic(topic)]
            values = [to_array(streams[topic], message) for topic, _, message in opened.messages(topics)]
            assert len(values) == opened.count(topics) > 80
            assert all(np.isfinite(value).all() for value in values)
