"""Goals from recordings."""
import numpy as np
import pytest
import tiny

from jepa_ros.errors import BagError, ConfigError
from jepa_ros.evaluation.gym_goals import Recorded, recorded_goals, store_goal
from jepa_ros.evaluation.gym_robot import make_robot
from jepa_ros.robot.dataset.build import build
from jepa_ros.robot.episode import Episode

from ..training.test_gather import record
from . import point_env


@pytest.fixture(autouse=True)
def point():
    with point_env.registered():
        yield


def recorded(steps=20):
    """Episodes of a point that goes to the right."""
    place = np.stack([np.linspace(-0.5, 0.5, steps), np.full(steps, 0.3)], 1).astype(np.float32)
    return Episode('e', 'bags/a', np.arange(steps) * 100_000_000, {'achieved_goal': place, 'place': place},
                   np.zeros((steps, 2), np.float32), place)


def test_a_recorded_start_is_restored_by_an_option_of_reset():
    made_for = point_env.contract(without=('desired_goal',))
    agent, robot = point_env.agent(made_for), make_robot(point_env.ID, made_for)
    start = Recorded(recorded(), 4, 10)
    shown = store_goal(agent, robot, 0, start, ('state', 'place'))
    assert shown.notes == () and robot.percept()['place'] == pytest.approx(start.percept(4)['place'], abs=1e-5)
    assert shown.readouts == {'x_m': pytest.approx(float(start.percept(14)['place'][0])), 'y_m': pytest.approx(0.3)}
    ignored = store_goal(agent, robot, 0, start, ('stat', 'place'))
    assert 'reset with the option stat does not lead to the recorded percept' in ignored.notes[0]
    elsewhere = store_goal(agent, robot, 0, start, None)
    assert 'episodes begin where reset puts them' in elsewhere.notes[0]
    with pytest.raises(ConfigError, match="--start-option state=pose: the recording has no observation 'pose'; it has"):
        store_goal(agent, robot, 0, start, ('state', 'pose'))


def test_goals_come_from_bags_and_stores_and_are_the_same_for_a_seed(tmp_path):
    bags = [record(tmp_path / name, steps, 0.25) for name, steps in (('long', 40), ('longer', 60), ('short', 9))]
    store = build(bags, tmp_path / 'store', tiny.contract(), workers=1).store.path
    from_bags, from_store, other = (recorded_goals(tiny.agent(), sources, 20, 12, seed)
                                    for sources, seed in ((bags, 3), ([store], 3), (bags, 4)))

    def told(goals):
        return [(len(g.episode), g.start) for g in goals]
    assert told(from_bags) == told(from_store) != told(other)
    assert {length for length, _ in told(from_bags)} == {len(g.episode) for g in from_bags if len(g.episode) > 20}
    for goal in from_bags:
        assert np.array_equal(goal.percept(goal.start + 20)['overhead'],
                              goal.episode.percepts['overhead'][goal.start + 20])


def test_episodes_that_are_too_short_are_named_with_what_is_needed(tmp_path):
    bag = record(tmp_path / 'day', 9, 0.25)
    with pytest.raises(ConfigError, match=r'day: a goal 25 steps ahead needs episodes of 26 steps, the longest of 1 '
                                          r'has \d+: ask for a shorter --ahead'):
        recorded_goals(tiny.agent(), [bag], 25, 3, 0)


def test_a_store_of_another_robot_and_a_bag_that_is_missing_are_one_line(tmp_path):
    store = build([record(tmp_path / 'day', 9, 0.25)], tmp_path / 'store', tiny.contract(), workers=1).store.path
    other = point_env.agent(point_env.contract())
    with pytest.raises(ConfigError, match='store: built for robot tiny .* the model is for point_v0'):
        recorded_goals(other, [store], 2, 3, 0)
    with pytest.raises(BagError, match='nowhere'):
        recorded_goals(other, [tmp_path / 'nowhere'], 2, 3, 0)
