"""Barlow Twins against loops, and what it sees of a collapse."""
import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from jepa_ros.training.losses import build, Embedded, Sizes
from jepa_ros.training.losses.barlow import barlow_twins, cross_correlation


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_loss_is_the_distance_of_the_cross_correlation_from_the_identity():
    """Zbontar et al. 2021, eq. 1–2."""
    a = 2 + random(12, 2, 3)
    b = a + random(12, 2, 3, seed=1)
    expected = []
    for g in range(2):
        c = np.corrcoef(a[:, g].T, b[:, g].T)[:3, 3:]
        expected.append(sum((1 - c[i, i]) ** 2 + 0.02 * sum(c[i, j] ** 2 for j in range(3) if j != i)
                            for i in range(3)))
    assert float(barlow_twins(a, b, 0.02)) == pytest.approx(np.mean(expected), rel=1e-4)


def test_whitened_states_that_are_predicted_perfectly_cost_nothing():
    signs = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)[:, None]
    assert float(barlow_twins(signs, signs)) == pytest.approx(0, abs=1e-9)


def test_equal_dimensions_are_redundant():
    x = random(20, 1, 1).expand(-1, -1, 3)
    assert float(barlow_twins(x, x, 0.1)) == pytest.approx(0.1 * 6, rel=1e-3)


def test_constant_states_pay_one_for_each_dimension():
    ones = torch.ones(8, 2, 5, dtype=torch.float64)
    assert not cross_correlation(ones, ones).any()
    assert float(barlow_twins(ones, ones)) == pytest.approx(5)


def test_the_scale_of_the_states_is_not_seen():
    """Eq. 2 divides it out: shrinking by 10 costs nothing, unlike VICReg's variance."""
    a, b = random(20, 1, 4), random(20, 1, 4, seed=1)
    assert float(barlow_twins(a / 10, b / 10)) == pytest.approx(float(barlow_twins(a, b)), rel=1e-2)


def test_states_that_nearly_collapsed_are_driven_apart():
    """Below √EPSILON of spread the correlation is held down, and rises with the spread."""
    s = (1 + 1e-3 * random(16, 1, 4)).requires_grad_()
    high = barlow_twins(s, s).item()
    for _ in range(100):
        gradient, = torch.autograd.grad(barlow_twins(s, s), s)
        with torch.no_grad():
            s -= 1e-3 * gradient
    assert high > 2 and barlow_twins(s, s).item() < 0.2
    assert s.std(0).mean().item() > 5e-3


@pytest.mark.parametrize('over, groups', [('batch', 6), ('batch_time', 1), ('first', 1)])
def test_the_registered_loss_compares_predictions_with_what_came(over, groups):
    s, predicted = random(9, 5, 4), random(9, 3, 2, 4, seed=1)
    came = torch.stack([s[:, i + 1:i + 3] for i in range(3)], 1)
    a, b = predicted.flatten(1, 2), came.flatten(1, 2)
    if over == 'batch_time':
        a, b = a.flatten(0, 1)[:, None], b.flatten(0, 1)[:, None]
    elif over == 'first':
        a, b = a[:, :1], b[:, :1]
    assert a.shape[1] == groups
    loss, parts = build({'barlow_twins': {'weight': 0.5, 'over': over}}, Sizes(state=4))(Embedded(s, predicted))
    assert float(parts['barlow_twins']) == pytest.approx(float(barlow_twins(a, b)))
    assert float(loss) == pytest.approx(0.5 * float(parts['barlow_twins']))


def test_the_gradient_is_that_of_finite_differences():
    assert gradcheck(lambda a, b: barlow_twins(a, b, 0.3),
                     (random(5, 2, 3).requires_grad_(), random(5, 2, 3, seed=1).requires_grad_()))
