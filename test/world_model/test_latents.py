"""Kinds of latents: regulariser, prior, sampling, information."""
import math

from hypothesis import given
from hypothesis import strategies as st
from no_waiting import NoWaiting
import pytest
from tiny import invariant
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.world_model.latents import Discrete, Gaussian, LATENTS, LowDimensional, NoLatent, RESOLUTION, Sparse

KINDS = ['discrete', 'gaussian', 'low_dimensional', 'none', 'sparse']
DRAWS = 40_000


def build(name, dim=3, **arguments):
    return LATENTS.get(name)(**({} if name == 'none' else {'dim': dim}), **arguments)


def draws(latent, prior=None, beta=1.0, count=DRAWS):
    return latent.sample((count,), prior, beta, torch.Generator().manual_seed(0))


def slope(latent, code, prior=None):
    code = code.clone().requires_grad_()
    return torch.autograd.grad(latent.regulariser(code, prior).sum(), code)[0]


def test_all_kinds_of_the_paper_are_there():
    """LeCun §4.5: discretisation, dimensionality, sparsification, fuzzyfication; and none."""
    assert LATENTS.names() == KINDS


@pytest.mark.parametrize('name', KINDS)
def test_shapes_of_samples_codes_and_regulariser(name):
    latent = build(name)
    assert latent.sample((5, 2)).shape == (5, 2, latent.dim)
    raw = torch.randn(5, 2, latent.code_dim)
    code = latent.code(raw)
    assert code.shape == raw.shape and latent.regulariser(code).shape == (5, 2)
    assert latent.realise(code).shape == (5, 2, latent.dim)
    assert latent.divergence(raw, code).shape == (5, 2)
    assert latent.proposals(raw, 2).shape[:2] == (5, 2) and latent.proposals(raw, 2).shape[-1] == latent.code_dim
    assert latent.bits(code.flatten(0, 1)).shape == ()


@invariant
@given(st.floats(0, 2), st.integers(0, 10_000))
def test_slope_of_the_sparse_regulariser_is_its_weight_towards_zero(weight, seed):
    """LeCun §4.5: R(z) = α Σ |z_i|."""
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
    latent = Sparse(3, weight=weight)
    assert torch.allclose(latent.regulariser(z), weight * z.abs().sum(-1))
    assert torch.allclose(slope(latent, z), weight * z.sign())


@invariant
@given(st.floats(0, 2), st.integers(0, 10_000))
def test_slope_of_the_noisy_regulariser_pulls_the_mean_to_zero_and_the_deviation_to_one(weight, seed):
    """d KL/d μ = μ, d KL/d log σ = σ² − 1 (Dawid §4.2.2)."""
    code = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
    mean, log_std = code.chunk(2, -1)
    expected = weight * torch.cat([mean, torch.exp(2 * log_std) - 1], -1)
    assert torch.allclose(slope(Gaussian(3, weight=weight), code), expected, atol=1e-5)
    assert float(Gaussian(3, weight=weight).regulariser(Gaussian(3).origin())) == 0.0


def test_regulariser_of_a_low_dimensional_latent_is_a_box():
    latent = LowDimensional(2)
    assert latent.regulariser(torch.tensor([[0.9, -1.0], [0.0, 1.1]])).tolist() == [0.0, math.inf]
    assert torch.equal(latent.proximal(torch.tensor([3.0, -0.2]), torch.ones(1)), torch.tensor([1.0, -0.2]))


def test_regulariser_of_a_discrete_latent_is_the_code_length_of_its_value():
    prior = torch.tensor([2.0, 0.0, -1.0])
    latent = Discrete(3, weight=0.5)
    assert torch.allclose(latent.regulariser(torch.eye(3)), torch.full((3,), 0.5 * math.log(3)))
    assert torch.allclose(latent.regulariser(torch.eye(3), prior), -0.5 * torch.log_softmax(prior, -1))


@invariant
@given(st.floats(0.01, 2), st.floats(0.01, 2), st.floats(-3, 3), st.floats(-3, 3))
def test_shrinkage_minimises_the_l1_norm_plus_the_distance(weight, rate, value, other):
    """The definition of a proximal step, against any other value."""
    latent, z = Sparse(1, weight=weight), torch.tensor([value])

    def charge(code):
        return float(latent.regulariser(code)) + float((code - z).square().sum()) / (2 * rate)
    assert charge(latent.proximal(z, torch.tensor([rate]))) <= charge(torch.tensor([other])) + 1e-5


@pytest.mark.parametrize('beta', [0.5, 1.0, 3.0])
def test_samples_follow_the_gibbs_distribution_of_the_regulariser(beta):
    """LeCun eq. 23, P(z) ∝ exp(−β R(z)/weight): its moments for every kind."""
    gaussian = draws(Gaussian(3), beta=beta)
    assert torch.allclose(gaussian.mean(0), torch.zeros(3), atol=0.03)
    assert torch.allclose(gaussian.var(0), torch.full((3,), 1 / beta), rtol=0.05)
    sparse = draws(Sparse(3), beta=beta)
    assert torch.allclose(sparse.abs().mean(0), torch.full((3,), 1 / beta), rtol=0.05)      # Laplace of scale 1/β
    assert torch.allclose(sparse.var(0), torch.full((3,), 2 / beta ** 2), rtol=0.1)
    flat = draws(LowDimensional(3), beta=beta)
    assert torch.allclose(flat.var(0), torch.full((3,), 1 / 3), rtol=0.05)
    assert float(flat.abs().max()) <= 1
    prior = torch.tensor([2.0, 0.0, -1.0])
    discrete = draws(Discrete(3), prior, beta)
    assert torch.allclose(discrete.mean(0), torch.softmax(beta * prior, -1), atol=0.01)
    assert torch.equal(discrete.sum(-1), torch.ones(DRAWS))


def test_samples_follow_a_prior_that_the_state_decides():
    gaussian = draws(Gaussian(2), torch.tensor([1.0, -3.0, math.log(0.5), math.log(2.0)]))
    assert torch.allclose(gaussian.mean(0), torch.tensor([1.0, -3.0]), atol=0.05)
    assert torch.allclose(gaussian.std(0), torch.tensor([0.5, 2.0]), rtol=0.03)
    sparse = draws(Sparse(2), torch.tensor([math.log(0.2), math.log(3.0)]))
    assert torch.allclose(sparse.abs().mean(0), torch.tensor([0.2, 3.0]), rtol=0.03)


def test_samples_are_the_same_for_the_same_seed_and_noise():
    for name in KINDS:
        latent = build(name)
        assert torch.equal(draws(latent, count=7), draws(latent, count=7))
        noise = latent.noise((4,), torch.Generator().manual_seed(3))
        assert torch.equal(latent.draw(noise), latent.draw(noise))


def test_an_untrained_state_prior_is_the_fixed_one_and_training_reaches_it():
    for kind in (Discrete, Sparse, Gaussian):
        latent = kind(3, weight=0.5, conditions=6)
        s, a = torch.randn(5, 4), torch.randn(5, 2)
        prior = latent.prior(s, a)
        assert prior.shape == (5, latent.prior_dim)
        code = latent.code(torch.randn(5, latent.code_dim))
        none = torch.zeros(5, latent.code_dim)      # R may differ by a constant
        extra = latent.regulariser(code, prior) - latent.regulariser(none, prior)
        assert torch.allclose(extra, latent.regulariser(code) - latent.regulariser(none), atol=1e-6)
        latent.regulariser(code, prior).sum().backward()
        assert float(latent.prior_net[-1].bias.grad.abs().max()) > 0


def test_a_learned_discrete_prior_becomes_the_frequencies_of_the_values():
    torch.manual_seed(0)
    latent = Discrete(3, weight=1.0, conditions=2, width=8)
    s, a = torch.zeros(100, 1), torch.zeros(100, 1)
    codes = torch.eye(3)[torch.tensor([0] * 60 + [1] * 30 + [2] * 10)]
    optimiser = torch.optim.Adam(latent.parameters(), 0.05)
    for _ in range(150):
        optimiser.zero_grad()
        latent.regulariser(codes, latent.prior(s, a)).mean().backward()
        optimiser.step()
    assert torch.allclose(latent.log_prior(latent.prior(s, a))[0].exp(), torch.tensor([0.6, 0.3, 0.1]), atol=0.01)


def test_fitted_prior_draws_what_training_codes_were_like():
    discrete, sparse, box, gaussian = Discrete(3), Sparse(2), LowDimensional(1), Gaussian(1)
    discrete.fit_prior(torch.eye(3)[[0] * 997 + [2] * 3])
    assert torch.allclose(draws(discrete).mean(0), torch.tensor([0.997, 0.0, 0.003]), atol=0.003)
    sparse.fit_prior(torch.tensor([[2.0, 0.0], [-4.0, 0.0]]))
    spread = draws(sparse).abs().mean(0)
    assert float(spread[0]) == pytest.approx(3.0, rel=0.03) and float(spread[1]) < 1.05 * RESOLUTION
    box.fit_prior(torch.linspace(0.2, 0.6, 500).unsqueeze(-1))
    assert 0.2 <= float(draws(box).min()) < 0.22 and 0.58 < float(draws(box).max()) <= 0.6
    gaussian.fit_prior(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))          # N(2, 1) and N(0, 1): mean 1, variance 2
    assert float(draws(gaussian).mean()) == pytest.approx(1.0, abs=0.03)
    assert float(draws(gaussian).var()) == pytest.approx(2.0, rel=0.03)


def test_the_mode_is_what_training_codes_were_mostly_like_or_what_the_state_says():
    discrete, sparse, box, gaussian = Discrete(3), Sparse(2), LowDimensional(1), Gaussian(1)
    discrete.fit_prior(torch.eye(3)[[0] * 2 + [2] * 5])
    assert torch.equal(discrete.mode(), torch.eye(3)[2])
    assert torch.equal(discrete.mode(torch.tensor([[0.0, 3.0, 1.0]])), torch.eye(3)[[1]])
    sparse.fit_prior(torch.tensor([[2.0, 0.0], [-4.0, 0.0]]))
    assert torch.equal(sparse.mode(), torch.zeros(2))
    box.fit_prior(torch.linspace(0.2, 0.6, 500).unsqueeze(-1))
    assert float(box.mode()) == pytest.approx(0.4, abs=1e-3)
    gaussian.fit_prior(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    assert float(gaussian.mode()) == 1.0
    assert torch.equal(gaussian.mode(torch.tensor([[3.0, -1.0]])), torch.tensor([[3.0]]))


@invariant
@given(st.integers(0, 10_000), st.sampled_from(['discrete', 'gaussian', 'sparse']))
def test_regulariser_is_never_negative_whatever_the_state_says(seed, kind):
    """A code length: with a density alone, sharp priors would make energies, and the unit of surprise, negative."""
    g = torch.Generator().manual_seed(seed)
    latent = LATENTS.get(kind)(3, weight=0.5)
    prior = 6 * torch.randn(20, latent.prior_dim, generator=g)
    code = latent.code(torch.randn(20, latent.code_dim, generator=g), prior)
    assert bool((latent.regulariser(code, prior) >= 0).all())


def test_reading_noise_comes_with_its_negative_and_only_for_continuous_latents():
    for kind in (Gaussian, Sparse, LowDimensional):
        noise = kind(3).reading_noise((5,))
        assert noise.shape == (5, 2, 3) and torch.equal(noise[:, 0], -noise[:, 1])
    assert Discrete(3).reading_noise((5,)) is None and NoLatent().reading_noise((5,)) is None
    assert torch.allclose(Sparse(2).realise(torch.zeros(2), torch.ones(2)), torch.full((2,), RESOLUTION))
    assert torch.allclose(Gaussian(1).realise(torch.tensor([2.0, math.log(3.0)]), torch.ones(1)), torch.tensor([5.0]))


def test_unused_latents_carry_no_bits():
    assert float(Discrete(8).bits(torch.eye(8)[[3] * 50])) == 0.0
    assert float(Gaussian(4).bits(torch.zeros(50, 8))) == 0.0
    assert float(Sparse(4).bits(torch.zeros(50, 4))) == pytest.approx(0.0, abs=1e-6)
    assert float(LowDimensional(4).bits(torch.full((50, 4), 0.3))) == pytest.approx(0.0, abs=1e-5)
    assert float(NoLatent().bits(torch.zeros(50, 0))) == 0.0


@pytest.mark.parametrize('values', [2, 8, 32])
def test_a_fully_used_discrete_latent_carries_all_its_capacity(values):
    latent = Discrete(values)
    assert float(latent.bits(torch.eye(values).repeat(4, 1))) == pytest.approx(math.log2(values), abs=1e-4)
    assert latent.capacity_bits == math.log2(values)


def test_a_value_that_the_state_already_tells_carries_no_bits():
    codes = torch.eye(4).repeat(5, 1)
    assert float(Discrete(4).bits(codes, 40 * codes)) == pytest.approx(0.0, abs=1e-6)


def test_a_box_in_full_use_carries_less_than_its_capacity_and_more_than_a_third_less_variance():
    latent = LowDimensional(2)
    bits = float(latent.bits(draws(latent)))
    assert bits == pytest.approx(math.log2(1 + 1 / 3 / RESOLUTION ** 2), abs=0.05)
    assert bits < latent.capacity_bits


@pytest.mark.parametrize('name', KINDS)
def test_sampling_and_measuring_never_wait_for_the_device(name):
    latent = build(name)
    with NoWaiting():
        code = latent.code(torch.randn(64, latent.code_dim))
        latent.bits(code)
        latent.sample((64, 3), generator=torch.Generator().manual_seed(0))
        latent.proposals(torch.randn(64, latent.code_dim), 2)
        latent.regulariser(code)


def test_bad_dimensions_are_refused_in_one_line():
    with pytest.raises(ConfigError, match='latent discrete needs dim ≥ 2, not 1'):
        Discrete(1)
    with pytest.raises(ConfigError, match='latent gaussian needs dim ≥ 1, not 0'):
        Gaussian(0)
    with pytest.raises(ConfigError, match='latent none has 0 dimensions, not 3'):
        NoLatent(3)
    with pytest.raises(ConfigError, match='has no prior that a state could change'):
        LowDimensional(2, conditions=4)
    with pytest.raises(ConfigError, match=r"unknown latent 'discret' \(did you mean discrete\?\)"):
        LATENTS.get('discret')
