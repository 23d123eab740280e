"""Free energies and the Gibbs distribution."""
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant
import torch

from jepa_ros.energy.free_energy import (
    draw,
    energy_of,
    gibbs,
    gibbs_density,
    marginalise,
    minimise,
    variational,
)

energies = st.lists(st.floats(-50, 50), min_size=1, max_size=12).map(lambda v: torch.tensor(v, dtype=torch.float64))
betas = st.floats(1e-3, 1e3)


def test_minimise_returns_the_lowest_energy_and_its_latent():
    """LeCun §4.2, eq. 4–5: ž = argmin E(x, y, z), F(x, y) = E(x, y, ž)."""
    free, latent = minimise(torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, -1.0]]))
    assert free.tolist() == [1.0, -1.0]
    assert latent.tolist() == [1, 2]


@invariant
@given(energies, betas)
def test_marginal_free_energy_lies_between_minimum_and_mean(e, beta):
    free = float(marginalise(e, beta))
    assert float(e.min()) - 1e-9 <= free <= float(e.mean()) + 1e-9


@invariant
@given(energies)
def test_marginal_free_energy_is_the_minimum_at_zero_temperature(e):
    """Dawid §3.2: for β → ∞ marginalisation becomes minimisation; the gap is at most log N / β."""
    assert float(marginalise(e, 1e6)) == pytest.approx(float(e.min()), abs=math.log(12) / 1e6 + 1e-9)


@invariant
@given(energies)
def test_marginal_free_energy_is_the_mean_at_infinite_temperature(e):
    assert float(marginalise(e, 1e-7)) == pytest.approx(float(e.mean()), abs=1e-3)


@invariant
@given(energies, betas, st.floats(-20, 20))
def test_a_constant_added_to_all_energies_shifts_the_free_energy_alone(e, beta, constant):
    assert float(marginalise(e + constant, beta)) == pytest.approx(float(marginalise(e, beta)) + constant, abs=1e-6)
    assert torch.allclose(gibbs(e + constant, beta), gibbs(e, beta), atol=1e-6)


def test_marginal_free_energy_of_two_latents_matches_the_formula():
    """Dawid §3.2: F = −1/β log ∫ exp(−β E), the integral being a mean over the candidates."""
    expected = -1 / 2 * math.log((math.exp(-2 * 1.0) + math.exp(-2 * 3.0)) / 2)
    assert float(marginalise(torch.tensor([1.0, 3.0]), 2.0)) == pytest.approx(expected, abs=1e-6)


@invariant
@given(energies, betas)
def test_gibbs_is_a_distribution_that_prefers_lower_energies(e, beta):
    """Dawid §3.1, eq. 2."""
    p = gibbs(e, beta)
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-9)
    assert bool((p >= 0).all())
    assert float(p[e.argmin()]) == float(p.max())


def test_gibbs_ratio_is_the_boltzmann_factor():
    """Dawid §3.1, eq. 2: P(1)/P(2) = exp(−β (E1 − E2))."""
    p = gibbs(torch.tensor([1.0, 2.0]), 3.0)
    assert float(p[0] / p[1]) == pytest.approx(math.exp(3.0), rel=1e-5)


def test_gibbs_gives_no_probability_to_a_refused_candidate():
    assert gibbs(torch.tensor([1.0, math.inf, 1.0]), 1.0).tolist() == [0.5, 0.0, 0.5]


@invariant
@given(energies, betas, betas)
def test_marginal_free_energy_falls_towards_the_minimum_as_it_gets_colder(e, one, other):
    """d F_β / dβ ≤ 0 with the mean over the candidates."""
    cold, warm = max(one, other), min(one, other)
    assert float(marginalise(e, cold)) <= float(marginalise(e, warm)) + 1e-9


@invariant
@given(energies, betas)
def test_marginal_free_energy_exceeds_the_minimum_by_no_more_than_the_entropy_of_the_choice(e, beta):
    assert float(marginalise(e, beta)) <= float(e.min()) + math.log(len(e)) / beta + 1e-9


@invariant
@given(energies, betas, st.data())
def test_variational_free_energy_bounds_the_marginal_one_and_meets_it_at_the_gibbs_distribution(e, beta, data):
    """Dawid §4.2.2: expected energy plus KL divergence."""
    logits = torch.tensor(data.draw(st.lists(st.floats(-5, 5), min_size=len(e), max_size=len(e))), dtype=torch.float64)
    free = float(marginalise(e, beta))
    assert float(variational(e, torch.softmax(logits, -1), beta)) >= free - 1e-7 * max(1.0, 1 / beta)
    assert float(variational(e, gibbs(e, beta), beta)) == pytest.approx(free, abs=1e-7 * max(1.0, 1 / beta))


def test_variational_free_energy_ignores_a_refused_candidate_that_q_never_takes():
    e = torch.tensor([1.0, math.inf])
    assert float(variational(e, torch.tensor([1.0, 0.0]), 2.0)) == pytest.approx(float(marginalise(e, 2.0)), abs=1e-6)


def test_uniform_log_weights_change_nothing_and_a_certain_one_picks_its_candidate():
    e = torch.tensor([3.0, -1.0, 0.5])
    uniform = torch.full((3,), -math.log(3))
    assert float(marginalise(e, 1.7, uniform)) == pytest.approx(float(marginalise(e, 1.7)), abs=1e-6)
    assert float(marginalise(e, 1.7, torch.tensor([0.0, -math.inf, -math.inf]))) == pytest.approx(3.0, abs=1e-6)


def test_marginal_over_a_grid_is_the_integral_over_a_continuous_latent():
    """Dawid §3.2 with ∫ dz: a quadratic energy (y − z)² under a standard normal z has a closed form."""
    beta, y = 1.3, 0.7
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    log_weights = -0.5 * z.square() - 0.5 * math.log(2 * math.pi) + math.log(16 / 4000)
    spread = 1 + 1 / (2 * beta)
    expected = -(0.5 * math.log(1 / (2 * beta) / spread) - y ** 2 / (2 * spread)) / beta
    assert float(marginalise((y - z).square(), beta, log_weights)) == pytest.approx(expected, abs=1e-6)


def test_weighted_draws_from_a_proposal_give_the_same_free_energy_as_the_prior():
    """−1/β log mean p/q exp(−β E) is the same for any proposal q, up to the noise of sampling."""
    torch.manual_seed(0)
    z = 0.5 + 1.5 * torch.randn(200_000, dtype=torch.float64)
    log_p, log_q = -0.5 * z.square(), -0.5 * ((z - 0.5) / 1.5).square() - math.log(1.5)
    free = float(marginalise((0.7 - z).square(), 1.3, log_p - log_q - math.log(len(z))))
    spread = 1 + 1 / 2.6
    assert free == pytest.approx(-(0.5 * math.log(1 / 2.6 / spread) - 0.49 / (2 * spread)) / 1.3, abs=5e-3)


@invariant
@given(energies, st.floats(0.01, 10))
def test_gibbs_gives_back_the_probabilities_their_energies_were_made_from(e, beta):
    p = torch.softmax(e, -1)
    assert torch.allclose(gibbs(energy_of(p, beta), beta), p, atol=1e-9)


def test_gibbs_density_integrates_to_one_and_matches_the_normal():
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    density = gibbs_density(0.5 * z.square(), 1.0, 16 / 4000)
    assert float(density.sum() * 16 / 4000) == pytest.approx(1.0, abs=1e-9)
    assert float(density[2000]) == pytest.approx(1 / math.sqrt(2 * math.pi), abs=1e-6)


def test_draws_follow_the_gibbs_distribution_and_never_take_a_refused_candidate():
    e = torch.tensor([[0.0, 1.0, math.inf, 2.0], [5.0, 0.0, 0.0, 0.0]])
    generator = torch.Generator().manual_seed(0)
    drawn = draw(e, 1.5, 20_000, generator)
    assert drawn.shape == (2, 20_000)
    frequencies = torch.nn.functional.one_hot(drawn, 4).float().mean(1)
    assert torch.allclose(frequencies, gibbs(e, 1.5), atol=0.012)
    assert float(frequencies[0, 2]) == 0.0
