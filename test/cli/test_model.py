"""`jepa-ros model`: what it writes, and one line for bad input."""
import json

import lewm_state as reference
import pytest
import tiny
import torch

from jepa_ros.agent import Agent
from jepa_ros.cli.main import main
from jepa_ros.training import data_cache

HEADS = ['--encoder-heads', str(reference.HEADS), '--predictor-heads', str(reference.PREDICTOR_HEADS)]
UNITS = ['--action-mean', '0', '--action-std', '0.5,1']


@pytest.fixture
def file(tmp_path):
    torch.save(reference.state(), tmp_path / 'weights.pt')
    return tmp_path / 'weights.pt'


@pytest.fixture
def robot(tmp_path):
    path = tmp_path / 'robot.yaml'
    path.write_text(tiny.CONTRACT)
    return path


def test_import_writes_a_checkpoint_and_info_describes_it(file, robot, tmp_path, capfd):
    output = tmp_path / 'models' / 'lewm'
    assert main(['model', 'import', str(file), '--robot', str(robot), '-o', str(output), *UNITS, *HEADS]) == 0
    said = capfd.readouterr()
    assert 'looks back on 3 states' in said.out and 'is a guess' in said.err
    assert 'control_period_s (0.1) must be 2 of its time steps' in said.err
    assert Agent.load(output).card.name == 'lewm'
    assert main(['model', 'info', str(output)]) == 0
    out = capfd.readouterr().out
    assert 'predictor lewm' in out and 'from: weights.pt' in out and 'sensor overhead: (16, 16, 3)' in out


def test_info_describes_a_lewm_that_is_not_imported(file, capfd):
    file.with_name('config.json').write_text(json.dumps({'encoder': {'num_attention_heads': 3},
                                                         'predictor': {'heads': 2}}))
    assert main(['model', 'info', str(file)]) == 0
    assert 'ViT, 12 pixels in patches of 4, width 24, depth 2, 3 heads' in capfd.readouterr().out


def test_import_calibrates_on_data_of_the_robot(file, robot, tmp_path, capfd):
    data_cache.save(tiny.episodes([20, 20]), tmp_path / 'drive.npz')
    assert main(['model', 'import', str(file), '--robot', str(robot), '-o', str(tmp_path / 'm'), *UNITS, *HEADS,
                 '--data', str(tmp_path / 'drive.npz'), '--goal-radius', '0.2']) == 0
    assert 'is a guess' not in capfd.readouterr().err
    agent = Agent.load(tmp_path / 'm')
    assert agent.card.goal_tolerance != 0.02 and float(agent.networks.world_model.levels[0].typical_error) != 1


@pytest.mark.parametrize('options, line', [
    ([], 'does not hold the mean and standard deviation of its training actions'),
    (['--action-mean', '0'], 'does not hold the mean and standard deviation'),
    ([*UNITS, '--actions', 'a.npy'], 'give --action-mean and --action-std, or --actions FILE'),
    (['--action-mean', '0', '--action-std', 'much'], "--action-std 'much': give numbers"),
])
def test_import_asks_for_the_units_of_the_actions(file, robot, tmp_path, capfd, options, line):
    assert main(['model', 'import', str(file), '--robot', str(robot), '-o', str(tmp_path / 'm'), *HEADS, *options]) == 2
    err = capfd.readouterr().err
    assert line in err and err.count('\n') == 1


@pytest.mark.parametrize('wrong, line', [
    ({'file': 'gone.pt'}, 'gone.pt: no such file'),
    ({'file': 'note.pt'}, 'note.pt: not a file of torch.save'),
    ({'--robot': 'gone.yaml'}, 'gone.yaml does not exist'),
    ({'--data': 'gone'}, 'gone: there is no such bag'),
    ({'--actions': 'gone.npy'}, 'gone.npy: no actions can be read'),
    ({}, 'file/m: a checkpoint cannot be written here'),
])
def test_import_complains_of_what_it_reads_before_options_and_output(file, robot, tmp_path, capfd, wrong, line):
    """Each of them is wrong here, besides an output that cannot be; with a wrong checkpoint also the options."""
    for name in ('file', 'note.pt'):
        (tmp_path / name).write_text('no folder, no weights')
    given = {'file': file, '--robot': robot} | {key: tmp_path / value for key, value in wrong.items()}
    units = ['--action-std', 'much'] if 'file' in wrong else [] if '--actions' in wrong else UNITS
    options = [str(word) for key, value in given.items() if key != 'file' for word in (key, value)]
    assert main(['model', 'import', str(given['file']), '-o', str(tmp_path / 'file' / 'm'), *options, *units,
                 *HEADS]) == 2
    err = capfd.readouterr().err
    assert line in err and err.count('\n') == 1


def test_a_refused_import_leaves_no_folder_behind(file, robot, tmp_path):
    before = sorted(tmp_path.iterdir())
    assert main(['model', 'import', str(file), '--robot', str(robot), '-o', str(tmp_path / 'new' / 'm'), *HEADS,
                 '--action-mean', '0,0,0', '--action-std', '1']) == 2
    assert sorted(tmp_path.iterdir()) == before


def test_export_of_what_is_no_model_ends_in_one_line(tmp_path, capfd):
    assert main(['model', 'export', 'two_roms', '-o', str(tmp_path / 'x')]) == 2
    err = capfd.readouterr().err
    assert 'did you mean two_rooms?' in err and err.count('\n') == 1
