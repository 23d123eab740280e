"""Goals that cannot be reached are refused before the robot sets off."""
import pytest
import tiny
import torch

from jepa_ros.cost.cost import Cost, Goal, Region
from jepa_ros.errors import CostError
from jepa_ros.robot.drives import Drives, Range


def cost(drives: Drives | None = None) -> Cost:
    """Two numbers that are read out as 1 + 0.5 x and 2 + 4 y."""
    model = tiny.integrator_model(2)
    for jepa in model.levels:
        jepa.readout = torch.nn.Identity()
    model.readout_mean.copy_(torch.tensor([1.0, 2.0]))
    model.readout_std.copy_(torch.tensor([0.5, 4.0]))
    return Cost(model, ['x_m', 'y_m'], None, drives)


def at(x: float, y: float, **readouts: float) -> Goal:
    return Goal(levels=(torch.tensor([x, y]),), readouts=readouts)


DRIVES = Drives(collision=[Range(readout='x_m', low=0.0)], limits=[Range(readout='y_m', low=-1.0, high=3.0)])


@pytest.mark.parametrize('goal, regions, line', [
    (at(0, 0, x_m=1.6), (), 'the goal state reads x_m = 1, but asked is also x_m = 1.6: they exclude each other'),
    (at(0, 0, y_m=-2.5), (), 'the goal state reads y_m = 2, but asked is also y_m = -2.5'),
    (at(0, 0), [Region({'x_m': 1.2}, 0.3)],
     r'the goal state \(x_m = 1\) lies inside region 1 to avoid \(centre x_m = 1.2, radius 0.3\): change one of them'),
    (Goal(readouts={'x_m': 1.0, 'y_m': 2.5}), [Region({'x_m': 5.0}, 1.0), Region({'x_m': 1.0, 'y_m': 2.0}, 1.0)],
     r'the goal \(x_m = 1, y_m = 2.5\) lies inside region 2 to avoid \(centre x_m = 1, y_m = 2, radius 1\)'),
    (Goal(readouts={'x_m': 1.0, 'y_m': 1.5}), [Region({'x_m': 'y_m'}, 1.0)], r'inside region 1 .*centre x_m = y_m'),
    (Goal(readouts={'x_m': -0.1}), (), r'the goal \(x_m = -0.1\) lies outside 0 … inf, drives.collision of the robot '
     'contract for x_m: change one of them'),
    (Goal(readouts={'y_m': 3.5}), (), r'the goal \(y_m = 3.5\) lies outside -1 … 3, drives.limits'),
    (at(-3, 0), (), r'the goal state \(x_m = -0.5\) lies outside 0 … inf, drives.collision'),
    (at(0, 1), (), r'the goal state \(y_m = 6\) lies outside -1 … 3, drives.limits'),
])
def test_what_contradicts_is_named_on_both_sides_in_one_line(goal, regions, line):
    with pytest.raises(CostError, match=line) as refused:
        cost(DRIVES).make_settings(goal, None, regions)
    assert '\n' not in str(refused.value)


@pytest.mark.parametrize('goal, regions', [
    (at(0, 0, x_m=1.3), ()),                                            # within what readouts know
    (at(0, 0), [Region({'x_m': 1.5}, 0.4)]),
    (at(0, 0), [Region({'x_m': 1.29}, 0.3)]),                           # at the border, as far as can be told
    (at(0, 0), [Region({'x_m': 'y_m'}, 5.0)]),                          # what moves may be elsewhere then
    (Goal(readouts={'x_m': 1.0}), [Region({'x_m': 1.0, 'y_m': 2.0}, 1.0)]),     # y_m is open
    (Goal(readouts={'x_m': 1.0}), [Region({'x_m': 'y_m'}, 1.0)]),
    (Goal(readouts={'x_m': 0.0, 'y_m': 3.0}), ()),
    (at(0, 0.25), ()),                                                  # at the limit
    (None, [Region({'x_m': 1.0}, 9.0)]),
])
def test_what_can_be_is_not_refused(goal, regions):
    assert cost(DRIVES).make_settings(goal, None, regions)


def test_the_goal_of_every_problem_of_a_batch_is_judged():
    goals = Goal(levels=(torch.tensor([[0.0, 0.0], [9.0, 0.0]]),))
    with pytest.raises(CostError, match=r'the goal state \(x_m = 5.5\) lies inside region 1'):
        cost().make_settings(goals, None, [Region({'x_m': 5.5}, 0.1)])
