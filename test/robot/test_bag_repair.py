"""Recordings that were cut off: by a kill, or by a full disk."""
import os
from pathlib import Path
import resource
import shutil
import sqlite3

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import Writer as McapWriter
import numpy as np
import pytest
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from jepa_ros.errors import BagError
from jepa_ros.robot.bag_repair import repair, repaired
from jepa_ros.robot.bag_types import typestore
from jepa_ros.robot.bags import read_episodes

from .conftest import Tape

TWIST = 'geometry_msgs/msg/Twist'
BYTES_PER_MESSAGE = 12_288 / 3  # a row is three messages and one image of noise, which does not compress


@pytest.fixture(scope='module')
def long_bag(tmp_path_factory, contract):
    """A whole bag of 200 rows, several chunks."""
    path = tmp_path_factory.mktemp('long') / 'bag'
    tape = Tape(path, contract)
    tape.episode('a', 200)
    tape.writer.close()
    return path


def cut(bag, tmp_path, length: int):
    """Copy of a bag whose data end after `length` bytes, with the metadata of the moment it was begun."""
    copy = tmp_path / 'bag'
    copy.mkdir(exist_ok=True)
    for old in copy.iterdir():
        old.unlink()
    (copy / 'bag.mcap').write_bytes((bag / 'bag.mcap').read_bytes()[:length])
    return copy


def test_a_whole_bag_is_left_as_it_is(long_bag):
    before = (long_bag / 'bag.mcap').read_bytes()
    assert repair(long_bag) == 604
    assert (long_bag / 'bag.mcap').read_bytes() == before


def test_a_killed_recording_is_repaired_with_its_contract(tmp_path, contract):
    child = os.fork()
    if child == 0:  # a recorder that ends without a chance to close its bag
        Tape(tmp_path / 'bag', contract).episode('a', 300)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    with pytest.raises(BagError, match='was cut off.*jepa-ros bag repair'):
        read_episodes(tmp_path / 'bag', contract)
    messages = repair(tmp_path / 'bag')
    (episode,) = read_episodes(tmp_path / 'bag', contract)
    assert messages > 500 and len(episode) > 150
    np.testing.assert_array_equal(episode.readouts[:, 0], np.arange(len(episode)))
    with Reader(tmp_path / 'bag') as reader:
        assert reader.message_count == messages and 'jepa_ros.contract' in reader.storage.metadata.custom
    assert not (tmp_path / 'bag' / '.reserve').exists()


@given(st.integers(0, 2_600_000))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_a_file_is_cut_its_whole_messages_are_saved(long_bag, tmp_path, length):
    bag = cut(long_bag, tmp_path, length)
    before = (bag / 'bag.mcap').read_bytes()
    try:
        done = repaired(bag)
    except BagError as error:
        assert length < 200_000 and '\n' not in str(error) and (bag / 'bag.mcap').read_bytes() == before
        return
    messages = done.messages
    for kept in done.kept:
        assert before.endswith((bag / kept).read_bytes()) and (bag / kept).stat().st_size == done.cut_bytes
    with Reader(bag) as reader:
        assert sum(1 for _ in reader.messages()) == reader.message_count == messages
    with (bag / 'bag.mcap').open('rb') as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_summary().statistics.message_count == messages
        assert sum(1 for _ in reader.iter_messages(topics=['/odom'])) <= messages
    whole_blocks = max(length - 200_000, 0)  # at most one block of zstd, 128 KiB, cannot be unpacked
    assert messages * BYTES_PER_MESSAGE >= whole_blocks * 0.95
    assert repaired(bag).was_whole


def foreign(path: Path, plugin: StoragePlugin, messages: int, size: int = 1) -> Path:
    """A bag that `rosbags` wrote, as another recorder would; `size` numbers in each message."""
    kind = 'std_msgs/msg/Float64MultiArray'
    store = typestore()
    layout = store.types['std_msgs/msg/MultiArrayLayout']([], 0)
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connection = writer.add_connection('/numbers', kind, typestore=store)
        for n in range(messages):
            message = store.types[kind](layout, np.full(size, float(n)))
            writer.write(connection, 10**9 + n, store.serialize_cdr(message, kind))
    return path


def numbers(bag: Path) -> list[float]:
    with Reader(bag) as reader:
        return [typestore().deserialize_cdr(raw, c.msgtype).data[-1] for c, _, raw in reader.messages()]


@pytest.mark.parametrize('plugin', list(StoragePlugin))
def test_a_lost_metadata_yaml_is_written_anew(tmp_path, plugin):
    bag = foreign(tmp_path / 'bag', plugin, 50)
    with Reader(bag) as reader:
        before = [(c.topic, c.msgtype, c.msgcount, c.ext) for c in reader.connections], reader.duration
    (bag / 'metadata.yaml').unlink()
    done = repaired(bag)
    assert (done.messages, done.files, done.cut_bytes) == (50, (), 0)
    with Reader(bag) as reader:
        assert ([(c.topic, c.msgtype, c.msgcount, c.ext) for c in reader.connections], reader.duration) == before
    assert numbers(bag) == list(range(50))


def test_the_files_of_a_foreign_bag_are_mended_one_by_one(tmp_path):
    bag = foreign(tmp_path / 'bag', StoragePlugin.MCAP, 40, 20_000)
    shutil.move(bag / 'bag.mcap', bag / 'part_0.mcap')
    whole = (bag / 'part_0.mcap').read_bytes()
    (bag / 'part_1.mcap').write_bytes(whole[:len(whole) // 2])
    (bag / 'part_2.mcap').touch()
    done = repaired(bag)
    assert done.files == ('part_1.mcap',) and done.dropped == ('part_2.mcap',)
    assert 40 < done.messages < 80 and len(numbers(bag)) == done.messages


def test_of_a_file_that_was_cut_off_sqlite_rows_are_saved(tmp_path):
    bag = foreign(tmp_path / 'bag', StoragePlugin.SQLITE3, 300, 2000)     # rows that go on over several pages
    file = bag / 'bag.db3'
    whole = file.read_bytes()
    file.write_bytes(whole[:len(whole) * 2 // 3])
    with pytest.raises(BagError, match='jepa-ros bag repair'):
        read_episodes(bag, None)
    done = repaired(bag)
    assert 190 <= done.messages <= 200 and numbers(bag) == list(range(done.messages))
    assert (bag / 'bag.db3.damaged').read_bytes() == whole[:len(whole) * 2 // 3]    # nothing is thrown away


@given(st.integers(0, 200_000))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_a_db3_is_cut_it_is_repaired_or_refused_in_one_line(tmp_path, length):
    bag = tmp_path / 'bag'
    shutil.rmtree(bag, ignore_errors=True)
    file = foreign(bag, StoragePlugin.SQLITE3, 200, 50) / 'bag.db3'
    file.write_bytes(file.read_bytes()[:length])
    try:
        done = repaired(bag)
    except BagError as error:
        assert '\n' not in str(error) and length < 33_000      # where its first whole page of messages ends
        return
    values = numbers(bag)
    assert len(values) == done.messages and set(values) <= set(range(200))


def test_a_file_without_chunks_is_copied_into_one_with_chunks(tmp_path):
    bag = tmp_path / 'bag'
    bag.mkdir()
    store, file = typestore(), bag / 'bag.mcap'
    with file.open('wb') as stream:
        writer = McapWriter(stream, use_chunking=False)
        writer.start('ros2')
        schema = writer.register_schema(TWIST, 'ros2msg', store.generate_msgdef(TWIST, ros_version=2)[0].encode())
        channel = writer.register_channel('/cmd_vel', 'cdr', schema)
        vector = store.types['geometry_msgs/msg/Vector3'](1.0, 2.0, 3.0)
        raw = bytes(store.serialize_cdr(store.types[TWIST](vector, vector), TWIST))
        for n in range(100):
            writer.add_message(channel, 10**9 + n, raw, 10**9 + n)
        writer.finish()
    whole = file.read_bytes()
    file.write_bytes(whole[:len(whole) // 2])
    done = repaired(bag)
    with Reader(bag) as reader:
        assert 30 < done.messages == reader.message_count == sum(1 for _ in reader.messages()) < 60
    assert (bag / 'bag.mcap.damaged').stat().st_size == len(whole) // 2


def test_files_of_two_bags_are_not_mixed(tmp_path):
    bag = foreign(tmp_path / 'bag', StoragePlugin.MCAP, 5)
    shutil.copy(foreign(tmp_path / 'other', StoragePlugin.SQLITE3, 5) / 'other.db3', bag)
    (bag / 'metadata.yaml').unlink()
    with pytest.raises(BagError, match='holds .mcap and .db3 files'):
        repair(bag)


def test_a_database_that_is_no_bag_is_refused(tmp_path):
    database = sqlite3.connect(tmp_path / 'x.db3')
    database.execute('CREATE TABLE cats (name TEXT)')
    database.commit()
    database.close()
    with pytest.raises(BagError, match='no table topics'):
        repair(tmp_path / 'x.db3')


def test_what_is_no_recording_is_refused(tmp_path):
    with pytest.raises(BagError, match='no such bag folder'):
        repair(tmp_path / 'no')
    with pytest.raises(BagError, match='no .mcap or .db3 file'):
        repair(tmp_path)
    (tmp_path / 'x.mcap').write_text('hello')
    with pytest.raises(BagError, match='not an MCAP file'):
        repair(tmp_path)


def test_a_full_disk_ends_with_one_line_and_a_readable_bag(tmp_path, contract):
    tape = Tape(tmp_path / 'bag', contract)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))  # Python ignores SIGXFSZ: writes fail with EFBIG
    try:
        with pytest.raises(BagError) as caught:
            tape.episode('a', 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    line = str(caught.value)
    assert 'File too large' in line and 'are kept and readable' in line and '\n' not in line
    (episode,) = read_episodes(tmp_path / 'bag', contract)
    assert len(episode) > 50


def test_a_disk_that_is_full_from_the_start_is_said_at_once(tmp_path, contract):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(BagError, match=r'cannot be written here \(File too large\)'):
            Tape(tmp_path / 'bag', contract)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / 'bag').exists()      # the same command can be given again
