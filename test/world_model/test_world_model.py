"""The world-model organ: SI units, surprise, imagination."""
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import numpy as np
import pytest
import tiny
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.world_model.world_model import WorldModel


@pytest.fixture(scope='module')
def agent():
    return tiny.agent(3)


@pytest.fixture
def s(agent):
    return agent.perception.encode({'overhead': tiny.image()}).levels[0]


def test_limits_of_the_contract_are_plus_and_minus_one(agent):
    scaled = agent.world_model.scale_actions(np.array([[-0.5, -2.0], [1.0, 2.0], [0.25, 0.0]]))
    assert torch.allclose(scaled, torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]), atol=1e-6)


@tiny.invariant
@given(hnp.arrays(np.float32, (3, 2), elements=st.floats(-4, 4, width=32)))
def test_scaling_there_and_back_changes_nothing(actions):
    world = tiny.agent().world_model
    assert np.allclose(world.unscale_actions(world.scale_actions(actions)), actions, atol=1e-5)


def test_a_step_of_a_level_lasts_its_period(agent):
    assert [agent.world_model.step_period_s(level) for level in range(agent.world_model.levels)] == \
        pytest.approx([0.1, 0.4, 0.8])


def test_prediction_is_the_first_state_of_the_imagination(agent, s):
    actions = np.array([[0.3, -1.0], [0.1, 0.2]], np.float32)
    imagined = agent.world_model.imagine(0, s, actions)
    assert torch.allclose(imagined.states[0], agent.world_model.predict(s, actions[0]), atol=1e-6)
    assert imagined.states.shape == (2, 6) and imagined.readouts.shape == (2, 2)


def test_a_higher_level_imagines_with_macro_actions(agent, s):
    imagined = agent.world_model.imagine(1, s, torch.zeros(5, 3))
    assert imagined.states.shape == (5, 6)
    assert torch.allclose(imagined.readouts, agent.networks.world_model.readouts(imagined.states))


def test_surprise_is_one_for_a_typical_error(agent, s):
    """LeCun §8.2.2: common sense notices what violates the prediction; its unit is the error in training."""
    world, action = agent.world_model, np.array([0.3, -1.0], np.float32)
    agent.networks.world_model.levels[0].typical_error.fill_(0.25)
    foreseen = world.predict(s, action)
    assert world.surprise(s, action, foreseen + 0.5) == pytest.approx(1.0, rel=1e-4)
    assert world.surprise(s, action, foreseen + 5.0) == pytest.approx(100.0, rel=1e-4)
    assert world.surprise(s, action, foreseen) < 1e-9


def test_surprise_takes_an_encoded_state_too(agent, s):
    state, action = agent.perception.encode({'overhead': tiny.image(2)}), np.zeros(2, np.float32)
    assert agent.world_model.surprise(s, action, state) == agent.world_model.surprise(s, action, state.levels[0])


def test_what_a_latent_explains_does_not_surprise():
    latent = tiny.LevelConfig.model_validate({'width': 16, 'latent': {'kind': 'discrete', 'dim': 4}})
    world = tiny.agent((latent,)).world_model
    s, action, jepa = torch.randn(6), np.zeros(2, np.float32), world.model.levels[0]
    z = jepa.latent.latent.realise(jepa.latent.latent.candidates()[2])
    after = jepa.predict(s, world.scale_actions(action), z)
    assert world.surprise(s, action, after) < world.surprise(s, action, after + 1)
    assert world.imagine(0, s, action[None]).latents.shape == (1, 4)


def test_a_model_without_an_ego_model_says_so(agent):
    with pytest.raises(ConfigError, match='has no ego model'):
        agent.world_model.imagine_ego(np.zeros(3), np.zeros((1, 2)))


@pytest.mark.parametrize('level, shape, line', [
    (3, (4, 2), 'level 3 does not exist: this model has levels 0 to 2'),
    (-1, (4, 2), 'level -1 does not exist'),
    (0, (4, 3), r'actions have shape \(4, 3\): level 0 takes \(horizon ≥ 1, 2\)'),
    (1, (4, 2), r'level 1 takes \(horizon ≥ 1, 3\)'),
    (0, (0, 2), r'actions have shape \(0, 2\)'),
    (0, (4, 1), r'actions have shape \(4, 1\)'),    # would broadcast
    (0, (2,), r'actions have shape \(2,\)'),
])
def test_what_cannot_be_imagined_is_refused_in_one_line(agent, s, level, shape, line):
    with pytest.raises(ConfigError, match=line) as refused:
        agent.world_model.imagine(level, s, np.zeros(shape, np.float32))
    assert '\n' not in str(refused.value)


def test_a_state_of_another_model_is_refused(agent):
    with pytest.raises(ConfigError, match=r'state has shape \(9,\): level 0 of this model takes \(6,\)'):
        agent.world_model.imagine(0, torch.zeros(9), np.zeros((1, 2), np.float32))


def test_actions_that_do_not_fit_the_robot_s_number_of_actions_are_refused(agent, s):
    with pytest.raises(ConfigError, match='level 0 takes'):
        agent.world_model.imagine(0, s, np.zeros((3, 5), np.float32))


def limited(*max_rate: float) -> WorldModel:
    """Actions of −0.5…1 and −2…2, every 0.1 s."""
    low, high, rates = np.array([-0.5, -2.0]), np.array([1.0, 2.0]), np.array(max_rate) if max_rate else None
    return WorldModel(tiny.integrator_model(1), 0.1, low, high, ['vx_mps', 'vy_mps'], [], rates)


def test_the_largest_change_of_a_control_step_is_in_scaled_actions():
    change = limited(3.0, 10.0).max_change
    assert change.tolist() == pytest.approx([0.4, 0.5])
    world = limited()
    apart = world.scale_actions(np.array([0.3, 1.0])) - world.scale_actions(np.array([0.0, 0.0]))
    assert torch.allclose(apart, change)


@pytest.mark.parametrize('rates', [(), (15.0, 40.0), (1e9, 1e9), (np.inf, np.inf)])
def test_a_robot_that_may_do_anything_at_once_has_no_largest_change(rates):
    assert limited(*rates).max_change is None


def test_one_slow_action_is_enough_for_a_limit():
    assert limited(np.inf, 10.0).max_change.tolist() == [np.inf, 0.5]
