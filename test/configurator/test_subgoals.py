"""Leading over landmarks: next subgoal, passing by, failing, near goals."""
import math
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch

from jepa_ros.configurator.configurator import Configurator
from jepa_ros.configurator.landmarks import LandmarkGraph
from jepa_ros.configurator.subgoals import Guide, Imagined, LEAST_S, SLACK
from jepa_ros.configurator.tasks import Avoid, Task
from jepa_ros.cost.cost import Cost, Goal
from jepa_ros.perception.perception import EncodedState
from jepa_ros.world_model.world_model import WorldModel


def at(x: float, y: float = 0.0) -> torch.Tensor:
    return torch.tensor([x, y])


def guide(horizon_s: float = 4.0, reach=None) -> Guide:
    """Landmarks at 0, 1, … 9 on the x axis, one second apart; and a detour over y = 5 that takes longer."""
    made = Guide(LandmarkGraph(2, 0.3), horizon_s, reach)
    made.graph.grow([(np.arange(11) * 1.0, torch.stack([at(-1), *(at(x) for x in range(10))])),
                     (np.arange(13) * 1.0, torch.stack([at(-1), at(0), *(at(x, 5) for x in range(10)), at(9)]))])
    return made


def test_the_subgoal_is_the_farthest_landmark_within_half_of_the_horizon():
    leads = guide()
    subgoal = leads.lead(at(0), at(9), 0.0)
    assert torch.allclose(subgoal, at(2)) and leads.left == 8
    assert leads.lead(at(0.4), at(9), 0.5) is subgoal


def test_to_pass_by_a_landmark_is_enough_and_the_last_leg_is_the_goal_itself():
    leads = guide()
    leads.lead(at(0), at(9), 0.0)
    assert torch.allclose(leads.lead(at(2.05), at(9), 1.0), at(4))
    assert torch.allclose(leads.lead(at(6), at(9), 2.0), at(8))     # further than asked: that counts too
    assert leads.lead(at(8), at(9), 3.0) is None and leads.left == 0


def test_a_near_goal_is_gone_for_directly():
    assert guide(horizon_s=20.0).lead(at(0), at(9), 0.0) is None
    assert Guide(LandmarkGraph(2, 0.3), 4.0).lead(at(0), at(9), 0.0) is None    # nothing is known


def test_a_subgoal_that_fails_makes_its_way_dearer_and_another_is_sought():
    leads = guide()
    leads.lead(at(0), at(9), 0.0)
    late = SLACK * 2 + LEAST_S + 0.01
    before = leads.graph.edges[1, 2]
    for number in range(1, 4):
        subgoal = leads.lead(at(0), at(9), number * late * 1.5)
    assert leads.failures == 3 and leads.graph.edges[1, 2] > before
    assert float(subgoal[1]) == 5.0     # the other way round


def test_no_subgoal_lies_where_no_plan_may_go():
    leads = guide()
    subgoal = leads.lead(at(0), at(9), 0.0, lambda s: ((s[:, 0] - 2).abs() < 0.5) & (s[:, 1] < 1))
    assert float(subgoal[1]) == 5.0


def test_what_the_model_can_reach_at_once_needs_no_landmarks():
    leads = guide(reach=lambda states, targets, near: np.full((len(states), len(targets)), 1.0))
    assert leads.lead(at(0), at(9), 0.0) is None


def test_a_memory_is_learned_from_piece_by_piece():
    trajectory = SimpleNamespace(stamps_ns=np.arange(50) * 5 * 10**8, states=torch.stack([at(x) for x in range(50)]))
    memory = SimpleNamespace(trajectories=lambda: [trajectory])
    leads = Guide(LandmarkGraph(2, 0.3), 4.0)
    leads.see(at(-7), 0.0)
    leads.remember(memory)
    pieces = 0
    while leads.work(states=20):
        pieces += 1
    assert pieces == 3 and len(leads.graph) == 51
    whole = leads.graph.edges
    assert np.isfinite(whole).sum() >= 48       # nothing is lost where pieces meet
    leads.see(at(-5), 0.5)
    leads.see(at(-3), 1.0)
    assert np.isfinite(leads.graph.edges).sum() == np.isfinite(whole).sum() + 1     # the robot itself went on


def test_the_world_model_says_what_is_near():
    model = tiny.integrator_model(1)
    world = WorldModel(model, 0.1, np.array([-1.0, -1.0]), np.array([1.0, 1.0]), ['a', 'b'], ['x_m', 'y_m'])
    seconds = Imagined(world, 1.0)(torch.zeros(1, 2), torch.tensor([[0.0, 0.0], [0.3, 0.0], [5.0, 0.0]]), 0.15)[0]
    assert seconds[0] == pytest.approx(0.1, rel=1e-5) and 0.1 <= seconds[1] <= 1.0 and math.isinf(seconds[2])


def test_the_configurator_gives_subgoals_to_the_actor_and_judges_by_the_goal():
    model = tiny.integrator_model(1)
    leads = guide()
    tasks = {'far': Task(landmarks=True), 'reach': Task(), 'kept_out': Task(landmarks=True, avoid=[
        Avoid(centre={'x_m': 1e6}, radius=1.0)])}
    configurator = Configurator(Cost(model, ['x_m', 'y_m']), tasks, 0.01, guide=leads)
    goal = Goal(levels=(at(9),))

    def seen(x: float) -> EncodedState:
        return EncodedState((at(x),), {'x_m': x, 'y_m': 0.0})
    first = configurator.start(goal, 'far', state=seen(0), now_s=0.0)
    assert torch.allclose(first.goal.levels[0], at(2))
    progress = configurator.observe(seen(2), 1.0)
    assert progress.energy == pytest.approx(49 / 2) and progress.landmarks == 6
    assert configurator.settings.version > first.version and torch.allclose(configurator.settings.goal.levels[0], at(4))
    assert configurator.observe(seen(9), 2.0).outcome == 'success'
    assert configurator.start(goal, 'reach', state=seen(0)).goal is goal
    assert torch.allclose(configurator.start(goal, 'kept_out', state=seen(0)).goal.levels[0], at(2))
