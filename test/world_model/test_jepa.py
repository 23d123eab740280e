"""One level: action encoder, prediction, rollout."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch

from jepa_ros.world_model.config import LevelConfig
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
    jepa = JEPA(LevelConfig(width=8), 5, 2)
    s, actions = torch.randn(3, 5), torch.randn(3, 4, 2)
    states = jepa.rollout(s, actions)
    assert states.shape == (3, 4, 5)
    for step in range(4):
        s = jepa.predict(s, actions[:, step])
        assert torch.equal(states[:, step], s)


def test_gradients_of_the_last_state_reach_the_first_action():
    torch.manual_seed(0)
    jepa = JEPA(LevelConfig(width=8), 5, 2)
    actions = torch.zeros(6, 2, requires_grad=True)
    jepa.rollout(torch.randn(5), actions)[-1].sum().backward()
    assert float(actions.grad[0].abs().max()) > 0


def latent_level(**changes) -> JEPA:
    torch.manual_seed(0)
    config = LevelConfig.model_validate({'width': 16, 'latent': {'kind': 'discrete', 'dim': 3}} | changes)
    return JEPA(config, 5, 2).eval()


def test_without_a_latent_given_the_most_probable_one_is_taken():
    jepa, s, a = latent_level(), torch.randn(4, 5), torch.randn(4, 2)
    jepa.latent.latent.fitted.copy_(torch.tensor([0.1, 0.1, 0.8]).log())
    first = jepa.predict(s, a)
    assert any(torch.equal(first, jepa.predict(s, a, z.expand(4, -1))) for z in jepa.latent.latent.candidates())


def test_drawn_futures_differ_where_the_latent_matters():
    """LeCun §4.8, Fig. 17: each draw of z is one future."""
    jepa, s, a = latent_level(), torch.randn(2, 5), torch.randn(2, 6, 2)
    futures = jepa.imagine(s, a, 16, torch.Generator().manual_seed(0))
    assert futures.shape == (2, 16, 6, 5) and bool(futures.std(1).any())


def test_the_energy_of_a_pair_is_the_least_over_the_latent():
    """LeCun eq. 5."""
    jepa, s, a, target = latent_level(), torch.randn(4, 5), torch.randn(4, 2), torch.randn(4, 5)
    pairs = jepa.latent.energy(jepa.predict, s, a, target)
    over = pairs.over(jepa.latent.latent.candidates())
    jepa.latent.method = 'exact'
    assert torch.allclose(jepa.energy(s, a, target), over.amin(-1), atol=1e-6)


def test_the_energy_of_a_pair_is_the_same_each_time():
    """Surprise must not depend on how often it was asked for."""
    jepa = latent_level(latent={'kind': 'gaussian', 'dim': 2})
    s, a, target = torch.randn(4, 5), torch.randn(4, 2), torch.randn(4, 5)
    assert torch.equal(jepa.energy(s, a, target), jepa.energy(s, a, target))


def test_a_rollout_remembers_what_really_happened():
    jepa = JEPA(LevelConfig(predictor='transformer', width=16, options={'window': 4, 'heads': 2}), 6, 2).eval()
    s, a = torch.randn(1, 5, 6), torch.randn(1, 5, 2)
    memory = jepa.remember(s[:, :3], a[:, :3])
    looked_back = jepa.rollout(s[:, 3], a[:, 3:4], memory=memory)[:, 0]
    assert torch.allclose(looked_back, jepa.predictor.sequence(s[:, :4], a[:, :4])[:, 3], atol=1e-5)
    assert not torch.allclose(looked_back, jepa.predict(s[:, 3], a[:, 3]), atol=1e-5)


def test_macro_actions_like_those_of_training_are_not_strange_and_others_are():
    torch.manual_seed(0)
    encoder = ActionEncoder(2, 4, 3)
    sample = 2 + 0.5 * torch.randn(5000, 3)
    encoder.fit_prior(sample)
    assert float(encoder.strangeness(sample).mean()) == pytest.approx(1, abs=0.05)
    assert float(encoder.strangeness(torch.zeros(3))) > 10
    drawn = encoder.sample((1000,), torch.Generator().manual_seed(0))
    assert bool((drawn >= encoder.low).all() and (drawn <= encoder.high).all())
    assert float(encoder.strangeness(drawn).mean()) < 1.1


def test_an_ensemble_disagrees_and_a_single_predictor_does_not():
    s, a = torch.randn(4, 5), torch.randn(4, 2)
    assert bool((JEPA(LevelConfig(width=8, ensemble=3), 5, 2).disagreement(s, a) > 0).all())
    assert not bool(JEPA(LevelConfig(width=8), 5, 2).disagreement(s, a).any())
