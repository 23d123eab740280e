"""World configurations: what ships works, and what is wrong is said in one line."""
import pytest

from jepa_ros.errors import JepaRosError
from jepa_ros.paths import known
from jepa_ros.sim.messages import reading_message, time_message, TYPES
from jepa_ros.sim.worlds import load_config, make_planar_world, make_world


@pytest.mark.parametrize('name', known('worlds'))
def test_each_shipped_world_can_be_made_and_moves(name):
    world = make_world(name, seed=1)
    world.reset(1, {})
    world.step(world.idle_command, 2 * world.control_period_s)
    assert world.time_s == pytest.approx(2 * world.control_period_s)


@pytest.mark.parametrize('name', known('worlds'))
def test_the_readings_of_each_shipped_world_make_messages(name):
    world, stamp = make_world(name, seed=1), time_message(10**9)
    for sensor in world.sensors:
        message = reading_message(sensor, world.read(sensor.topic), stamp, world.control_period_s)
        assert isinstance(message, TYPES[sensor.kind])
    assert len(world.command.fields) == len(world.command.low) == len(world.command.high) == len(world.idle_command)
    steps = world.control_period_s / world.physics_step_s
    assert steps == pytest.approx(round(steps))


def test_the_door_is_fixed_or_drawn_as_the_file_says():
    fixed, drawn = make_world('two_rooms'), make_world('two_rooms_random_door')
    assert {fixed.reset(seed, {})['door_y_m'] for seed in range(5)} == {0.0}
    assert len({drawn.reset(seed, {})['door_y_m'] for seed in range(5)}) == 5


def test_an_unknown_world_is_answered_with_the_known_ones_and_the_nearest():
    with pytest.raises(JepaRosError, match=r"'two_room' \(did you mean two_rooms\?\); known: .*two_rooms, two_rooms_r"):
        load_config('two_room')


@pytest.mark.parametrize(('text', 'line'), [
    ('world: two_roms', 'unknown world .two_roms. .did you mean two_rooms'),
    ('world: two_rooms\noptions: {door_y_m: 1.5}', r'line 2: options.door_y_m: .*less than or equal to 1.2'),
    ('world: two_rooms\noptions:\n  dor_y_m: 0.1', r'line 3: options.dor_y_m: unknown key'),
    ('world: two_rooms\noptions:\n  door_y_m: left', r'line 3: options.door_y_m: .*number'),
    ('world: two_rooms\ncolour: red', r'line 2: colour: unknown key'),
    ('description: nothing', r'world: is missing'),
    ('world: [', r'line 1: not YAML'),
    ('world: two_rooms\nworld: diff_drive', r'my_world.yaml, line 2: key world is there twice, first in line 1'),
    ('world: 2024-13-45', r'not YAML: month must be'),
    ('', r'a mapping of keys to values is expected'),
])
def test_a_wrong_file_is_refused_in_one_line_that_names_it(tmp_path, text, line):
    path = tmp_path / 'my_world.yaml'
    path.write_text(text)
    with pytest.raises(JepaRosError, match=line) as caught:
        make_world(str(path))
    assert '\n' not in str(caught.value)
    assert 'unknown world' in str(caught.value) or str(path) in str(caught.value)


def test_options_of_the_file_are_replaced_by_name():
    assert make_world('two_rooms', door_y_m=0.7).reset(0, {})['door_y_m'] == 0.7
    with pytest.raises(JepaRosError, match="world two_rooms has no option 'render'"):
        make_world('two_rooms', render=True)


def test_what_needs_rooms_refuses_a_world_without_them_in_one_line():
    assert make_planar_world('diff_drive').rooms == ('left', 'right')
    with pytest.raises(JepaRosError, match='world gym:CartPole-v1 has no rooms to drive through'):
        make_planar_world('gym:CartPole-v1')
