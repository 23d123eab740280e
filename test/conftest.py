"""Shared fixtures. Each test that uses DDS gets a ROS domain of its own, so that tests never hear each other."""
from contextlib import contextmanager
import fcntl
import gc
import itertools
import os
from pathlib import Path
import tempfile

import hypothesis
import pytest

# the same examples in every run
hypothesis.settings.register_profile('fixed', derandomize=True, database=None)
hypothesis.settings.load_profile('fixed')

_FIRST_DOMAIN, _LAST_DOMAIN = 1, 101  # above 101 the ports of DDS meet Linux's ephemeral ports
_start = os.getpid() * 7
_domains = (_FIRST_DOMAIN + (_start + i) % (_LAST_DOMAIN - _FIRST_DOMAIN + 1) for i in itertools.count())


@contextmanager
def _free_domain():
    """A domain that no other run of tests on this machine has now: each is held by a lock on a file of its own."""
    folder = Path(tempfile.gettempdir()) / f'jepa_ros_test_domains_{os.getuid()}'
    folder.mkdir(exist_ok=True)
    while True:
        domain = next(_domains)
        with (folder / str(domain)).open('w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield domain
            if domain % 8 == 0:
                _let_go()
            return


def _let_go() -> None:
    """Collect the nodes of the last tests, which a loaded agent has frozen (`AgentSource`); it takes half a second.

    Each would keep its DDS participant: of more than 32 in a process, two no longer find each other.
    """
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()


def _isolate(patch: pytest.MonkeyPatch, domain: int) -> dict[str, str]:
    patch.setenv('ROS_DOMAIN_ID', str(domain))
    patch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    # Also for the tests' own contexts: without it two processes may find each other only after 3 s.
    patch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', str(Path(__file__).parents[1] / 'config' / 'dds' / 'localhost.xml'))
    patch.setenv('OMP_NUM_THREADS', '1')
    return dict(os.environ)


@pytest.fixture
def ros_domain(monkeypatch):
    """Isolate this test's DDS traffic; the value is the environment for its subprocesses."""
    with _free_domain() as domain:
        yield _isolate(monkeypatch, domain)


@pytest.fixture(scope='module')
def module_ros_domain():
    """The same for a stack that all tests of a module share."""
    with pytest.MonkeyPatch.context() as patch, _free_domain() as domain:
        yield _isolate(patch, domain)


@pytest.fixture
def ros(ros_domain):
    """The default ROS context, for nodes in the test's own process."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    yield rclpy.get_default_context()
    rclpy.try_shutdown()


@pytest.fixture(scope='session')
def random_model(tmp_path_factory):
    """Folder of a checkpoint with random weights for robot `two_rooms`: acts, though not to any purpose."""
    from jepa_ros.agent import Agent
    from jepa_ros.robot.contract import RobotContract
    folder = tmp_path_factory.mktemp('model')
    Agent.create(RobotContract.load('two_rooms'), seed=0).save(folder)
    return folder
