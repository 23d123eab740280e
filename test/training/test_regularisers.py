"""What keeps the representation informative, against closed forms and directions of gradients."""
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant
import torch

from jepa_ros.training.losses import regularisers


def states(batch=32, steps=3, dim=4, seed=0, scale=1.0) -> torch.Tensor:
    return scale * torch.randn(batch, steps, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('loss', [regularisers.variance, regularisers.within_episode_variance])
def test_a_constant_representation_pays_the_whole_floor(loss):
    """LeCun §4.5.1: the components must not be constant; √(0 + 10⁻⁴) is what numerics leave."""
    assert float(loss(torch.ones(8, 5, 3), 0.7)) == pytest.approx(0.7 - 0.01, abs=1e-6)


def test_variance_is_the_hinge_on_the_standard_deviation_over_the_batch():
    """LeCun §4.5.1 (1): per dimension and step, max(0, floor − std)."""
    s = states(scale=0.3)
    expected = [max(0.0, 1.0 - math.sqrt(float(s[:, t, d].var()) + 1e-4)) for t in range(3) for d in range(4)]
    assert float(regularisers.variance(s)) == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_covariance_is_the_sum_of_squared_off_diagonal_covariances_over_the_dimension():
    """LeCun §4.5.1 (2)."""
    s = states()
    expected = 0.0
    for t in range(3):
        c = torch.cov(s[:, t].T)
        expected += float((c.square().sum() - c.diagonal().square().sum()) / 4) / 3
    assert float(regularisers.covariance(s)) == pytest.approx(expected, rel=1e-4)


def test_variance_and_covariance_vanish_for_spread_and_independent_dimensions():
    s = torch.tensor([[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0], [-2.0, -2.0]])[:, None]
    assert float(regularisers.variance(s)) == 0.0
    assert float(regularisers.covariance(s)) == pytest.approx(0.0, abs=1e-6)


def test_two_equal_dimensions_pay_their_covariance():
    s = torch.randn(50, 1, 1, generator=torch.Generator().manual_seed(0)).expand(-1, -1, 2)
    assert float(regularisers.covariance(s)) == pytest.approx(float(s[:, 0, 0].var()) ** 2, rel=1e-4)


def test_within_is_the_hinge_on_the_standard_deviation_along_time():
    s = states(steps=6, scale=0.2)
    expected = torch.relu(0.4 - (s.var(dim=1) + 1e-4).sqrt()).mean()
    assert float(regularisers.within_episode_variance(s, 0.4)) == pytest.approx(float(expected))


def test_a_world_encoded_by_its_furniture_alone_satisfies_variance_but_not_within():
    """The trap with a door drawn per episode: states differ between episodes and never within one."""
    furniture = 2 * torch.randn(64, 1, 4, generator=torch.Generator().manual_seed(0)).expand(-1, 6, -1)
    assert float(regularisers.variance(furniture)) == 0.0
    assert float(regularisers.smoothness(furniture)) == 0.0
    assert float(regularisers.within_episode_variance(furniture)) == pytest.approx(0.39, abs=1e-5)


@pytest.mark.parametrize('loss, spread', [
    (regularisers.variance, lambda s: s.std(0).mean()),
    (regularisers.within_episode_variance, lambda s: s.std(1).mean()),
])
def test_a_gradient_step_spreads_the_states(loss, spread):
    s = states(steps=5, scale=0.1).requires_grad_()
    loss(s).backward()
    assert float(spread(s - 10 * s.grad)) > float(spread(s))


def test_a_gradient_step_decorrelates_the_dimensions():
    s = (states(dim=1) + 0.3 * states(dim=3, seed=1)).requires_grad_()
    before = regularisers.covariance(s)
    before.backward()
    assert float(regularisers.covariance(s - 0.5 * s.grad)) < float(before)


@invariant
@given(st.floats(-50, 50))
def test_where_the_origin_lies_does_not_matter(shift):
    s = states()
    for loss in (regularisers.variance, regularisers.covariance, regularisers.within_episode_variance,
                 regularisers.smoothness):
        assert float(loss(s + shift)) == pytest.approx(float(loss(s)), abs=1e-3)


def test_smoothness_is_the_mean_squared_step():
    s = torch.tensor([[[0.0], [1.0], [3.0]]])
    assert float(regularisers.smoothness(s)) == pytest.approx((1 + 4) / 2)


@invariant
@given(rank=st.integers(1, 6), scale=st.floats(1e-2, 1e2), seed=st.integers(0, 99))
def test_effective_rank_of_equal_variances_is_their_number(rank, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64))[0][:rank]
    samples = torch.randn(64, rank, generator=generator, dtype=torch.float64)
    whitened = torch.linalg.svd(samples - samples.mean(0), full_matrices=False)[0]
    assert regularisers.effective_rank(scale * whitened @ basis) == pytest.approx(rank, rel=1e-3)


def test_effective_rank_of_a_known_spectrum():
    """exp(−Σ p log p) of p = (0.9, 0.1)."""
    s = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert regularisers.effective_rank(s) == pytest.approx(math.exp(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1))))


def test_effective_rank_of_a_collapsed_representation_is_one():
    assert regularisers.effective_rank(torch.ones(20, 5)) == pytest.approx(1.0)


def test_effective_rank_of_states_that_are_not_finite_is_not_a_number():
    assert math.isnan(regularisers.effective_rank(torch.full((20, 5), torch.nan)))
