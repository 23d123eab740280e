"""The benchmark on swm/TwoRoom-v1, without the package: its protocol, its contract, its figures."""
from pathlib import Path
import sys

import numpy as np
import pytest

from jepa_ros.errors import WorldError
from jepa_ros.robot.contract import RobotContract
from jepa_ros.training.config import load_config

BENCHMARK = Path(__file__).parents[2] / 'benchmark'


@pytest.fixture(scope='module')
def swm():
    """Modules swm_two_room and swm_world."""
    sys.path.insert(0, str(BENCHMARK))
    try:
        import swm_two_room
        import swm_world
    finally:
        sys.path.remove(str(BENCHMARK))
    return swm_two_room, swm_world


class StraightWorld:
    """Experts that walk along x, 5 px a step, one way or the other; every third episode stays in its room."""

    def __init__(self, track, steps: int):
        self.track_of, self.steps = track, steps

    def track(self, seed: int, noise: float):
        steps = self.steps if seed % 3 else 3
        x = 30 + 5 * np.arange(steps + 1, dtype=np.float32)
        x = x if seed % 2 else 224 - x
        return self.track_of(seed, np.stack([x, np.full_like(x, 49)], 1), np.zeros((steps, 2), np.float32))


def test_goals_are_states_a_given_number_of_steps_later_in_the_same_episode(swm):
    world = StraightWorld(swm[1].Track, 30)
    problems = swm[1].offset_problems(world, 20, 25, 3.0, seed=1)
    assert len(problems) == 20
    assert all(abs(p.goal[0] - p.start[0]) == 125 for p in problems)
    assert len({(p.seed, float(p.start[0])) for p in problems}) == 20


def test_the_same_seed_gives_the_same_problems(swm):
    world = StraightWorld(swm[1].Track, 30)
    first, again = (swm[1].offset_problems(world, 5, 25, 3.0, seed=7) for _ in range(2))
    assert [(p.seed, *p.start, *p.goal) for p in first] == [(p.seed, *p.start, *p.goal) for p in again]


def test_episodes_too_short_for_the_offset_are_refused_in_one_line(swm):
    with pytest.raises(WorldError, match='lower the offset'):
        swm[1].offset_problems(StraightWorld(swm[1].Track, 20), 5, 25, 3.0, seed=1)


def test_opposite_goals_lie_behind_the_wall_and_not_in_the_doorway(swm):
    problems = swm[1].opposite_problems(StraightWorld(swm[1].Track, 30), 10, seed=3)
    wall = swm[1].WALL_PX
    assert all((p.start[0] < wall) != (p.goal[0] < wall) for p in problems)
    assert all(abs(p.goal[0] - wall) > 12 for p in problems)


def test_success_is_averaged_over_sets_of_problems(swm):
    attempt = swm[0].Attempt
    sets = [[attempt(True, 10, (2.0, 4.0)), attempt(False, 50, (3.0,))], [attempt(True, 20, ()), attempt(True, 30, ())]]
    row = swm[0].figures('swm_two_room', 'hjepa', sets, 12.5)
    assert (row['success_mean'], row['success_std'], row['seeds'], row['episodes']) == (0.75, 0.25, 2, 4)
    assert (row['plan_ms_p50'], row['steps_to_goal_p50'], row['train_minutes']) == (3.0, 20.0, 12.5)


def test_without_the_package_the_error_says_what_to_install(swm, monkeypatch):
    monkeypatch.setitem(sys.modules, 'stable_worldmodel', None)
    with pytest.raises(WorldError, match='pip install stable-worldmodel'):
        swm[1].TwoRoom()


def test_the_configuration_is_for_the_contract_and_perception_gets_the_picture_alone(swm):
    contract = RobotContract.load(swm[1].CONTRACT)
    config = load_config(str(swm[0].CONFIG))
    assert list(config.perception.sensors) == [o.key for o in contract.observations] == ['view']
    assert (contract.action_low == -1).all() and (contract.action_high == 1).all()
