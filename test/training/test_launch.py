"""`--devices N`: real processes that end well, refuse, are killed or interrupted."""
import os
import signal
import threading
import time

import pytest

from jepa_ros.errors import TrainingError
from jepa_ros.training.launch import launch

MODULE = """
import os, signal, sys, time
rank, wanted = int(os.environ['RANK']), sys.argv[1]
assert os.environ['WORLD_SIZE'] == '2'
open(f'{sys.argv[2]}/{rank}', 'w').close()
if wanted == 'refuse':
    sys.exit(2)
if wanted == 'die' and rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
signal.signal(signal.SIGINT, signal.SIG_DFL)
if wanted != 'end':
    time.sleep(60)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Two processes of a module that does what its argument says."""
    (tmp_path / 'sometimes.py').write_text(MODULE)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    return lambda wanted: launch([wanted, str(tmp_path)], 2, 'sometimes')


def test_processes_that_end_well_give_exit_code_0(start, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    assert start('end') == 0
    assert (tmp_path / '0').is_file() and (tmp_path / '1').is_file()
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_a_process_has_said_is_not_said_again(start, capfd):
    assert start('refuse') == 2
    assert capfd.readouterr().err == ''


def test_a_process_that_is_killed_ends_the_others_and_is_named(start, capfd):
    began = time.monotonic()
    with pytest.raises(TrainingError) as ended:
        start('die')
    assert str(ended.value).startswith('process 1 of 2 ended by SIGKILL: ') and time.monotonic() - began < 20
    assert capfd.readouterr().err == ''


def test_ctrl_c_ends_all_and_is_for_the_processes_to_speak_of(start, tmp_path, capfd):
    def press():
        while not ((tmp_path / '0').is_file() and (tmp_path / '1').is_file()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=press, daemon=True).start()
    assert start('wait') == 130
    assert capfd.readouterr().err == ''
