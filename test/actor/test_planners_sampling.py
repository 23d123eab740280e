"""What each sampling planner makes of its energies, and the noise it draws with."""
import math

from planner_problems import BOX, generator, planner, quadratic, Recorder, SAMPLING, solve
import pytest
import torch

from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.planners.noise import Noise


def line(*values: float) -> torch.Tensor:
    """Candidates (1, N, 1, 1)."""
    return torch.tensor(values)[None, :, None, None]


@pytest.mark.parametrize('method', SAMPLING)
def test_refused_candidates_do_not_draw_the_search_to_themselves(method):
    """Fewer finite candidates than elites: only the finite ones may say where to look next."""
    energies = torch.full((1, 8), torch.inf)
    energies[0, 6] = 1.0
    mean, std = planner(method, elites=4, horizon=1).refit(line(*range(8)), energies)
    assert (float(mean), float(std)) == pytest.approx((6.0, 0.0), abs=1e-5)


def test_mppi_s_mean_follows_the_gibbs_distribution_of_its_elites():
    """Williams et al. 2017: w ∝ exp(−(E − E_min)/λ); here λ = temperature × (mean − minimum of the elites)."""
    energies = torch.tensor([[0.0, 1.0, 2.0, 50.0]])
    mean, std = planner('mppi', elites=3, temperature=0.5, horizon=1).refit(line(0.0, 1.0, 3.0, 9.0), energies)
    weights = torch.softmax(-torch.tensor([0.0, 1.0, 2.0]) / (0.5 * 1.0), 0)
    expected = float((weights * torch.tensor([0.0, 1.0, 3.0])).sum())
    assert float(mean) == pytest.approx(expected, rel=1e-5)
    assert float(std) == pytest.approx(
        math.sqrt(float((weights * (torch.tensor([0.0, 1.0, 3.0]) - expected).square()).sum())), rel=1e-4)


@pytest.mark.parametrize('method', ['cem', 'icem'])
def test_cem_s_mean_is_that_of_the_elites(method):
    mean, std = planner(method, elites=2, horizon=1).refit(line(0.0, 1.0, 3.0, 9.0),
                                                           torch.tensor([[5.0, 1.0, 2.0, 50.0]]))
    assert (float(mean), float(std)) == (2.0, pytest.approx(math.sqrt(2)))      # unbiased


@pytest.mark.parametrize('method', SAMPLING)
def test_the_minimum_outside_the_bounds_is_approached_to_the_bound(method):
    search = solve(planner(method), lambda c: (c - 5).square().sum((-1, -2)), BOX, generator=generator())
    assert float(search.actions.min()) > 0.9


def test_icem_needs_fewer_samples_from_iteration_to_iteration_but_never_fewer_than_two_elites_worth():
    """Pinneri et al. 2020, algorithm 1: N · γ^(−i), at least 2K; γ = 1.25."""
    seen = Recorder(quadratic)
    planner('icem', samples=100, iterations=5, elites=30).plan(seen, BOX, generator=generator())
    assert [c.shape[1] for c in seen.candidates] == [100, 80, 64, 60, 60]


def test_icem_tries_the_mean_and_a_share_of_the_elites_again():
    seen = Recorder(quadratic)
    planner('icem', samples=50, iterations=2, elites=10).plan(seen, BOX, generator=generator())
    first, second = seen.candidates
    elites = first[0, seen.energies[0][0].argsort()[:10]]
    assert torch.equal(second[0, -3:], elites[:3])                                  # ξ = 0.3 of ten
    assert not any(torch.equal(second[0, -4], elite) for elite in elites)
    assert torch.allclose(second[0, 0], elites.mean(0), atol=1e-6)


def test_random_shooting_learns_nothing_between_iterations():
    seen = Recorder(quadratic)
    planner('random_shooting', samples=2000, iterations=3).plan(seen, BOX, generator=generator())
    assert len(seen.candidates) == 3
    for candidates in seen.candidates:
        assert float(candidates.mean()) == pytest.approx(0.0, abs=0.03)
    assert not torch.equal(seen.candidates[0], seen.candidates[1])


def draw(count: int, horizon: int, **settings) -> torch.Tensor:
    return Noise(PlannerConfig(**settings))((1, count, horizon, 2), torch.device('cpu'), generator())


@pytest.mark.parametrize('correlation', [0.0, 0.5, 0.9])
def test_noise_has_unit_variance_and_the_asked_correlation_from_step_to_step(correlation):
    noise = draw(20_000, 4, correlation=correlation)
    assert torch.allclose(noise.std(1), torch.ones(1, 4, 2), atol=0.03)
    assert float((noise[0, :, 1] * noise[0, :, 2]).mean()) == pytest.approx(correlation, abs=0.03)


@pytest.mark.parametrize('colour', [0.5, 1.0, 2.0, 3.0])
def test_the_power_of_coloured_noise_falls_as_asked(colour):
    """Power ∝ 1/f^β: on double logarithmic axes a line of slope −β, away from both ends of the spectrum."""
    horizon = 128
    noise = draw(500, horizon, colour=colour)
    assert torch.allclose(noise.std(1), torch.ones(1, horizon, 2), atol=0.15)
    power = torch.fft.rfft(noise * torch.hann_window(horizon)[:, None], dim=2).abs().square().mean((0, 1, 3))
    bins = torch.arange(4, horizon // 4)
    x, y = bins.float().log(), power[bins].log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    assert float(slope) == pytest.approx(-colour, abs=0.15)


def test_colour_takes_the_place_of_correlation():
    assert torch.equal(draw(4, 8, colour=2.0, correlation=0.0), draw(4, 8, colour=2.0, correlation=0.9))
