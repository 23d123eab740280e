"""SIGReg: the Epps–Pulley statistic against complex sums and its closed form, the directions, and collapse."""
import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from jepa_ros.training.losses import build, Embedded, Sizes
from jepa_ros.training.losses.sigreg import directions, epps_pulley


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sigreg(dim: int, **settings):
    return build({'sigreg': {'weight': 1.0, 'slices': 64, **settings}}, Sizes(state=dim)).double()


def naive(x: list[float], t_max: float, knots: int) -> float:
    """LeJEPA, Algorithm 1, for one direction: trapezoids over −t_max … t_max of |φ̂ − φ|² times the window."""
    def integrand(t: float) -> float:
        empirical = sum(complex(math.cos(t * v), math.sin(t * v)) for v in x) / len(x)
        return abs(empirical - math.exp(-t * t / 2)) ** 2 * math.exp(-t * t / 2)
    step = t_max / (knots - 1)
    t = [i * step for i in range(-knots + 1, knots)]
    return len(x) * sum((integrand(a) + integrand(b)) / 2 * step for a, b in zip(t, t[1:]))


def closed_form(x: torch.Tensor) -> float:
    """The integral over the whole line: all three terms are Gaussian integrals."""
    pairs = torch.exp(-(x[:, None] - x).square() / 2).sum() / len(x)
    single = 2 / math.sqrt(2) * torch.exp(-x.square() / 4).sum()
    return math.sqrt(2 * math.pi) * float(pairs - single + len(x) / math.sqrt(3))


@pytest.mark.parametrize('t_max, knots', [(3.0, 17), (5.0, 9)])
def test_the_statistic_is_the_integral_of_the_distance_between_characteristic_functions(t_max, knots):
    x = 0.5 + 1.3 * random(20, 3)
    expected = torch.tensor([naive(x[:, m].tolist(), t_max, knots) for m in range(3)], dtype=torch.float64)
    assert_close(epps_pulley(x, t_max, knots), expected)


def test_a_fine_grid_gives_the_closed_form():
    x = 0.3 + 2 * random(50)
    assert float(epps_pulley(x, t_max=8.0, knots=400)) == pytest.approx(closed_form(x), rel=1e-6)
    assert float(epps_pulley(x)) == pytest.approx(closed_form(x), rel=0.02)     # the default grid


def test_a_standard_gaussian_scores_as_the_theory_says_however_many_samples():
    """E[T] = ∫ (1 − |φ|²) exp(−t²/2) dt = √(2π) (1 − 1/√3) for true N(0, 1) samples."""
    expected = math.sqrt(2 * math.pi) * (1 - 1 / math.sqrt(3))
    for count in (20, 200):
        mean = float(epps_pulley(random(count, 1000), t_max=6.0, knots=40).mean())
        assert mean == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize('other', [lambda x: x + 0.5, lambda x: 2 * x, lambda x: 0.5 * x, torch.sign,
                                   lambda x: x.exp() - math.exp(0.5), torch.zeros_like])
def test_anything_but_a_standard_gaussian_scores_higher(other):
    x = random(500)
    assert float(epps_pulley(other(x))) > 5 * float(epps_pulley(x))


def test_matching_mean_and_variance_is_not_enough():
    """What SIGReg sees and moments do not (LeJEPA §4): ±1 has mean 0 and variance 1."""
    coin = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(250)
    assert float(epps_pulley(coin)) > 20


def test_directions_are_unit_vectors_without_preference():
    a = directions(5, 20_000, seed=1)
    assert_close(a.norm(dim=0), torch.ones(20_000))
    assert_close(a @ a.T / 20_000, torch.eye(5) / 5, atol=0.01, rtol=0)


def test_every_update_draws_new_directions_and_a_resumed_run_the_same_ones():
    s = Embedded(random(8, 2, 3))
    losses = sigreg(3)
    first, second = losses(s)[0], losses(s)[0]
    assert float(first) != float(second)
    again = sigreg(3)
    assert float(again(s)[0]) == float(first)
    resumed = sigreg(3)
    resumed.load_state_dict(again.state_dict())
    assert float(resumed(s)[0]) == float(second)


def test_evaluation_draws_none():
    losses, s = sigreg(3).eval(), Embedded(random(8, 2, 3))
    assert float(losses(s)[0]) == float(losses(s)[0])


def test_another_seed_draws_others():
    s = Embedded(random(8, 2, 3))
    assert float(sigreg(3)(s)[0]) != float(sigreg(3, seed=1)(s)[0])


@pytest.mark.parametrize('over, expected', [('batch', 'mean of the steps'), ('batch_time', 'all'), ('first', 'first')])
def test_which_samples_make_a_distribution(over, expected):
    s = random(10, 3, 4)
    a = directions(4, 64, 0).double()
    steps = [epps_pulley(s[:, t] @ a).mean() for t in range(3)]
    value = {'mean of the steps': sum(steps) / 3, 'all': epps_pulley(s.flatten(0, 1) @ a).mean(), 'first': steps[0]}
    assert float(sigreg(4, over=over)(Embedded(s))[0]) == pytest.approx(float(value[expected]))


@pytest.mark.parametrize('collapsed', [0.0, 2.0])
def test_constant_states_score_as_far_from_gaussian_as_the_theory_says(collapsed):
    """φ̂ = exp(i t c), so T = N √(2π) (1 + 1/√3 − √2 exp(−c²/4)); along a direction c is a·s."""
    x = torch.full((30,), collapsed, dtype=torch.float64)
    expected = 30 * math.sqrt(2 * math.pi) * (1 + 1 / math.sqrt(3) - math.sqrt(2) * math.exp(-collapsed ** 2 / 4))
    assert float(epps_pulley(x, t_max=8.0, knots=200)) == pytest.approx(expected, rel=1e-6)
    s = torch.full((30, 1, 4), collapsed, dtype=torch.float64)
    assert float(sigreg(4)(Embedded(s))[0]) > 5 * float(sigreg(4)(Embedded(random(30, 1, 4)))[0])


def test_states_that_nearly_collapsed_become_gaussian():
    s = (1 + 1e-2 * random(64, 1, 3)).requires_grad_()
    losses = sigreg(3)
    optimiser = torch.optim.Adam([s], lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        losses(Embedded(s))[0].backward()
        optimiser.step()
    x = s.detach()[:, 0]
    assert float(x.mean(0).abs().max()) < 0.2
    assert_close(torch.cov(x.T), torch.eye(3, dtype=torch.float64), atol=0.25, rtol=0)


def test_the_gradient_is_that_of_finite_differences():
    assert gradcheck(lambda x: epps_pulley(x), random(6, 2).requires_grad_())
