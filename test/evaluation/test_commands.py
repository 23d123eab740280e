"""`jepa-ros eval` and `jepa-ros demo`: results, and bad input in one line."""
import json

import pytest

from jepa_ros.cli.main import main


def test_eval_prints_a_table_and_writes_json(tmp_path, capsys):
    assert main(['eval', '--episodes', '1', '--json', str(tmp_path / 'e.json')]) == 0
    out = capsys.readouterr().out
    assert 'goals reached' in out and 'of 1' in out
    data = json.loads((tmp_path / 'e.json').read_text())
    assert (data['episodes'], data['world'], len(data['rows'])) == (1, 'two_rooms', 1)
    assert len(data['model_sha256']) == 64


@pytest.mark.parametrize('args, line', [
    (['eval', 'model=nope'], "model 'nope' not found"),
    (['eval', 'world=two_room'], "unknown world 'two_room'"),
    (['eval', 'levels=5'], '--levels 5: model two_rooms has 2'),
    (['eval', 'horizon=20'], '--horizon goes with --levels 1'),
    (['eval', 'mode=fast'], "mode 'fast' is unknown"),
    (['eval', 'episodes=0'], '--episodes'),
    (['eval', 'json=nowhere/e.json'], 'folder nowhere does not exist'),
    (['demo', 'model=nope'], "model 'nope' not found"),
    (['demo', 'world=two_room'], "unknown world 'two_room'"),
    (['demo', 'composition=maybe'], 'composition'),
    (['demo', 'docs=nowhere'], '--docs nowhere: no such folder')])
def test_bad_input_is_one_line_and_code_2(args, line, capsys):
    assert main(args) == 2
    error = capsys.readouterr().err
    assert line in error and error.count('\n') == 1


def test_demo_leaves_a_bag_that_is_not_its_own(tmp_path, capsys, ros_domain):
    (tmp_path / 'bag').mkdir()
    assert main(['demo', f'output={tmp_path}']) == 2
    assert 'not of a demo' in capsys.readouterr().err
    assert (tmp_path / 'bag').is_dir()


def test_a_domain_that_cannot_be_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', 'kitchen')
    assert main(['demo', f'output={tmp_path}']) == 2
    assert "ROS_DOMAIN_ID is 'kitchen'" in capsys.readouterr().err
