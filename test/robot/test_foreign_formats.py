"""Bags as every version of rosbag2 and other writers leave them: the same messages give the same tensors."""
from pathlib import Path
import shutil
import sqlite3

from made_bags import base_bag, every, message, scan, STORE, twist, WALL_NS, write_bag
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
import numpy as np
import pytest
from rosbags.interfaces import Nodetype
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
import yaml

from jepa_ros.errors import BagError
from jepa_ros.robot.bag_info import bag_info
from jepa_ros.robot.bag_open import open_bag
from jepa_ros.robot.bag_repair import repaired
from jepa_ros.robot.bags import read_episodes
from jepa_ros.robot.check import check_bag
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.draft import draft
from jepa_ros.robot.replay_topics import routes
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


def mcap_of(bag: Path, path: Path, order=list, change=lambda number, raw: raw, extra=None,
            define=lambda connection: connection.msgdef.data, **options) -> Path:
    """The same messages in one .mcap file by the library of MCAP's makers; `extra`: topic, encodings, message."""
    with Reader(bag) as reader, path.open('wb') as stream:
        writer = McapWriter(stream, **options)
        writer.start(profile='ros2')
        known = {c.topic: writer.register_channel(c.topic, 'cdr', writer.register_schema(
            c.msgtype, 'ros2msg', define(c).encode()), {}) for c in reader.connections}
        found = [(known[c.topic], t, bytes(raw)) for c, t, raw in reader.messages()]
        for number, (channel, time_ns, raw) in enumerate(order(found)):
            writer.add_message(channel, time_ns, change(number, raw), time_ns)
        if extra is not None:
            topic, encoding, schema, data = extra
            channel = writer.register_channel(topic, encoding, writer.register_schema('Extra', schema, b'{}'), {})
            writer.add_message(channel, WALL_NS, data, WALL_NS)
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


# ---- messages as other versions of ROS 2 lay them out

HUMBLE, FOXY = get_typestore(Stores.ROS2_HUMBLE), get_typestore(Stores.ROS2_FOXY)


def laid_out(store, kind: str, **fields):
    """A message of a type as `store` has it; fields that are not given are zero or empty."""
    made = dict(fields)
    for name, (node, content) in store.fielddefs[kind][1]:
        if name not in made:
            if node == Nodetype.NAME:
                made[name] = laid_out(store, content)
            else:
                made[name] = [] if node != Nodetype.BASE else '' if content[0] == 'string' else 0
    return store.types[kind](**made)


def with_old_messages(folder: Path, store, kind: str, make, storage: StoragePlugin = StoragePlugin.SQLITE3) -> Path:
    """`base_bag` with ten messages of a type of another ROS 2 version on /old, dated to metadata version 5."""
    whole = base_bag(folder.parent / 'source', COUNT)
    with Reader(whole) as reader, Writer(folder, version=9, storage_plugin=storage) as writer:
        known = {c.topic: writer.add_connection(c.topic, c.msgtype, typestore=STORE) for c in reader.connections}
        old = writer.add_connection('/old', kind, typestore=store)
        for connection, time_ns, raw in reader.messages():
            writer.write(known[connection.topic], time_ns, raw)
        for i in range(COUNT):
            writer.write(old, WALL_NS + i * 10**8, store.serialize_cdr(make(i), kind))
    return aged(folder, 5)


@pytest.mark.parametrize(('store', 'kind'), [
    (HUMBLE, 'sensor_msgs/msg/Range'), (HUMBLE, 'rosbag2_interfaces/msg/WriteSplitEvent'),
    (FOXY, 'visualization_msgs/msg/Marker')], ids=['Range of Humble', 'split of Humble', 'Marker of Foxy'])
def test_messages_that_older_versions_lay_out_otherwise_do_not_refuse_a_bag(tmp_path, bag, store, kind):
    """`ros2 bag record -a` of Humble writes split events, that of Foxy the markers of rviz."""
    old = with_old_messages(tmp_path / 'bag', store, kind, lambda i: laid_out(store, kind))
    contract = RobotContract.parse(draft(survey_bag(old)))
    assert check_bag(contract, old).usable
    assert_same(old, bag)


def test_the_range_of_humble_is_read_as_humble_wrote_it(tmp_path):
    kind = 'sensor_msgs/msg/Range'
    old = with_old_messages(tmp_path / 'bag', HUMBLE, kind, lambda i: laid_out(
        HUMBLE, kind, header=message('std_msgs/msg/Header', stamp__sec=(WALL_NS + i * 10**8) // 10**9,
                                     stamp__nanosec=(WALL_NS + i * 10**8) % 10**9), range=np.float32(1 + 0.5 * i)))
    contract = RobotContract.model_validate({**robot().model_dump(mode='json', exclude_unset=True), 'observations': [
        {'key': 'old', 'topic': 'old', 'type': kind, 'fields': ['range']}]})
    episode, = read_episodes(old, contract)
    np.testing.assert_array_equal(episode.percepts['old'][:3, 0], [1.0, 1.5, 2.0])


def test_messages_of_an_older_layout_are_not_replayed_as_they_are(tmp_path):
    kind = 'sensor_msgs/msg/Range'
    old = with_old_messages(tmp_path / 'bag', HUMBLE, kind, lambda i: laid_out(HUMBLE, kind))
    with open_bag(old) as opened:
        known = {route.topic: route.known for route in routes(opened, None)}
    assert not known.pop('/old') and all(known.values())


def test_a_shortened_definition_in_a_bag_does_not_hide_the_installed_one(tmp_path, bag):
    assert_same(mcap_of(bag, tmp_path / 'one.mcap', define=lambda connection: 'float32 angle_min'), bag)


# ---- what is not to be read does no harm, what is missing is said

def test_messages_in_a_journal_that_was_not_worked_off_are_not_left_out_silently(tmp_path, bag):
    """The recorder was killed, or a bag was copied while it was written: rows stand in <name>.db3-wal."""
    folder = base_bag(tmp_path / 'bag', COUNT, StoragePlugin.SQLITE3)
    file = next(folder.glob('*.db3'))
    database = sqlite3.connect(file, isolation_level=None)
    database.execute('PRAGMA journal_mode = WAL')
    database.execute('PRAGMA wal_autocheckpoint = 0')
    rows = database.execute('SELECT id, topic_id, timestamp, data FROM messages ORDER BY id').fetchall()
    database.execute('DELETE FROM messages WHERE id > 20')
    database.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    database.executemany('INSERT INTO messages (id, topic_id, timestamp, data) VALUES (?, ?, ?, ?)', rows[20:])
    cut = tmp_path / 'cut' / folder.name
    shutil.copytree(folder, cut)
    database.close()
    assert list(cut.glob('*-wal'))
    with pytest.raises(BagError, match=rf'jepa-ros bag repair {cut}'):
        read_episodes(cut, robot())
    assert repaired(cut).messages == 3 * COUNT
    assert_same(cut, bag)


def test_a_channel_that_is_not_ros_does_not_refuse_the_others(tmp_path, bag):
    """Foxglove records its own JSON beside the robot's topics."""
    file = mcap_of(bag, tmp_path / 'one.mcap', extra=('/battery', 'json', 'jsonschema', b'{"volts": 12}'))
    assert_same(file, bag)
    extra = survey_bag(file).topics['/battery']
    assert extra.recorded == 1 and '(json) is neither installed nor defined' in extra.unreadable


def test_messages_that_are_too_short_are_dropped_and_counted(tmp_path, bag):
    file = mcap_of(bag, tmp_path / 'one.mcap', change=lambda number, raw: raw[:30] if number == 21 else raw)
    lines: list[str] = []
    episodes = read_episodes(file, robot(), report=lines.append)
    assert sum(map(len, episodes)) >= COUNT - 2 and any('1 of 20 messages: bad' in line for line in lines), lines
    report = check_bag(robot(), file)
    assert report.usable and any('1 of 20 messages: bad' in finding.text for finding in report.findings)


def test_a_topic_of_which_no_message_can_be_read_is_named_and_does_no_harm_where_it_is_not_used(tmp_path, bag):
    with Reader(bag) as reader:
        poses = {n for n, (c, _, _) in enumerate(reader.messages()) if c.topic == '/odom'}
    file = mcap_of(bag, tmp_path / 'one.mcap', change=lambda number, raw: raw[:30] if number in poses else raw)
    with pytest.raises(BagError, match='/odom: 20 of 20 messages: bad'):
        read_episodes(file, robot())
    assert not check_bag(robot(), file).usable
    contract = RobotContract.parse(draft(survey_bag(file)))
    assert check_bag(contract, file).usable and not contract.readouts
