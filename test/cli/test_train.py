"""`jepa-ros train` on one process and, as torchrun starts it, on two."""
import os
import subprocess
import sys

import pytest
import tiny
import yaml

from jepa_ros import checkpoint
from jepa_ros.cli.main import main
from jepa_ros.training import data as training_data


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Episodes, a contract and a configuration of a few updates."""
    folder = tmp_path_factory.mktemp('train')
    training_data.save(tiny.episodes([40] * 6), folder / 'episodes.npz')
    (folder / 'tiny.yaml').write_text(tiny.CONTRACT)
    stage = {'updates': 20, 'batch': 16, 'window': 6, 'lr': 3e-3, 'warmup': 5}
    config = tiny.training_config(distillation={'problems': 8, 'updates': 10, 'batch': 16}, level0=stage,
                                  upper=stage | {'window': 3})
    (folder / 'config.yaml').write_text(yaml.safe_dump(config.model_dump(mode='json')))
    return folder


def arguments(folder, output: str, *more: str) -> list[str]:
    return ['train', str(folder / 'episodes.npz'), '--robot', str(folder / 'tiny.yaml'),
            '--config', str(folder / 'config.yaml'), '--output', str(folder / output),
            '--work-dir', str(folder / f'work {output}'), '--device', 'cpu', *more]


def test_two_processes_write_one_checkpoint(folder):
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', '-m',
         'jepa_ros.training', *arguments(folder, 'shared', '--precision', '32', '--no-tensorboard')[1:]],
        env=os.environ | {'OMP_NUM_THREADS': '1'}, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'effective_rank' in done.stdout and done.stdout.count('level 0: 20 updates') == 1
    assert 'Warning' not in done.stderr and 'gloo' not in done.stderr.lower()
    card = checkpoint.read_card(folder / 'shared')
    assert '--precision 32' in card.commands[0] and '--device' not in card.commands[0]
    assert sorted(p.name for p in (folder / 'work shared').iterdir()) == ['level_0.csv', 'level_1.csv']


@pytest.mark.parametrize('more, words', [
    (['--strategy', 'dp'], "strategy 'dp' is unknown"),
    (['--precision', 'fp8'], "precision 'fp8' is unknown"),
    (['--config', 'missing'], "unknown agent configuration 'missing'"),
    (['--config', 'OTHER'], 'configuration OTHER: sensors: the contract has no observation '),
    (['--work-dir', 'OTHER'], 'OTHER: cannot be written (File exists): free space or give another --work-dir'),
])
def test_an_option_that_will_not_do_is_refused_in_one_line(folder, capsys, more, words):
    other = folder / 'other.yaml'       # for another robot
    other.write_text((folder / 'config.yaml').read_text().replace('overhead:', 'front:'))
    more, words = [part.replace('OTHER', str(other)) for part in more], words.replace('OTHER', str(other))
    assert main(arguments(folder, 'mine', *more)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f'jepa-ros: {words}') and error.count('\n') == 1
    assert not (folder / 'mine').exists() and not (folder / 'work mine').exists()


def test_a_refused_training_leaves_nothing_behind(folder, capsys):
    bad = tiny.episodes([40] * 6)
    bad.actions[50] = float('nan')
    training_data.save(bad, folder / 'bad.npz')
    before = sorted(folder.iterdir())
    argv = arguments(folder, 'deep/mine')
    argv[1] = str(folder / 'bad.npz')
    assert main([*argv, '--work-dir', str(folder / 'deep' / 'work'), '--no-tensorboard']) == 2
    assert 'not finite' in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_a_refused_training_leaves_folders_that_were_there_and_what_can_be_gone_on_with(folder):
    output, work = folder / 'there', folder / 'work there'
    for each in (output, work):
        each.mkdir()
    assert main(arguments(folder, 'there', '--config', 'missing')) == 2
    assert output.is_dir() and work.is_dir()
    (work / 'level0.safetensors').write_bytes(b'damaged')
    assert main(arguments(folder, 'there')) == 2
    assert output.is_dir() and [p.name for p in work.iterdir()] == ['level0.safetensors']


def test_under_torchrun_devices_is_left_out(folder, capsys, monkeypatch):
    for name, value in {'TORCHELASTIC_RUN_ID': 'x', 'LOCAL_WORLD_SIZE': '2', 'WORLD_SIZE': '4'}.items():
        monkeypatch.setenv(name, value)
    assert main(arguments(folder, 'mine', '--devices', '3')) == 2
    assert 'torchrun has started 2 processes on this machine: leave --devices 3 out' in capsys.readouterr().err


def test_several_devices_start_as_many_processes_with_the_same_arguments(folder, monkeypatch):
    asked = []
    monkeypatch.setattr('jepa_ros.training.launch.launch', lambda *given: asked.append(given) or 0)
    assert main(arguments(folder, 'mine', '--devices', '2', '--compiled', '--made-by', 'a b', '--made-by', 'c')) == 0
    (given, count), = asked
    assert count == 2 and '--devices' not in given and given[-2:] == ['--', str(folder / 'episodes.npz')]
    assert '--compiled' in given and given.count('--made-by') == 2 and 'a b' in given
    assert given[given.index('--output') + 1] == str(folder / 'mine')


def test_tensorboard_is_used_where_it_is_installed(monkeypatch):
    from importlib import util

    from jepa_ros.cli.train import _has_tensorboard
    monkeypatch.setattr(util, 'find_spec', lambda name: None)
    assert not _has_tensorboard(None) and not _has_tensorboard(False)
    monkeypatch.setattr(util, 'find_spec', lambda name: object())
    assert _has_tensorboard(None) and not _has_tensorboard(False)
