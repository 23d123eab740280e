"""Recordings that were cut off: by a kill, or by a full disk."""
import os
import resource

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from jepa_ros.errors import BagError
from jepa_ros.robot.bag_repair import repair
from jepa_ros.robot.bags import read_episodes

from .conftest import Tape

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
    with pytest.raises(BagError, match='was cut off.*--repair'):
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
def test_wherever_a_file_is_cut_its_whole_chunks_are_saved(long_bag, tmp_path, length):
    bag = cut(long_bag, tmp_path, length)
    try:
        messages = repair(bag)
    except BagError as error:
        assert length < 60 and '\n' not in str(error)
        return
    with Reader(bag) as reader:
        assert sum(1 for _ in reader.messages()) == reader.message_count == messages
    with (bag / 'bag.mcap').open('rb') as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_summary().statistics.message_count == messages
        assert sum(1 for _ in reader.iter_messages(topics=['/odom'])) <= messages
    whole_chunks = max(length - 1_100_000, 0)  # at most one chunk, of a little more than 1 MiB, is given up
    assert messages * BYTES_PER_MESSAGE >= whole_chunks * 0.95


def test_what_is_no_recording_is_refused(tmp_path):
    with pytest.raises(BagError, match='no such bag folder'):
        repair(tmp_path / 'no')
    with pytest.raises(BagError, match='no .mcap file'):
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
