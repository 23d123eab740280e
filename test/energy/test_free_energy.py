"""Free energies and the Gibbs distribution."""
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant
import torch

from jepa_ros.energy.free_energy import gibbs, marginalise, minimise

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
