"""The differential drive: wheels that roll and do not slide, a hull that meets walls, a lidar that misses beams."""
import math

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from jepa_ros.errors import WorldError
from jepa_ros.sim.worlds.diff_drive import DiffDrive, HULL, RADIUS_M, TRACK_M, WHEEL_SPEED_MPS
from jepa_ros.sim.worlds.rooms_world import VIEW_M


@pytest.fixture(scope='module')
def world():
    return DiffDrive(lost_beams=0.0)


def start(world, x=-0.8, y=0.0, yaw=0.0, seed=0, **values):
    return world.reset(seed, {'start_x_m': x, 'start_y_m': y, 'start_yaw_rad': yaw, **values})


@pytest.mark.parametrize('yaw', [0.0, 1.0, -2.5])
def test_it_drives_along_its_heading(world, yaw):
    start(world, yaw=yaw)
    world.step([0.3, 0.0], 1.0)
    x, y = world.pose[0] + 0.8, world.pose[1]
    # less what the motors lose, first at their greatest force, then with their time constant
    assert math.hypot(x, y) == pytest.approx(0.3 - 0.020, abs=2e-3)
    assert math.atan2(y, x) == pytest.approx(yaw, abs=1e-6)
    assert world.odometry().vx == pytest.approx(0.3, abs=1e-3)


def test_it_turns_on_the_spot(world):
    start(world)
    world.step([0.0, 1.9], 1.0)
    assert world.pose == pytest.approx((-0.8, 0.0), abs=1e-6)
    assert world.odometry().wz == pytest.approx(1.9, abs=1e-3)
    assert world.yaw == pytest.approx(1.9 - 1.9 * 0.06, abs=0.02)


def test_a_curve_has_the_radius_that_speed_and_turn_rate_give(world):
    start(world, y=-0.3)
    points = []
    for _ in range(30):
        world.step([0.15, 0.6], 0.1)
        points.append(world.pose)
    centre = np.array([-0.8, -0.05])
    radii = np.linalg.norm(np.array(points[5:]) - centre, axis=1)
    assert radii == pytest.approx(np.full(25, 0.25), abs=0.02)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_wheels_do_not_slide_sideways_in_the_open(world, seed):
    start(world, x=-0.75)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        world.step(rng.uniform(world.command.low, world.command.high), 0.2)
        assert abs(world.odometry().vy) < 0.005


@settings(max_examples=50, deadline=None)
@given(forward=st.floats(-1, 1), turn=st.floats(-5, 5))
def test_no_wheel_turns_faster_than_it_can(world, forward, turn):
    start(world)
    world.step([forward, turn], 0.6)
    motion = world.odometry()
    wheels = np.array([motion.vx - motion.wz * TRACK_M / 2, motion.vx + motion.wz * TRACK_M / 2])
    assert abs(wheels).max() <= WHEEL_SPEED_MPS * 1.01


def test_a_wall_stops_it_and_counts_as_one_collision(world):
    start(world, x=-0.8, yaw=math.pi)
    world.step([0.3, 0.0], 4.0)
    assert world.pose[0] == pytest.approx(-1.5 + RADIUS_M, abs=2e-3)
    assert world.collisions == 1 and abs(world.odometry().vx) < 0.01
    world.step([-0.3, 0.0], 1.0)
    assert world.pose[0] > -1.2


def test_it_fits_through_the_door(world):
    start(world, x=-0.6, door_y_m=0.4, y=0.4)
    world.step([0.3, 0.0], 4.0)
    assert world.pose[0] > 0.5 and world.collisions == 0


def test_the_scan_turns_with_the_robot_and_measures_walls(world):
    start(world, x=-1.0, yaw=math.pi / 2)
    scan = world.scan()
    assert (scan.angle_min_rad, len(scan.ranges_m), scan.ranges_m.dtype) == (0.0, 360, np.float32)
    assert scan.ranges_m[[0, 90, 180, 270]] == pytest.approx([1.5, 0.5, 1.5, 2.5], abs=2e-3)


def test_beams_that_measure_nothing_read_zero(world):
    start(world, x=-1.5 + RADIUS_M + 1e-3, yaw=math.pi)
    ranges = world.scan().ranges_m  # the wall in front is nearer than the lidar's 0.2 m
    assert ranges[0] == 0.0 and np.isfinite(ranges).all() and (ranges[ranges > 0] >= 0.2).all()


def test_lost_beams_are_drawn_anew_at_each_moment_and_repeat_with_the_seed():
    world = DiffDrive(lost_beams=0.3)
    start(world, seed=5)
    first = world.scan().ranges_m
    np.testing.assert_array_equal(first, world.scan().ranges_m)
    assert (first == 0).mean() == pytest.approx(0.3, abs=0.08)
    world.step([0.0, 0.0])
    later = world.scan().ranges_m
    assert ((first == 0) != (later == 0)).any()
    start(world, seed=5)
    np.testing.assert_array_equal(first, world.scan().ranges_m)


def test_same_seed_and_commands_give_the_same_trajectory(world):
    runs = []
    for _ in range(2):
        world.reset(3, {})
        rng = np.random.default_rng(3)
        runs.append([])
        for _ in range(40):
            world.step(rng.uniform(world.command.low, world.command.high))
            runs[-1].append(world.odometry())
    assert runs[0] == runs[1]
    assert world.time_s == pytest.approx(8.0)


def test_a_reset_draws_the_heading_and_says_it(world):
    states = [world.reset(seed, {}) for seed in range(50)]
    headings = [state['start_yaw_rad'] for state in states]
    assert min(headings) < -2 and max(headings) > 2
    assert world.yaw == pytest.approx(headings[-1]) and world.free(*world.pose)
    with pytest.raises(WorldError, match='start_yaw_rad is nan; give a finite number of radians'):
        world.reset(0, {'start_yaw_rad': math.nan})


def test_the_picture_shows_where_the_front_is(world):
    start(world, x=-0.8, y=0.0, yaw=math.pi / 2)
    image = world.image(256)
    column, row = (np.array([-0.8, -0.0]) + VIEW_M / 2) * 256 / VIEW_M
    below, above = image[int(row) + 8, int(column)], image[int(row) - 8, int(column)]
    assert below.tolist() == list(HULL)
    assert above.astype(int).sum() > 700
