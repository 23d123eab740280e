"""One level: action encoder, prediction, rollout."""
from hypothesis import given
from hypothesis import strategies as st
import tiny
import torch

from jepa_ros.world_model.jepa import ActionEncoder, JEPA


def test_level_zero_is_conditioned_on_the_robot_s_own_action():
    actions = torch.randn(3, 1, 2)
    assert torch.equal(ActionEncoder(2, 1, None)(actions), actions[:, 0])


def test_a_macro_action_encodes_all_actions_of_a_period_in_order():
    torch.manual_seed(0)
    encoder = ActionEncoder(2, 4, 3)
    actions = torch.randn(5, 4, 2)
    assert encoder(actions).shape == (5, 3)
    assert not torch.allclose(encoder(actions), encoder(actions.flip(1)))


@tiny.invariant
@given(st.integers(0, 10_000))
def test_prior_bounds_are_the_2nd_and_98th_percentile_of_training(seed):
    """Macro-actions far from the training ones make a hierarchy worse than none: a planner must not sample them."""
    sample = torch.randn(500, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor([1.0, 2.0, 0.1])
    encoder = ActionEncoder(2, 4, 3)
    encoder.fit_prior(sample)
    outside = ((sample < encoder.low) | (sample > encoder.high)).float().mean(0)
    assert torch.allclose(outside, torch.full((3,), 0.04), atol=0.005)
    assert torch.allclose(encoder.prior_mean, sample.mean(0), atol=1e-5)
    assert torch.allclose(encoder.prior_std, sample.std(0), atol=1e-5)
    assert bool((encoder.low < encoder.prior_mean).all() and (encoder.prior_mean < encoder.high).all())


def test_rollout_is_the_prediction_repeated():
    """LeCun eq. 12, applied recurrently (Fig. 4)."""
    torch.manual_seed(0)
    jepa = JEPA(5, 2, width=8)
    s, actions = torch.randn(3, 5), torch.randn(3, 4, 2)
    states = jepa.rollout(s, actions)
    assert states.shape == (3, 4, 5)
    for step in range(4):
        s = jepa.predict(s, actions[:, step])
        assert torch.equal(states[:, step], s)


def test_gradients_of_the_last_state_reach_the_first_action():
    torch.manual_seed(0)
    jepa = JEPA(5, 2, width=8)
    actions = torch.zeros(6, 2, requires_grad=True)
    jepa.rollout(torch.randn(5), actions)[-1].sum().backward()
    assert float(actions.grad[0].abs().max()) > 0
