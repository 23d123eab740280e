"""The packaging files agree: one version, one list of executables, every dependency in both worlds."""
from importlib.metadata import entry_points, metadata, requires
from pathlib import Path
import re
from xml.etree import ElementTree

import pytest

import jepa_ros

ROOT = Path(__file__).parents[2]
PACKAGE = ElementTree.parse(ROOT / 'package.xml').getroot()
# a PyPI name -> its rosdep key, where the rule python3-<name> does not hold
ROSDEP = {'opencv-python-headless': 'python3-opencv', 'pyyaml': 'python3-yaml', 'mujoco': 'python3-mujoco-pip',
          'rosbags': 'python3-rosbags-pip'}


def names(extra: str = '') -> set[str]:
    """PyPI names of the dependencies, or of those that an extra adds."""
    wanted = [r for r in requires('jepa_ros') if (f'extra == "{extra}"' in r if extra else 'extra ==' not in r)]
    return {re.match(r'[A-Za-z0-9_-]+', r).group().lower() for r in wanted}


def keys() -> set[str]:
    return {e.text for e in PACKAGE if e.tag in ('depend', 'exec_depend')}


def test_the_version_is_the_same_everywhere():
    assert metadata('jepa_ros')['Version'] == PACKAGE.findtext('version') == jepa_ros.__version__


@pytest.mark.parametrize('name', sorted(n for n in names() if not n.startswith('ros-jazzy-')))
def test_a_python_dependency_has_a_rosdep_key_or_is_in_the_extra_for_colcon(name):
    assert ROSDEP.get(name, f'python3-{name}') in keys() or name in names('colcon')


@pytest.mark.parametrize('name', sorted(n for n in names() if n.startswith('ros-jazzy-')))
def test_a_ros_dependency_is_in_package_xml(name):
    assert name.removeprefix('ros-jazzy-').replace('-', '_') in keys()


@pytest.mark.parametrize('entry', sorted([*entry_points(group='jepa_ros.nodes'),
                                          *(e for e in entry_points(group='console_scripts')
                                            if e.value.startswith('jepa_ros.'))]), ids=lambda e: e.name)
def test_an_executable_names_a_function_that_exists(entry):
    assert callable(entry.load())


def test_the_executables_that_launch_files_start_are_installed():
    started = {name for file in (ROOT / 'launch').glob('*.launch.py')
               for name in re.findall(r"node\('([a-z_]+)'", file.read_text())}
    assert started and started <= {e.name for e in entry_points(group='jepa_ros.nodes')}


def test_launch_files_are_valid_python():
    for file in (ROOT / 'launch').glob('*.launch.py'):
        compile(file.read_text(), str(file), 'exec')
