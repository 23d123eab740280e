"""`jepa-ros bag`: what a user sees."""
import json

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from jepa_ros.cli.main import main
from jepa_ros.robot.bag_types import typestore

KIND = 'std_msgs/msg/String'


@pytest.fixture
def bag(tmp_path):
    store = typestore()
    with Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/talk', KIND, typestore=store)
        for n in range(11):
            writer.write(connection, 10**18 + n * 10**8, store.serialize_cdr(store.types[KIND]('x' * 99), KIND))
    return tmp_path / 'bag'


def test_info_shows_topics_rates_and_span(bag, capsys):
    assert main(['bag', 'info', str(bag)]) == 0
    shown = capsys.readouterr().out
    assert '1.0 s from 2001-09-09' in shown and '/talk' in shown and '10.00' in shown and 'none inside' in shown


def test_info_as_json_can_be_read_by_programs(bag, capsys):
    assert main(['bag', 'info', str(bag), '--json']) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown['messages'] == 11 and shown['topics'][0]['name'] == '/talk'


def test_repair_says_what_it_did_to_each_bag(bag, tmp_path, capsys):
    assert main(['bag', 'repair', str(bag)]) == 0
    assert 'whole already, 11 messages' in capsys.readouterr().out
    (bag / 'metadata.yaml').unlink()
    assert main(['bag', 'repair', str(bag), str(tmp_path / 'no')]) == 2
    said = capsys.readouterr()
    assert 'readable, 11 messages; metadata.yaml written anew' in said.out
    assert said.err.splitlines()[-1] == f'jepa-ros: {tmp_path / "no"}: there is no such bag folder'
    file = bag / 'bag.mcap'
    file.write_bytes(file.read_bytes()[:-20])
    assert main(['bag', 'repair', str(bag)]) == 0
    assert 'repaired bag.mcap' in capsys.readouterr().out


def test_what_cannot_be_opened_is_one_line_with_the_repair(bag, capsys):
    (bag / 'bag.mcap').write_bytes((bag / 'bag.mcap').read_bytes()[:-20])
    assert main(['bag', 'info', str(bag)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f'jepa-ros bag repair {bag}' in line


def test_help_has_an_example(capsys):
    for command in ('info', 'repair'):
        assert main(['bag', command, '--help']) == 0
        assert 'Example: jepa-ros bag' in capsys.readouterr().out
