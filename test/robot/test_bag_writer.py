"""Bags as this project writes them: split, self-describing, readable by others, with the operating system at once."""
import os

from geometry_msgs.msg import Twist
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
import pytest
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import Reader
import yaml

from jepa_ros.errors import BagError
from jepa_ros.robot.bag_metadata import Provenance
from jepa_ros.robot.bag_repair import repair
from jepa_ros.robot.bag_types import offered_qos
from jepa_ros.robot.bag_writer import BagWriter, free_bytes

from .conftest import picture

STEP_NS = 100_000_000


def fill(writer: BagWriter, rows: int, first: int = 0) -> None:
    for n in range(first, first + rows):
        ns = 10**9 + n * STEP_NS
        twist = Twist()
        twist.linear.x = float(n)
        writer.write('/cmd_vel', ns, serialize_message(twist))
        writer.write('/camera/image_raw', ns + 1, serialize_message(picture(n, ns)))


def begin(path, contract, **settings) -> BagWriter:
    writer = BagWriter(path, Provenance(contract, 'sim', {'seed': 3}, 'abc', 'def'), **settings)
    writer.add_topic('/cmd_vel', 'geometry_msgs/msg/Twist', offered_qos(True, 5))
    writer.add_topic('/camera/image_raw', 'sensor_msgs/msg/Image', offered_qos(False, 1))
    writer.add_topic('/episode', 'jepa_ros/msg/EpisodeEvent', offered_qos(True, 10, True))
    return writer


@pytest.mark.parametrize(('settings', 'files'), [
    ({}, ['bag.mcap']), ({'split_ns': 10 * STEP_NS}, [f'bag_{n}.mcap' for n in range(4)]),
    ({'split_bytes': 1_100_000}, ['bag_0.mcap'])])
def test_a_bag_of_one_or_several_files_opens_with_rosbags_mcap_and_mcap_ros2_support(
        tmp_path, contract, settings, files):
    with begin(tmp_path / 'bag', contract, **settings) as writer:
        fill(writer, 40)
    assert sorted(p.name for p in (tmp_path / 'bag').iterdir()) == [*files, 'metadata.yaml']
    with Reader(tmp_path / 'bag') as reader:
        assert {c.topic: c.msgcount for c in reader.connections} == {
            '/cmd_vel': 40, '/camera/image_raw': 40, '/episode': 0}
        times = [ns for _, ns, _ in reader.messages()]
    assert times == sorted(times) and len(times) == 80
    speeds = []
    for file in files:
        with (tmp_path / 'bag' / file).open('rb') as stream:
            decoded = make_reader(stream, decoder_factories=[DecoderFactory()], validate_crcs=True)
            speeds += [m.linear.x for _, c, _, m in decoded.iter_decoded_messages(topics=['/cmd_vel'])]
    assert speeds == [float(n) for n in range(40)]


def test_files_end_at_the_size_asked_for(tmp_path, contract):
    with begin(tmp_path / 'bag', contract, split_bytes=1_000_000) as writer:
        fill(writer, 250)   # 3 MB of noise, which does not compress
    sizes = [p.stat().st_size for p in sorted((tmp_path / 'bag').glob('*.mcap'))]
    assert len(sizes) == 3 and all(1_000_000 <= size < 2_200_000 for size in sizes[:-1])


def test_metadata_yaml_has_all_that_rosbag2_reads(tmp_path, contract):
    """The keys are those of rosbag2_storage's yaml.hpp for version 9; `ros2 bag info` shows nothing else."""
    with begin(tmp_path / 'bag', contract, split_ns=20 * STEP_NS) as writer:
        fill(writer, 40)
    (root, info), = yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text()).items()
    assert root == 'rosbag2_bagfile_information'
    assert (info['version'], info['storage_identifier']) == (9, 'mcap')
    assert info['relative_file_paths'] == ['bag_0.mcap', 'bag_1.mcap'] == [file['path'] for file in info['files']]
    assert [file['message_count'] for file in info['files']] == [40, 40] and info['message_count'] == 80
    assert info['starting_time'] == {'nanoseconds_since_epoch': 10**9}
    assert info['duration'] == {'nanoseconds': 39 * STEP_NS + 1}
    assert {'compression_format', 'compression_mode', 'ros_distro'} < set(info)
    topic = info['topics_with_message_count'][0]
    assert topic['message_count'] == 40
    assert topic['topic_metadata']['type_description_hash'].startswith('RIHS01_')
    assert topic['topic_metadata']['offered_qos_profiles'][0]['reliability'] == 'reliable'
    assert info['custom_data']['jepa_ros.contract_sha256'] == contract.sha256()
    assert info['custom_data']['jepa_ros.model_sha256'] == 'abc'
    assert info['custom_data']['jepa_ros.term_set_sha256'] == 'def'


def test_each_file_says_what_its_bag_is(tmp_path, contract):
    with begin(tmp_path / 'bag', contract, split_ns=20 * STEP_NS) as writer:
        fill(writer, 40)
    for file in (tmp_path / 'bag').glob('*.mcap'):
        with file.open('rb') as stream:
            said = next(m.metadata for m in make_reader(stream).iter_metadata() if m.name == 'jepa_ros')
        assert said['jepa_ros.contract'] == contract.to_yaml() and said['jepa_ros.clock'] == 'sim'


def test_all_that_was_flushed_survives_a_writer_that_is_never_closed(tmp_path, contract):
    writer = begin(tmp_path / 'bag', contract, split_ns=20 * STEP_NS)
    fill(writer, 50)
    writer.flush()
    fill(writer, 5, first=50)
    with pytest.raises(BagError, match='is being recorded'):
        repair(tmp_path / 'bag')
    writer._file._stream.raw.close()    # as a kill: what is in the process's own memory is gone
    assert repair(tmp_path / 'bag') == 100
    with Reader(tmp_path / 'bag') as reader:
        assert len(reader.storage.files) == 3 and sum(1 for _ in reader.messages()) == 100


def test_without_room_on_the_disk_it_does_not_begin(tmp_path, contract):
    with pytest.raises(BagError, match='MB are free there, .* MB are wanted before a recording.*--min-free-mb'):
        begin(tmp_path / 'bag', contract, min_free_bytes=1 << 60)
    assert not (tmp_path / 'bag').exists()


def test_room_that_gets_short_is_said(tmp_path, contract):
    spare = 100_000_000
    writer = begin(tmp_path / 'bag', contract, min_free_bytes=free_bytes(tmp_path) - spare)
    assert writer.short_of_room == ''
    with (tmp_path / 'film').open('wb') as other:   # another program fills the disk
        os.posix_fallocate(other.fileno(), 0, 3 * spare)
    assert 'recording ended, less than' in writer.short_of_room and 'kept and readable' in writer.short_of_room
    (tmp_path / 'film').unlink()
    writer.close()


def test_an_existing_bag_is_not_written_over(tmp_path, contract):
    begin(tmp_path / 'bag', contract).close()
    with pytest.raises(BagError, match='exists already'):
        begin(tmp_path / 'bag', contract)
