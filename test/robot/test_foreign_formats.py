"""Bags as every version of rosbag2 and other writers leave them: the same messages give the same tensors."""
from pathlib import Path
import shutil
import sqlite3

from made_bags import base_bag, every, scan, STORE, twist, write_bag
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
import yaml

from jepa_ros.errors import BagError
from jepa_ros.robot.bag_info import bag_info
from jepa_ros.robot.bag_repair import repaired
from jepa_ros.robot.bags import read_episodes
from jepa_ros.robot.check import check_bag
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.draft import draft
from jepa_ros.robot.survey import survey_bag

COUNT = 20
OLD_TABLES = ('schema', 'metadata', 'message_definitions')


def robot() -> RobotContract:
    return RobotContract.model_validate({
        'name': 'base', 'control_period_s': 0.1,
        'observations': [{'key': 'scan', 'topic': 'scan', 'type': 'sensor_msgs/msg/LaserScan', 'beams': 8}],
        'readouts': [{'name': 'x_m', 'topic': 'odom', 'type': 'nav_msgs/msg/Odometry',
                      'field': 'pose.pose.position.x'}],
        'actions': [{'key': 'base', 'topic': 'cmd_vel', 'type': 'geometry_msgs/msg/Twist', 'fields': [
            {'name': 'v', 'field': 'linear.x', 'min': -1.0, 'max': 1.0, 'max_rate': 9.0}]}]})


def numbers(bag: Path) -> list[np.ndarray]:
    """Everything that is read from the only episode of a bag."""
    episode, = read_episodes(bag, robot())
    return [episode.stamps_ns, episode.percepts['scan'], episode.actions, episode.readouts]


def assert_same(bag: Path, like: Path) -> None:
    for there, here in zip(numbers(like), numbers(bag), strict=True):
        np.testing.assert_array_equal(there, here)


@pytest.fixture(scope='module')
def bag(tmp_path_factory) -> Path:
    return base_bag(tmp_path_factory.mktemp('mcap') / 'bag', COUNT)


def information(folder: Path) -> dict:
    return yaml.safe_load((folder / 'metadata.yaml').read_text())['rosbag2_bagfile_information']


def set_information(folder: Path, info: dict) -> None:
    (folder / 'metadata.yaml').write_text(yaml.safe_dump({'rosbag2_bagfile_information': info}, sort_keys=False))


def aged(folder: Path, version: int) -> Path:
    """Make a sqlite bag one of an older version: metadata keys, tables and columns that came later are taken out."""
    info = information(folder) | {'version': version}
    for topic in info['topics_with_message_count']:
        topic['topic_metadata'].pop('type_description_hash')
        topic['topic_metadata']['offered_qos_profiles'] = ''
        if version < 4:
            del topic['topic_metadata']['offered_qos_profiles']
    later = {'ros_distro': 8, 'custom_data': 6, 'files': 5, 'compression_format': 3, 'compression_mode': 3}
    set_information(folder, {key: value for key, value in info.items() if later.get(key, 0) <= version})
    with sqlite3.connect(next(folder.glob('*.db3'))) as database:
        for table in OLD_TABLES:
            database.execute(f'DROP TABLE IF EXISTS {table}')
        database.execute('ALTER TABLE topics DROP COLUMN type_description_hash')
        database.execute("UPDATE topics SET offered_qos_profiles = ''")
        if version < 4:
            database.execute('ALTER TABLE topics DROP COLUMN offered_qos_profiles')
    database.close()
    return folder


@pytest.mark.parametrize('version', range(1, 8))
def test_older_metadata_versions_are_read(tmp_path, bag, version):
    assert_same(aged(base_bag(tmp_path / 'bag', COUNT, StoragePlugin.SQLITE3), version), bag)


# ---- compression, chunks, files

def copied(bag: Path, folder: Path, storage: StoragePlugin) -> Path:
    with Reader(bag) as reader, Writer(folder, version=9, storage_plugin=storage) as writer:
        known = {c.topic: writer.add_connection(c.topic, c.msgtype, typestore=STORE) for c in reader.connections}
        for connection, time_ns, raw in reader.messages():
            writer.write(known[connection.topic], time_ns, raw)
    return folder


@pytest.mark.parametrize('storage', [StoragePlugin.SQLITE3, StoragePlugin.MCAP], ids=['db3', 'mcap'])
@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE], ids=['file', 'message'])
def test_compressed_bags_are_read(tmp_path, bag, storage, mode):
    writer = Writer(tmp_path / 'packed', version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with Reader(bag) as reader, writer:
        known = {c.topic: writer.add_connection(c.topic, c.msgtype, typestore=STORE) for c in reader.connections}
        for connection, time_ns, raw in reader.messages():
            writer.write(known[connection.topic], time_ns, raw)
    assert_same(tmp_path / 'packed', bag)


def mcap_of(bag: Path, path: Path, order=list, change=lambda number, raw: raw, **options) -> Path:
    """The same messages in one .mcap file by the library of MCAP's makers."""
    with Reader(bag) as reader, path.open('wb') as stream:
        writer = McapWriter(stream, **options)
        writer.start(profile='ros2')
        known = {c.topic: writer.register_channel(c.topic, 'cdr', writer.register_schema(
            c.msgtype, 'ros2msg', c.msgdef.data.encode()), {}) for c in reader.connections}
        found = [(known[c.topic], t, bytes(raw)) for c, t, raw in reader.messages()]
        for number, (channel, time_ns, raw) in enumerate(order(found)):
            writer.add_message(channel, time_ns, change(number, raw), time_ns)
        writer.finish()
    return path


@pytest.mark.parametrize('options', [
    {'compression': CompressionType.LZ4}, {'compression': CompressionType.NONE}, {'use_chunking': False},
    {'chunk_size': 2000}, {'index_types': IndexType.NONE},
    {'index_types': IndexType.NONE, 'use_statistics': False, 'use_summary_offsets': False, 'repeat_schemas': False,
     'repeat_channels': False},
    {'order': lambda messages: messages[20:] + messages[:20], 'chunk_size': 2000}],
    ids=['lz4', 'uncompressed', 'no chunks', 'many chunks', 'no index', 'no summary', 'not in the order of time'])
def test_mcap_files_of_other_writers_are_read(tmp_path, bag, options):
    assert_same(mcap_of(bag, tmp_path / 'one.mcap', **options), bag)


@pytest.mark.parametrize('storage', [StoragePlugin.SQLITE3, StoragePlugin.MCAP], ids=['db3', 'mcap'])
def test_a_bag_of_two_files_is_one_bag(tmp_path, bag, storage):
    whole = copied(bag, tmp_path / 'whole', storage)
    with Reader(whole) as reader:
        half_ns = (reader.start_time + reader.end_time) // 2
    parts = []
    for number, inside in enumerate((lambda t: t < half_ns, lambda t: t >= half_ns)):
        with Reader(whole) as reader, Writer(tmp_path / f'p{number}', version=9, storage_plugin=storage) as writer:
            known = {c.topic: writer.add_connection(c.topic, c.msgtype, typestore=STORE) for c in reader.connections}
            for connection, time_ns, raw in reader.messages():
                if inside(time_ns):
                    writer.write(known[connection.topic], time_ns, raw)
        parts.append(tmp_path / f'p{number}')
    first, second = map(information, parts)
    for there, more in zip(first['topics_with_message_count'], second['topics_with_message_count'], strict=True):
        there['message_count'] += more['message_count']
    split = tmp_path / 'split'
    split.mkdir()
    for part, info in zip(parts, (first, second)):
        shutil.copy(part / info['relative_file_paths'][0], split)
    begin_ns = first['starting_time']['nanoseconds_since_epoch']
    end_ns = second['starting_time']['nanoseconds_since_epoch'] + second['duration']['nanoseconds']
    set_information(split, first | {
        'relative_file_paths': first['relative_file_paths'] + second['relative_file_paths'],
        'message_count': first['message_count'] + second['message_count'],
        'duration': {'nanoseconds': end_ns - begin_ns}, 'files': first['files'] + second['files']})
    assert_same(split, bag)
    assert bag_info(split).messages == bag_info(bag).messages


# ---- names and descriptions

def test_topics_that_were_recorded_without_a_slash_are_found(tmp_path):
    topics = {'scan': every(0.1, COUNT, lambda i, t: scan(t, [1.0 + 0.1 * i] * 8)),
              'cmd_vel': every(0.1, COUNT, lambda i, t: twist(0.1 * (i % 4)))}
    bag = write_bag(tmp_path / 'bag', topics)
    contract = RobotContract.parse(draft(survey_bag(bag)))
    assert [contract.observations[0].topic, contract.actions[0].topic] == ['scan', 'cmd_vel']
    assert check_bag(contract, bag).usable
    episode, = read_episodes(bag, contract)
    assert len(episode) == COUNT and np.allclose(episode.percepts['scan'][3, 0], 1.3)


def test_other_qos_in_metadata_than_in_the_file_hides_no_message(tmp_path, bag):
    """As `ros2 bag convert` and hand-written metadata leave it."""
    folder = base_bag(tmp_path / 'bag', COUNT, StoragePlugin.SQLITE3)
    with sqlite3.connect(next(folder.glob('*.db3'))) as database:
        database.execute("UPDATE topics SET offered_qos_profiles = ''")
    database.close()
    assert_same(folder, bag)


def test_a_renamed_storage_file_is_named_with_the_repair_that_helps(tmp_path, bag):
    folder = base_bag(tmp_path / 'bag', COUNT)
    next(folder.glob('*.mcap')).rename(folder / 'other.mcap')
    with pytest.raises(BagError, match=r'metadata.yaml names bag\.mcap.*jepa-ros bag repair'):
        bag_info(folder)
    assert repaired(folder).messages == 3 * COUNT
    assert_same(folder, bag)


def test_ros_1_bags_are_refused_with_the_way_to_convert_them(tmp_path):
    old = tmp_path / 'drive.bag'
    old.write_bytes(b'#ROSBAG V2.0\n' + bytes(100))
    for path in (old, tmp_path):
        with pytest.raises(BagError, match=r'ROS 1 bags?; convert it first: rosbags-convert --src'):
            bag_info(path)
