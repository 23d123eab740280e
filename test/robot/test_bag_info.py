"""What `jepa-ros bag info` finds in a bag."""
import json

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from jepa_ros.errors import BagError
from jepa_ros.msg import EpisodeEvent
from jepa_ros.robot.bag_info import bag_info
from jepa_ros.robot.bag_metadata import AUDIT
from jepa_ros.robot.bag_types import typestore

from .conftest import Tape


def test_topics_episodes_and_what_the_bag_says_about_itself(tmp_path, contract):
    tape = Tape(tmp_path / 'bag', contract)
    tape.episode('a', 20)
    tape.writer.note(AUDIT, {'episode': 'a', 'audit': json.dumps({'problems': ['nothing on odom']})})
    tape.event(EpisodeEvent.START, 'b')
    tape.row()
    tape.writer.close()
    info = bag_info(tmp_path / 'bag')
    assert info.messages == 3 + 21 * 3 - 1 + 3 and info.duration_s == pytest.approx(2.1, abs=0.01)
    images = next(t for t in info.topics if t.name == '/camera/image_raw')
    assert (images.messages, round(images.rate_hz, 2)) == (22, 10.0)
    a, b = info.episodes
    assert (a.name, round(a.duration_s, 3), a.end, a.problems) == ('a', 2.0, 'stop', ('nothing on odom',))
    assert (b.name, round(b.start_s, 3), b.duration_s, b.end, b.problems) == ('b', 2.1, None, '', None)
    assert info.contract == f'two_rooms ({contract.sha256()[:12]})'
    assert info.custom['clock'] == 'lockstep' and 'contract' not in info.custom


def test_a_single_file_says_the_same_as_its_folder(tmp_path, contract):
    tape = Tape(tmp_path / 'bag', contract)
    tape.episode('a', 3)
    tape.writer.close()
    folder, file = bag_info(tmp_path / 'bag'), bag_info(tmp_path / 'bag' / 'bag.mcap')
    assert (file.topics, file.episodes, file.contract, file.duration_s) == (
        folder.topics, folder.episodes, folder.contract, folder.duration_s)


def test_a_bag_of_others_has_no_contract_inside(tmp_path):
    with Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        writer.add_connection('/talk', 'std_msgs/msg/String', typestore=typestore())
    info = bag_info(tmp_path / 'bag')
    assert (info.messages, info.contract, info.episodes, info.duration_s) == (0, '', [], 0.0)


def test_what_is_no_bag_is_one_line(tmp_path):
    with pytest.raises(BagError, match='there is no such bag'):
        bag_info(tmp_path / 'no')
