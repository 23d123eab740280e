"""Evaluation without ROS."""
import numpy as np
import pytest

from jepa_ros.errors import WorldError
from jepa_ros.sim.episodes import goal_image, run_closed_loop, start_goal_pairs
from jepa_ros.sim.worlds import make_world


@pytest.fixture
def world():
    return make_world('two_rooms_random_door')


def test_pairs_are_in_opposite_rooms_and_the_same_for_the_same_seed(world):
    pairs = start_goal_pairs(world, 20, seed=3)
    assert pairs == start_goal_pairs(make_world('two_rooms_random_door'), 20, seed=3)
    assert pairs != start_goal_pairs(world, 20, seed=4)
    assert all(pair.values['start_x_m'] * pair.goal[0] < 0 for pair in pairs)
    assert len({pair.values['start_x_m'] > 0 for pair in pairs}) == 2
    assert len({pair.values['door_y_m'] for pair in pairs}) == 20


def test_fewer_pairs_are_the_first_of_more(world):
    assert start_goal_pairs(world, 3, seed=3) == start_goal_pairs(world, 5, seed=3)[:3]


def test_the_goal_image_is_what_the_camera_sees_there(world):
    task = start_goal_pairs(world, 1, seed=0)[0]
    image = goal_image(world, *task.goal)
    values = {**task.values, 'start_x_m': task.goal[0], 'start_y_m': task.goal[1]}
    world.reset(0, values)
    assert np.array_equal(image, world.image())
    with pytest.raises(WorldError, match='in a wall'):
        goal_image(world, 1.5, 0.0)


def test_a_policy_that_knows_the_way_succeeds_and_one_that_rests_does_not(world):
    task = start_goal_pairs(world, 1, seed=1)[0]

    def towards_door_then_goal(_image):
        x, y = world.pose
        crossed = x * task.goal[0] > 0 and abs(x) > 0.25
        waypoint = task.goal if crossed else (np.sign(task.goal[0]) * (0.3 if abs(y - world.door_y_m) < 0.1 else -0.3),
                                              world.door_y_m)
        return np.clip(3 * np.subtract(waypoint, (x, y)), -0.8, 0.8)

    outcome = run_closed_loop(world, task, towards_door_then_goal)
    assert outcome.success and outcome.distance_m <= 0.15 and outcome.time_s < 15
    assert len(outcome.path) == round(outcome.time_s / 0.1) + 1
    rested = run_closed_loop(world, task, lambda _: np.zeros(2), max_time_s=1.0)
    assert not rested.success and rested.time_s == pytest.approx(1.0)
