"""Shortest way through a world."""
import math

import numpy as np
import pytest

from jepa_ros.errors import WorldError
from jepa_ros.evaluation.metrics import path_length_m
from jepa_ros.evaluation.paths import shortest_path
from jepa_ros.sim.worlds import TwoRooms


def test_the_way_through_free_space_is_straight():
    path = shortest_path(lambda x, y: True, (0.0, 0.0), (1.0, 0.7))
    assert path_length_m(path) == pytest.approx(math.hypot(1, 0.7), rel=1e-6)


def test_the_way_round_a_wall_is_near_the_shortest():
    def free(x, y):
        return not (abs(x) < 0.05 and y < 0.5) and abs(x) < 2 and abs(y) < 2
    corner = 2 * math.hypot(0.95, 0.5) + 0.1
    assert 0.998 * corner <= path_length_m(shortest_path(free, (-1.0, 0.0), (1.0, 0.0))) <= 1.03 * corner


def test_the_way_between_two_rooms_goes_through_the_door():
    world = TwoRooms(door_y_m=0.8)
    path = shortest_path(world.free, (-1.0, -1.0), (1.0, -1.0))
    assert all(world.free(x, y) for x, y in path)
    dense = np.concatenate([np.linspace(a, b, 50) for a, b in zip(path[:-1], path[1:])])
    assert np.abs(dense[np.abs(dense[:, 0]) < 0.05][:, 1] - 0.8).max() < 0.3
    assert tuple(path[0]) == (-1, -1) and tuple(path[-1]) == (1, -1)


def test_no_way_is_said():
    with pytest.raises(WorldError, match=r'no way from \(-1.00, 0.00\) to \(1.00, 0.00\)'):
        shortest_path(lambda x, y: abs(x) > 0.1 and abs(x) < 2 and abs(y) < 2, (-1.0, 0.0), (1.0, 0.0))
