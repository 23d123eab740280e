"""A task's speed: no mode goes beyond a share of what the robot can do, and who is to stand still can."""
import acting
import numpy as np
import pytest
import tiny
import torch

from jepa_ros.actor.actor import PLANNED, REACTIVE
from jepa_ros.actor.arbiter import Arbiter
from jepa_ros.actor.explorer import Explorer
from jepa_ros.actor.policy import Policy
from jepa_ros.cost.cost import Goal
from jepa_ros.energy.distance import squared
from jepa_ros.errors import CostError
from jepa_ros.world_model.world_model import WorldModel

FAR = Goal(levels=(torch.tensor([9.0, -9.0]),))
SPEED = 0.3


def hasty(doubts: bool = False) -> Policy:
    made = acting.reflex(*[(1.0, -1.0)] * 4)
    if doubts:
        made.doubt = torch.nn.Linear(6, 1).requires_grad_(False)
        made.doubt.weight.zero_()
        made.doubt.bias.fill_(-5.0)
    return made


def within(actions: np.ndarray) -> bool:
    """Of the range from −0.5 to 1 and −2 to 2."""
    return bool((actions >= SPEED * acting.LOW - 1e-6).all() and (actions <= SPEED * acting.HIGH + 1e-6).all())


@pytest.mark.parametrize('method', ['cem', 'icem', 'mppi', 'gradient', 'cem_gradient', 'random_shooting', 'beam',
                                    'mcts', 'exhaustive'])
@pytest.mark.parametrize('joint', [0, 2])
def test_no_plan_goes_faster_and_a_far_goal_takes_all_that_is_allowed(method, joint):
    made = acting.actor(1, method=method, joint=joint, horizon=2, policy=hasty())
    made.configure(goal=FAR, mode='planned', budget_ms=60_000, speed=SPEED)
    for _ in range(2):      # the second has a warm start
        decision = made.act(acting.at(), previous_action=np.array([1.0, -2.0]))
        assert decision.mode == PLANNED and within(decision.actions)
    assert decision.action[0] > 0.2 and decision.action[1] < -0.4


def test_a_reflex_goes_the_same_way_more_slowly():
    made = acting.actor(policy=hasty())
    made.configure(goal=FAR, mode='reactive', speed=SPEED)
    assert np.allclose(made.act(acting.at()).actions, SPEED * np.array([1.0, -2.0]), atol=1e-5)


def test_mode_1_may_drive_alone_at_any_speed():
    made = acting.actor(policy=hasty(doubts=True))
    made._arbiter = Arbiter(0.5)
    made.configure(goal=FAR, budget_ms=60_000, speed=SPEED)
    decision = made.act(acting.at())
    assert decision.mode == REACTIVE and decision.why.startswith('Mode-1: sure') and within(decision.actions)


@pytest.mark.parametrize('mode', ['planned', 'reactive'])
def test_ways_out_of_an_impasse_are_no_faster(mode):
    made = acting.actor(1, policy=acting.reflex(*[(0.0, 0.0)] * 4))
    made._explorer = Explorer(squared, made._world.model.levels[0].rollout, 2, 4)
    made._world.model.levels[0].action_map.zero_()      # whatever it does, it stays where it is
    made.configure(goal=FAR, mode=mode, budget_ms=60_000, speed=SPEED)
    decisions = [made.act(acting.at()) for _ in range(30)]
    assert any('impasse' in decision.degradation for decision in decisions)
    assert all(within(decision.actions) for decision in decisions)


@pytest.mark.parametrize('low, high, rest', [
    ((-0.5, -2.0), (1.0, 2.0), (0.0, 0.0)), ((0.0, 0.2), (0.5, 1.0), (0.0, 0.2)),
    ((-1.0, -1.0), (-0.3, 0.0), (-0.3, 0.0))])
def test_rest_is_no_motion_or_the_least_and_slowing_leads_there(low, high, rest):
    world = WorldModel(tiny.integrator_model(1), 0.1, np.array(low), np.array(high), ['a', 'b'], ['x_m', 'y_m'])
    assert np.allclose(world.unscale_actions(world.rest), rest, atol=1e-6)
    for value in (-1.0, 0.0, 1.0):
        asked = torch.full((3, 2), value)
        slow = world.unscale_actions(world.slowed(asked, SPEED))
        assert np.allclose(slow, rest + SPEED * (world.unscale_actions(asked) - rest), atol=1e-6)
    assert world.slowed(asked, 1.0) is asked


@pytest.mark.parametrize('speed', [0.0, -1.0, 1.1, np.nan, True, '1'])
def test_a_speed_that_is_no_share_is_refused_and_the_old_settings_stay(speed):
    made = acting.ready()
    before = made._settings
    with pytest.raises(CostError, match='speed is .* above 0 and at most 1'):
        made.configure(goal=FAR, speed=speed)
    assert made._settings is before
