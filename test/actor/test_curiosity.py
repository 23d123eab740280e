"""Curiosity goes where its memory has no states."""
import numpy as np
import pytest
import torch

from jepa_ros.actor.curiosity import Curiosity
from jepa_ros.agent import Agent
from jepa_ros.errors import ConfigError
from jepa_ros.perception.perception import EncodedState
from jepa_ros.robot.contract import RobotContract


@pytest.fixture(scope='module')
def agent():
    return Agent.create(RobotContract.load('two_rooms'), seed=0)


@pytest.fixture
def curiosity(agent):
    return Curiosity(agent.world_model, np.zeros(2), seed=1, candidates=16, horizon_s=1.0)


def state(agent, value: float) -> EncodedState:
    return EncodedState(levels=(torch.full((agent.networks.world_model.config.dim,), value),), readouts={})


def test_actions_stay_within_the_limits_and_are_those_of_the_seed(agent, curiosity):
    again = Curiosity(agent.world_model, np.zeros(2), seed=1, candidates=16, horizon_s=1.0)
    low, high = agent.contract.action_low, agent.contract.action_high
    for n in range(12):
        for one in (curiosity, again):
            one.see(n, state(agent, n / 10))
        action = curiosity.next()
        np.testing.assert_array_equal(action, again.next())
        assert action.shape == (2,) and (action >= low - 1e-6).all() and (action <= high + 1e-6).all()


def test_before_the_first_state_it_stands_still(curiosity):
    assert curiosity.next().tolist() == [0.0, 0.0]


def test_novelty_is_the_distance_to_the_nearest_remembered_states(agent, curiosity):
    for n in range(10):
        curiosity.see(n, state(agent, 0.0))
    near, far = torch.full((64,), 0.1), torch.full((64,), 2.0)
    novelty = curiosity.novelty(torch.stack([near, far]))
    assert novelty.tolist() == pytest.approx([0.8, 16.0], rel=1e-4)     # √64 · 0.1 and √64 · 2


def test_it_follows_the_sequence_whose_predicted_end_is_farthest_from_memory(agent, curiosity):
    start = state(agent, 0.0)
    for n in range(20):
        curiosity.see(n, start)
    actions = torch.as_tensor(curiosity.choose(start.levels[0]))
    others = Curiosity(agent.world_model, np.zeros(2), seed=1, candidates=16, horizon_s=1.0)._random_actions()
    ends = [agent.world_model.imagine(0, start.levels[0], agent.world_model.unscale_actions(a)).states[-1]
            for a in others]
    chosen = agent.world_model.imagine(0, start.levels[0], actions).states[-1]
    assert curiosity.novelty(chosen[None])[0] >= curiosity.novelty(torch.stack(ends)).max() - 1e-4


def test_a_new_episode_drops_the_plan_and_keeps_the_memory(agent, curiosity):
    curiosity.see(0, state(agent, 0.0))
    curiosity.next()
    curiosity.start(1)
    assert len(curiosity) == 1 and curiosity._actions == []


def test_a_state_that_is_not_finite_is_refused(agent, curiosity):
    with pytest.raises(ConfigError, match='state is not finite'):
        curiosity.see(0, state(agent, float('nan')))
