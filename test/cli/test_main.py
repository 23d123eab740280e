"""The command line: quick help, one line for a mistake, `key=value` arguments, a clean Ctrl-C."""
from collections.abc import Callable
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

from jepa_ros.cli.app import COMMANDS, key_values_to_options, load_command
from jepa_ros.cli.main import main
from jepa_ros.errors import ConfigError


def some(robot: str = '', composition: bool = True, real_time_factor: float = 1.0, seed: int = 0) -> None:
    """Stand for a command."""


@pytest.mark.parametrize('given, expected', [
    (['robot=two_rooms'], ['--robot=two_rooms']),
    (['robot:=two_rooms', 'seed=3'], ['--robot=two_rooms', '--seed=3']),
    (['composition=false'], ['--no-composition']),
    (['composition=True'], ['--composition']),
    (['real_time_factor=0'], ['--real-time-factor=0']),
    (['robot=a=b'], ['--robot=a=b']),
    (['--robot', 'x=y'], ['--robot', 'x=y']),
    (['--no-composition', 'seed=3'], ['--no-composition', '--seed=3']),
    (['bags/run-1', '--seed', '3'], ['bags/run-1', '--seed', '3']),
])
def test_key_values_mean_options(given, expected):
    assert key_values_to_options(some, given) == expected


@pytest.mark.parametrize('given, words', [
    (['robto=two_rooms'], ("'robto='", 'did you mean robot')),
    (['composition=maybe'], ('composition=maybe', 'true or false'))])
def test_a_wrong_key_or_value_is_named(given, words):
    with pytest.raises(ConfigError) as caught:
        key_values_to_options(some, given)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize('argv, words', [
    (['upp'], ("unknown command 'upp'", 'did you mean up')),
    (['up', 'wrld=two_rooms'], ("'wrld='", 'did you mean world')),
    (['up', '--wrold', 'x'], ('--wrold',)),
    (['up', 'real_time_factor=fast'], ('--real-time-factor', 'valid number')),
    (['up', 'world=two_roms'], ("'two_roms'", 'two_rooms')),
    (['goal'], ('--image, --readout, --bag and --say',)),
    (['goal', '--readout', 'x_m'], ('--readout x_m', 'name=number')),
    (['goal', '--image', '/nowhere.png'], ('/nowhere.png', 'no such file')),
    (['goal', '--bag', '/nowhere'], ('--time',)),
])
def test_a_mistake_is_one_line_and_exit_code_2(capfd, random_model, argv, words):
    if 'world=two_roms' in argv:
        argv = [*argv, f'model={random_model}']
    assert main(argv) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith('jepa-ros: ')
    assert all(word in lines[0] for word in words), lines[0]


def test_an_unreadable_goal_image_is_named(capfd, tmp_path):
    path = tmp_path / 'goal.png'
    path.write_text('not an image')
    assert main(['goal', '--image', str(path)]) == 2
    assert f'{path}: not an image' in capfd.readouterr().err


def test_a_goal_without_an_agent_says_what_to_start(ros_domain, capfd, monkeypatch):
    monkeypatch.setattr('jepa_ros.cli.goal.DISCOVERY_S', 0.2)
    assert main(['goal', '--readout', 'x_m=1.0']) == 2
    assert 'no agent answers on /pursue_goal' in capfd.readouterr().err


def test_help_lists_every_command_and_loads_neither_torch_nor_ros():
    code = ('import sys; from jepa_ros.cli.main import main; code = main(["--help"]); '
            'sys.exit(code or bool({"torch", "rclpy"} & set(sys.modules)))')
    began = time.monotonic()
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f' {name} ' in done.stdout for name in COMMANDS)
    assert time.monotonic() - began < 3.0  # 0.2 s on an idle machine


@pytest.mark.parametrize('name', list(COMMANDS))
def test_every_command_exists_and_its_help_can_be_shown(name, capsys):
    assert load_command(name).__doc__
    assert main([name, '--help']) == 0
    assert f'jepa-ros {name}' in capsys.readouterr().out


@pytest.mark.parametrize('command', list(COMMANDS))
def test_the_help_of_each_command_has_an_example(capsys, command):
    assert main([command, '--help']) == 0
    assert f'Example: jepa-ros {command} ' in ' '.join(capsys.readouterr().out.split())


@pytest.mark.parametrize('command', ['up', 'sim', 'record', 'goal'])
@pytest.mark.parametrize('namespace', ['9robots', 'a b', 'robot__1', 'a//b'])
def test_a_namespace_that_ros_does_not_take_is_one_line(capfd, command, namespace):
    goal = ['--readout', 'x_m=1'] if command == 'goal' else []
    assert main([command, *goal, '--namespace', namespace]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and repr(namespace) in lines[0]


@pytest.mark.parametrize('argv', [['goal', '--readout', 'x_m=1'], ['sim'], ['record', 'world=two_rooms']])
def test_an_unusable_domain_is_one_line(capfd, monkeypatch, tmp_path, argv):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('ROS_DOMAIN_ID', '999')
    assert main(argv) == 2
    assert capfd.readouterr().err.splitlines()[0].endswith("ROS_DOMAIN_ID is '999': it must be a number from 0 to 232")


def interrupted_while(arguments: list[str], there: Callable[[Path], bool]) -> tuple[int, str]:
    """(exit code, what it said) of a command that gets Ctrl-C once its /proc folder is as `there` says."""
    process = subprocess.Popen([sys.executable, '-m', 'jepa_ros.cli.main', *arguments], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        while not there(Path(f'/proc/{process.pid}')):
            assert process.poll() is None, 'it ended by itself'
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return process.returncode, out + err


@pytest.mark.parametrize('library', ['multiarray', 'libtorch_cpu', 'pydantic_core'])
def test_ctrl_c_while_packages_are_loaded_is_one_line_and_exit_code_130(library):
    ended = interrupted_while(['train', 'none', '--output', 'none'],
                              lambda proc: library in (proc / 'maps').read_text())
    assert ended == (130, 'jepa-ros: interrupted\n')


# presses Ctrl-C while it is loaded, and makes of it what compiled modules do
CLUMSY = """
import os, signal, time
try:
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
except BaseException as error:
    raise ImportError('initialization failed') from error
"""
COMMAND = """
import sys, time
from jepa_ros.cli import app, main
def command():
    import clumsy
    time.sleep(30)
    print('it goes on')
app.load_command = lambda name: command
sys.exit(main.main(['train']))
"""


def test_ctrl_c_is_not_lost_in_an_import_that_swallows_it(tmp_path):
    (tmp_path / 'clumsy.py').write_text(CLUMSY)
    (tmp_path / 'command.py').write_text(COMMAND)
    done = subprocess.run([sys.executable, tmp_path / 'command.py'], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (130, 'jepa-ros: interrupted\n')


def test_what_a_command_says_of_its_interruption_is_in_the_line(monkeypatch, capsys):
    def command():
        raise KeyboardInterrupt('the same command goes on')
    monkeypatch.setattr('jepa_ros.cli.app.load_command', lambda name: command)
    assert main(['train']) == 130
    assert capsys.readouterr().err == 'jepa-ros: interrupted; the same command goes on\n'


def test_of_several_processes_of_a_training_the_first_says_that_they_were_interrupted(monkeypatch, capsys):
    def command():
        raise KeyboardInterrupt
    monkeypatch.setattr('jepa_ros.cli.app.load_command', lambda name: command)
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'x')
    said = []
    for rank in '10':
        monkeypatch.setenv('RANK', rank)
        assert main(['train']) == 130
        said.append(capsys.readouterr().err)
    assert said == ['', 'jepa-ros: interrupted\n']


def test_a_command_leaves_the_handling_of_ctrl_c_as_it_was(capsys):
    before = signal.getsignal(signal.SIGINT)
    assert main(['--version']) == 0
    assert signal.getsignal(signal.SIGINT) is before
