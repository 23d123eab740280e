"""`jepa-ros sim`."""
import signal
import subprocess
import sys

import pytest

from jepa_ros.cli.main import main


@pytest.mark.parametrize(('arguments', 'line'), [
    (['world=kitchen'], "unknown world 'kitchen'; known: "),
    (['--real-time-factor', '-1'], "'--real-time-factor'"),
    (['real_time_facto=2'], 'real_time_factor'),
])
def test_bad_arguments_end_in_one_line(ros_domain, capsys, arguments, line):
    assert main(['sim', *arguments]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert len(error.strip().splitlines()) == 1


def test_it_runs_in_a_namespace_until_interrupted(ros_domain):
    process = subprocess.Popen(
        [sys.executable, '-m', 'jepa_ros.cli.main', 'sim', 'world=two_rooms_random_door', 'real_time_factor=4',
         'namespace=robot1'], env=ros_domain, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        assert "[robot1.sim]: world 'two_rooms_random_door', real_time_factor 4" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.communicate()
