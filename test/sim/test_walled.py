"""Worlds with any walls: four rooms and a maze."""
import numpy as np
import pytest

from jepa_ros.errors import ConfigError, WorldError
from jepa_ros.evaluation.paths import shortest_path
from jepa_ros.sim.worlds import load_config, make_planar_world
from jepa_ros.sim.worlds.rooms_world import FLOOR, VIEW_M, WALL

WORLDS = {'four_rooms': ('lower_left', 'lower_right'), 'corridors': ('first', 'last')}


@pytest.fixture(params=WORLDS)
def world(request):
    return make_planar_world(request.param)


def test_the_robot_never_enters_a_wall_however_it_drives(world):
    rng = np.random.default_rng(0)
    for seed in range(3):
        world.reset(seed, {})
        for step in range(150):
            if step % 10 == 0:
                command = rng.uniform(-0.8, 0.8, 2)
            world.step(command)
            assert world._clearance(*world.pose) > world.radius_m - 0.01
    assert world.collisions > 0


def test_same_seed_and_commands_give_the_same_way(world):
    poses = []
    for _ in range(2):
        world.reset(5, {})
        for _ in range(20):
            world.step(np.array([0.5, -0.3]))
        poses.append(world.pose)
    assert poses[0] == poses[1]


@pytest.mark.parametrize('name', WORLDS)
def test_the_way_between_the_farthest_rooms_is_much_longer_than_the_straight_line(name):
    world, rng = make_planar_world(name), np.random.default_rng(1)
    for _ in range(5):
        start, goal = (world.sample_pose(rng, room) for room in WORLDS[name])
        assert world.free(*start) and world.free(*goal)
        way = np.linalg.norm(np.diff(shortest_path(world.free, start, goal), axis=0), axis=1).sum()
        assert way > max(2.5, 1.5 * np.hypot(*np.subtract(start, goal)))


def test_the_picture_shows_the_walls_and_the_robot(world):
    world.reset(0, {})
    image = world.image(128, pose=(-1.2, -1.2))
    left, lower, right, upper = load_config(f'{world.name}' if world.name in WORLDS else next(
        name for name in WORLDS if tuple(load_config(name).options.rooms) == world.rooms)).options.walls[0]

    def pixel(x: float, y: float) -> tuple[int, ...]:
        return tuple(int(v) for v in image[int((VIEW_M / 2 - y) / VIEW_M * 128), int((x + VIEW_M / 2) / VIEW_M * 128)])
    assert pixel((left + right) / 2, (lower + upper) / 2) == WALL
    assert pixel(-1.2, -1.2) == world.colour and pixel(1.2, 1.2) == FLOOR


@pytest.mark.parametrize('values, line', [
    ({'start_x_m': 0.0, 'start_y_m': -1.0}, 'would stand in a wall; choose a start that is free'),
    ({'door_y_m': 0.0}, "unknown value 'door_y_m'; it has start_x_m, start_y_m"),
    ({'start_x_m': np.nan}, 'start_x_m is nan'), ({'start_x_m': 9.0}, 'no free start found')])
def test_a_start_that_cannot_be_is_one_line(values, line):
    world = make_planar_world('four_rooms')
    with pytest.raises(WorldError, match=line):
        world.reset(0, values)


def test_an_unknown_room_is_refused_with_those_it_has(world):
    with pytest.raises(WorldError, match="unknown room 'left'; it has"):
        world.sample_pose(np.random.default_rng(0), 'left')


@pytest.mark.parametrize('options, line', [
    ('{rooms: {a: [0, 0, 1, 1], b: [0, 0, 1, 1]}}', 'options.walls: is missing'),
    ('{walls: [[0, 0, 9, 1]], rooms: {a: [0, 0, 1, 1], b: [0, 0, 1, 1]}}', 'options.walls.0.2: .*less than or equal'),
    ('{walls: [[1, 0, 0, 1]], rooms: {a: [0, 0, 1, 1], b: [0, 0, 1, 1]}}', 'wall 0 .*: give left < right'),
    ('{walls: [], rooms: {a: [0, 0, 1, 1]}}', 'options.rooms: .*at least 2 items')])
def test_a_file_that_cannot_be_is_one_line(tmp_path, options, line):
    path = tmp_path / 'w.yaml'
    path.write_text(f'world: walled\noptions: {options}\n')
    with pytest.raises(ConfigError, match=line):
        load_config(str(path))
