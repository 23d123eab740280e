"""`jepa-ros dataset` as a user calls it."""
import importlib.util
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

from jepa_ros.cli.main import main
from jepa_ros.robot.contract import RobotContract

_spec = importlib.util.spec_from_file_location(
    'dataset_bags', Path(__file__).parents[1] / 'robot' / 'dataset' / 'conftest.py')
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """bags/day, bags/night, scout.yaml and the store of both bags."""
    folder = tmp_path_factory.mktemp('dataset')
    (folder / 'scout.yaml').write_text(made.CONTRACT)
    contract = RobotContract.parse(made.CONTRACT)
    made.record(folder / 'bags/day', contract, {'a': 20, 'b': 40})
    made.record(folder / 'bags/night', contract, {'a': 30}, seed=1)
    assert main(['dataset', 'build', str(folder / 'bags'), '-o', str(folder / 'store'), '--robot',
                 str(folder / 'scout.yaml'), '--workers', '1']) == 0
    return folder


def test_build_says_what_was_built_and_is_content_with_a_complete_store(folder, capfd):
    assert main(['dataset', 'build', str(folder / 'bags'), '-o', str(folder / 'store'), '--robot',
                 str(folder / 'scout.yaml')]) == 0
    assert 'store: 3 episodes, 90 steps from 2 bag(s), complete already' in capfd.readouterr().out


def test_info_lists_streams_statistics_and_bags(folder, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '160')
    assert main(['dataset', 'info', str(folder / 'store')]) == 0
    said = capsys.readouterr().out
    for words in ('robot scout', '3 episodes, 90 steps', 'observations/front', '40 × 48 × 3', 'uint8', 'vx_mps', 'x_m',
                  'twist.twist.linear.x', 'red', 'day', 'night', '50.0%'):
        assert words in said, words


def test_check_finds_nothing_and_then_the_damage(folder, tmp_path, capfd):
    assert main(['dataset', 'check', str(folder / 'store'), str(folder / 'bags'), '--read-again']) == 0
    assert '3 of 3 episodes and 2 of 2 bags checked, 0 problem(s)' in capfd.readouterr().out
    import shutil
    shutil.copytree(folder / 'store', tmp_path / 'store')
    (tmp_path / 'store/observations/front/1.0.0.0').unlink()
    assert main(['dataset', 'check', str(tmp_path / 'store')]) == 1
    assert 'observations/front/1.0.0.0: the chunk is missing (episode b of day' in capfd.readouterr().err


@pytest.mark.parametrize('argv, words', [
    (['build', 'nowhere', '-o', 'x'], ('nowhere: there is no such bag',)),
    (['build', 'BAGS/day', '-o', 'x', '--robot', 'two_rooms'], ('day: recorded with another robot contract',)),
    (['build', 'BAGS', '-o', 'BAGS', '--robot', 'ROBOT'], ('exists and holds something else',)),
    (['build', 'BAGS/day', '-o', 'STORE', '--robot', 'ROBOT'], ('night is not among the bags given', '--overwrite')),
    (['build', 'BAGS', '--robot', 'ROBOT'], ('--output',)),
    (['build', 'BAGS', '-o', 'x', '--robot', 'scuot'], ("unknown robot 'scuot'",)),
    (['check', 'BAGS/day'], ('a bag, not a training store',)), (['info', 'nowhere'], ('there is no such store',)),
    (['export', 'STORE'], ('give one of --lerobot FOLDER and --hdf5 FILE',)),
    (['export', 'STORE', '--hdf5', 'ROBOT'], ('scout.yaml exists: give another --hdf5',)),
    (['export', 'STORE', '--lerobot', 'BAGS'], ('bags exists: give another --lerobot',)),
    (['bulid'], ('bulid',)),
])
def test_a_mistake_is_one_line_and_exit_code_2(folder, tmp_path, monkeypatch, capfd, argv, words):
    monkeypatch.chdir(tmp_path)
    names = {'BAGS': folder / 'bags', 'STORE': folder / 'store', 'ROBOT': folder / 'scout.yaml'}
    for name, path in names.items():
        argv = [arg.replace(name, str(path)) for arg in argv]
    assert main(['dataset', *argv]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith('jepa-ros: ')
    assert all(word in lines[0] for word in words), lines[0]


@pytest.mark.parametrize('missing, option', [('h5py', '--hdf5'), ('pyarrow', '--lerobot')])
def test_an_export_whose_library_is_missing_says_what_to_install(folder, tmp_path, capfd, monkeypatch, missing, option):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(['dataset', 'export', str(folder / 'store'), option, str(tmp_path / 'out')]) == 2
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert line == f"jepa-ros: this export needs {missing}: pip install 'jepa_ros[export]'"
    assert not list(tmp_path.iterdir())


def _hears() -> None:
    """Tests that a shell runs in the background ignore Ctrl-C, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _at_work(command: list[str]) -> tuple[subprocess.Popen, list[str]]:
    """A build that is stopped while its two workers are alive, and their process ids."""
    while True:
        process = subprocess.Popen([*command, '--overwrite'], stderr=subprocess.PIPE, text=True, preexec_fn=_hears)
        children, workers = Path(f'/proc/{process.pid}/task/{process.pid}/children'), []
        while len(workers) < 2 and process.poll() is None:
            workers = [c for c in children.read_text().split()
                       if b'spawn_main' in Path(f'/proc/{c}/cmdline').read_bytes()]
            time.sleep(0.005)
        process.send_signal(signal.SIGSTOP)
        if len(workers) == 2 and all(Path(f'/proc/{worker}/cmdline').exists() for worker in workers):
            return process, workers
        process.kill()      # this machine was too busy to see them in time
        process.communicate(timeout=60)


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_says_that_it_goes_on_and_leaves_no_worker(folder, tmp_path, how):
    command = [sys.executable, '-m', 'jepa_ros.cli.main', 'dataset', 'build', str(folder / 'bags'), '-o',
               str(tmp_path / 'store'), '--robot', str(folder / 'scout.yaml'), '--workers', '2']
    process, workers = _at_work(command)
    process.send_signal(how)
    process.send_signal(signal.SIGCONT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and 'interrupted; the same command goes on' in errors
    assert 'Traceback' not in errors
    assert not any(Path(f'/proc/{worker}').exists() for worker in workers)
    if how == signal.SIGINT:
        assert main(command[3:]) == 0
