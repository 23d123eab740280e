"""Adapters of other packages, found by the entry-point group `jepa_ros.adapters`."""
import sys

import numpy as np
import pytest
from sensor_msgs.msg import Range

from jepa_ros.robot import adapters
from jepa_ros.robot.adapters import observation_types, tensor_spec, to_array

from .make import image, observation

MODULE = """
import numpy as np
from jepa_ros.robot.adapters import Adapter, TensorSpec

def distances(observation, message):
    return np.full(observation.size, message.range, np.float32)

def spec(observation):
    return TensorSpec((observation.size,), np.dtype(np.float32), tuple(f'echo[{i}]' for i in range(observation.size)))

ADAPTER = Adapter(distances, spec, needs=('size',))

def picture(observation, message):
    return np.zeros((observation.height, observation.width, 3), np.uint8)

def flat(observation, message):
    return np.zeros(2, np.float32)
flat.tensor_spec = lambda observation: TensorSpec((2,), np.dtype(np.float32))

NONSENSE = 3
"""
ENTRIES = """[jepa_ros.adapters]
sensor_msgs/msg/Range = sonar_for_tests:ADAPTER
thermal_msgs/msg/Picture = sonar_for_tests:picture
thermal_msgs/msg/Pair = sonar_for_tests:flat
"""


def forget() -> None:
    adapters._entries.cache_clear()
    adapters._third_party.cache_clear()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs the package by its files, as pip does; give it the lines of its entry points."""
    def install(entries: str = ENTRIES) -> None:
        (tmp_path / 'sonar_for_tests.py').write_text(MODULE)
        info = tmp_path / 'sonar_for_tests-1.0.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: sonar_for_tests\nVersion: 1.0\n')
        (info / 'entry_points.txt').write_text(entries)
        monkeypatch.syspath_prepend(tmp_path)
        forget()
    yield install
    monkeypatch.undo()
    sys.modules.pop('sonar_for_tests', None)
    forget()


def test_an_adapter_of_another_package_reads_states_its_shape_and_checks_its_keys(installed):
    installed()
    sonar = observation('sensor_msgs/msg/Range', size=3)
    assert 'sensor_msgs/msg/Range' in observation_types()
    assert tensor_spec(sonar).names == ('echo[0]', 'echo[1]', 'echo[2]')
    np.testing.assert_array_equal(to_array(sonar, Range(range=1.5)), [1.5] * 3)
    with pytest.raises(ValueError, match='size is missing: sensor_msgs/msg/Range needs size'):
        observation('sensor_msgs/msg/Range')


def test_a_plain_function_makes_an_image_unless_it_states_another_shape(installed):
    installed()
    assert tensor_spec(observation('thermal_msgs/msg/Picture', height=8, width=9)).shape == (8, 9, 3)
    assert tensor_spec(observation('thermal_msgs/msg/Pair')).shape == (2,)


def test_an_entry_point_that_is_no_adapter_is_named(installed):
    installed('[jepa_ros.adapters]\nbad_msgs/msg/Bad = sonar_for_tests:NONSENSE\n')
    with pytest.raises(ValueError, match='entry point bad_msgs/msg/Bad of group jepa_ros.adapters is of type int'):
        observation('bad_msgs/msg/Bad', fields=['data'])


def test_an_entry_point_that_cannot_be_loaded_is_named_and_harms_no_other_type(installed):
    installed('[jepa_ros.adapters]\nbad_msgs/msg/Bad = sonar_for_tests:missing\n')
    camera = observation('sensor_msgs/msg/Image', height=8, width=8)
    assert to_array(camera, image(np.zeros((8, 8), np.uint8), 'mono8')).shape == (8, 8, 3)
    with pytest.raises(ValueError, match='entry point bad_msgs/msg/Bad of group jepa_ros.adapters cannot be loaded'):
        observation('bad_msgs/msg/Bad', fields=['data'])
