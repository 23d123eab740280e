"""Launch files are tested with the real launch and launch_ros, in a process of their own as `ros2 launch` runs them."""
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import time

import pytest

LAUNCH = Path(__file__).parents[2] / 'launch'
TIMEOUT_S = 60.0
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource
service = LaunchService(noninteractive=True)
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    AnyLaunchDescriptionSource(sys.argv[1]), launch_arguments=[a.split(':=', 1) for a in sys.argv[2:]])]))
sys.exit(service.run())
"""


def pytest_collection_modifyitems(items):
    try:
        import launch_ros.actions  # noqa: F401
    except ImportError as error:
        reason = f'launch_ros cannot be imported ({error}); the ros-jazzy wheels do not have it, ROS 2 from apt does'
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


class Launched:
    """A running launch file; `lines` is what it has said so far."""

    def __init__(self, name: str, arguments: dict, log: Path, env: dict):
        self._log = log
        command = [sys.executable, '-c', RUN, str(LAUNCH / f'{name}.launch.py')]
        with log.open('w') as out:
            self.process = subprocess.Popen([*command, *(f'{k}:={v}' for k, v in arguments.items())],
                                            stdout=out, stderr=subprocess.STDOUT, env=env)

    @property
    def text(self) -> str:
        return self._log.read_text()

    def wait_for(self, pattern: str, count: int = 1) -> list[str]:
        """Matches of `pattern` in the output, as soon as there are `count`."""
        end = time.monotonic() + TIMEOUT_S
        while len(found := re.findall(pattern, self.text)) < count:
            assert time.monotonic() < end and self.process.poll() is None, f'no {pattern!r} in:\n{self.text}'
            time.sleep(0.05)
        return found

    def pids(self, executable: str) -> list[int]:
        return [int(pid) for pid in re.findall(rf'\[{executable}-\d+\]: process started with pid \[(\d+)\]', self.text)]

    def stop(self) -> int:
        """End it as Ctrl-C does and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(TIMEOUT_S)


@pytest.fixture
def start(tmp_path, ros_domain):
    """Start a launch file by name with arguments; all are ended with the test, and nothing may be left behind."""
    launched = []

    def begin(name: str, **arguments) -> Launched:
        from ament_index_python.packages import get_package_prefix, PackageNotFoundError
        env = dict(os.environ)
        try:
            get_package_prefix('jepa_ros')
        except (PackageNotFoundError, LookupError):     # an environment of wheels is no sourced workspace
            env['AMENT_PREFIX_PATH'] = os.pathsep.join(filter(None, [env.get('AMENT_PREFIX_PATH'), sys.prefix]))
        launched.append(Launched(name, arguments, tmp_path / f'{name}{len(launched)}.log', env))
        return launched[-1]

    yield begin
    for one in launched:
        one.stop()
    pids = [int(p) for one in launched for p in re.findall(r'process started with pid \[(\d+)\]', one.text)]
    assert [pid for pid in pids if Path(f'/proc/{pid}').exists()] == []
