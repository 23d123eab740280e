"""What is said of bags that cannot be opened: the remedy that works; and foreign bags that are a little odd."""
from mcap.writer import Writer as McapWriter
import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
import yaml
import zstandard

from jepa_ros.cli.main import main
from jepa_ros.errors import BagError
from jepa_ros.robot.bag_open import open_bag
from jepa_ros.robot.bag_repair import repaired
from jepa_ros.robot.bag_types import typestore

KIND = 'std_msgs/msg/Float64MultiArray'
LONG = '/a_namespace_of_a_robot/gripper_controller/controller_state_of_all_its_joints_and_more'


@pytest.fixture(params=list(StoragePlugin))
def bag(tmp_path, request):
    store = typestore()
    layout = store.types['std_msgs/msg/MultiArrayLayout']([], 0)
    with Writer(tmp_path / 'bag', version=9, storage_plugin=request.param) as writer:
        connection = writer.add_connection(LONG, KIND, typestore=store)
        for n in range(9):
            raw = store.serialize_cdr(store.types[KIND](layout, np.full(9, float(n))), KIND)
            writer.write(connection, 10**9 + n * 10**8, raw)
    return tmp_path / 'bag'


def opening(path) -> str:
    with pytest.raises(BagError) as caught, open_bag(path):
        pass
    line = str(caught.value)
    assert '\n' not in line and len(line) < 400
    return line


@pytest.mark.parametrize('content', [b'', b'\xff\xfe\x00garbage: [', b'- 1\n- 2\n', None])
def test_broken_metadata_is_refused_with_the_repair_that_works(bag, content):
    file = bag / 'metadata.yaml'
    file.write_bytes(file.read_bytes()[:200] if content is None else content)
    assert f'jepa-ros bag repair {bag}' in opening(bag)
    assert repaired(bag).messages == 9
    with open_bag(bag) as opened:
        assert opened.count([LONG]) == 9


def test_renamed_files_are_named_shortly_with_the_repair(bag):
    (data,) = (f for f in bag.iterdir() if f.suffix != '.yaml')
    content = yaml.safe_load((bag / 'metadata.yaml').read_text())
    content['rosbag2_bagfile_information']['relative_file_paths'] = [f'old_{n}{data.suffix}' for n in range(12)]
    (bag / 'metadata.yaml').write_text(yaml.safe_dump(content))
    line = opening(bag)
    assert f'names old_0{data.suffix} and 11 more, not to be found' in line and 'jepa-ros bag repair' in line
    assert repaired(bag).messages == 9
    data.unlink()
    assert 'put it into the folder' in opening(bag) and 'repair' not in opening(bag)


def test_a_topic_is_read_though_metadata_and_file_differ_about_its_qos(bag):
    content = yaml.safe_load((bag / 'metadata.yaml').read_text())
    (topic,) = content['rosbag2_bagfile_information']['topics_with_message_count']
    forever = {'sec': 9, 'nsec': 0}
    topic['topic_metadata']['offered_qos_profiles'] = [{
        'history': 'keep_last', 'depth': 7, 'reliability': 'reliable', 'durability': 'volatile', 'deadline': forever,
        'lifespan': forever, 'liveliness': 'automatic', 'liveliness_lease_duration': forever,
        'avoid_ros_namespace_conventions': False}]
    (bag / 'metadata.yaml').write_text(yaml.safe_dump(content))
    with open_bag(bag) as opened:
        assert len(list(opened.messages([LONG]))) == 9
        assert opened.connections[0].ext.offered_qos_profiles[0].depth == 7
    assert repaired(bag).was_whole


def test_a_topic_is_read_though_its_type_is_named_in_short(bag):
    file = bag / 'metadata.yaml'
    file.write_text(file.read_text().replace('std_msgs/msg/', 'std_msgs/'))
    with open_bag(bag) as opened:
        assert len(list(opened.messages([LONG]))) == 9 and opened.type_of(LONG) == KIND


def test_files_compressed_as_a_whole_are_named_with_what_unpacks_them(bag):
    (data,) = (f for f in bag.iterdir() if f.suffix != '.yaml')
    packed = data.with_name(f'{data.name}.zstd')
    packed.write_bytes(zstandard.compress(data.read_bytes())[:-30])
    data.unlink()
    command = f'unpack it first: zstd -dc {packed} > {data}'
    assert command in opening(packed)
    (bag / 'metadata.yaml').unlink()
    assert command in opening(bag) and f'then jepa-ros bag repair {bag}' in opening(bag)
    with pytest.raises(BagError, match='compressed as a whole: unpack it first: zstd -dc'):
        repaired(bag)


def test_messages_of_another_serialisation_are_refused_and_left(bag):
    file = bag / 'metadata.yaml'
    text = file.read_text().replace('cdr', 'xml')
    file.write_text(text)
    assert "'xml'" in opening(bag) and 'bag repair' not in opening(bag)
    with pytest.raises(BagError, match="'xml'"):
        repaired(bag)
    assert file.read_text() == text


def test_a_foreign_metadata_stays_beside_the_new_one(bag):
    file = bag / 'metadata.yaml'
    text = file.read_text().replace('version: 9', 'version: 99')
    file.write_text(text)
    assert repaired(bag).messages == 9
    assert (bag / 'metadata.yaml.damaged').read_text() == text


def test_info_shows_whole_names_to_programs(bag, capsys):
    assert main(['bag', 'info', str(bag)]) == 0
    assert LONG in capsys.readouterr().out


def test_ros_1_bags_are_named_with_the_conversion(tmp_path, capsys):
    folder = tmp_path / 'old'
    folder.mkdir()
    file = folder / 'drive.bag'
    with Ros1Writer(file):
        pass
    remedy = f'is a ROS 1 bag; convert it first: rosbags-convert --src {file} --dst {folder / "drive"}'
    assert remedy in opening(file) and remedy in opening(folder)
    for command in (['bag', 'repair', str(file)], ['bag', 'repair', str(folder)], ['replay', str(file)],
                    ['dataset', 'build', str(folder), '--robot', 'two_rooms', '--output', str(tmp_path / 'x')]):
        assert main(command) == 2
        assert 'is a ROS 1 bag' in capsys.readouterr().err
    (folder / 'second.bag').write_bytes(file.read_bytes())
    assert 'holds 2 ROS 1 bags; convert' in opening(folder)


def test_ros_1_bags_are_refused_with_the_way_to_convert_them(tmp_path):
    old = tmp_path / 'drive.bag'
    old.write_bytes(b'#ROSBAG V2.0\n' + bytes(100))
    for path in (old, tmp_path):
        with pytest.raises(BagError, match=r'ROS 1 bags?; convert it first: rosbags-convert --src'), open_bag(path):
            pass


def test_ros_1_messages_in_an_mcap_file_are_named(tmp_path):
    path = tmp_path / 'drive.mcap'
    with path.open('wb') as stream:
        writer = McapWriter(stream)
        writer.start(profile='ros1')
        writer.finish()
    with pytest.raises(BagError, match='is a ROS 1 recording: convert it to ROS 2 first'), open_bag(path):
        pass
