"""The arguments that a user of `ros2 launch … --show-args` sees."""
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / 'launch'
COMMON = {'namespace', 'use_sim_time', 'params_file', 'robot', 'model', 'planners', 'tasks', 'composition', 'log_level'}


def shown(name: str) -> dict:
    from launch.launch_description_sources import get_launch_description_from_any_launch_file
    description = get_launch_description_from_any_launch_file(str(LAUNCH / f'{name}.launch.py'))
    return {argument.name: argument for argument in description.get_launch_arguments()}


@pytest.mark.parametrize(('name', 'own'), [
    ('bringup', {'learn', 'speed'}), ('sim', {'learn', 'speed', 'world'}),
    ('record', {'learn', 'speed', 'output', 'episodes', 'driver', 'joy_topic', 'split_mb', 'split_s', 'compress_images',
                'recorder'}),
    ('replay', {'bag', 'rate', 'start', 'duration', 'loop', 'paused', 'topics', 'with_commands'})])
def test_each_launch_file_has_the_common_arguments_and_its_own(name, own):
    assert set(shown(name)) == COMMON | own


@pytest.mark.parametrize('name', ['bringup', 'sim', 'record', 'replay'])
def test_every_argument_has_a_description(name):
    assert [a.name for a in shown(name).values() if len(a.description) < 20] == []


@pytest.mark.parametrize('name', ['bringup', 'sim', 'record'])
def test_nothing_learns_unless_it_is_asked_for(name):
    assert shown(name)['learn'].default_value[0].text == 'false'


def test_the_simulation_runs_in_simulated_time():
    assert shown('sim')['use_sim_time'].default_value[0].text == 'true'
