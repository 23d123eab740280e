"""VICReg against loops over numpy's statistics, and what it does to a representation that collapses."""
import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from jepa_ros.training.losses import build, Embedded, regularisers, Sizes

OFF = {'variance': 0.0, 'covariance': 0.0, 'within': 0.0}


def states(batch=16, steps=3, dim=4, seed=0, scale=1.0) -> torch.Tensor:
    return scale * torch.randn(batch, steps, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vicreg(s: torch.Tensor, **settings) -> torch.Tensor:
    return build({'vicreg': {**OFF, **settings}}, Sizes(state=s.shape[-1])).to(s)(Embedded(s))[0]


def distributions(s: torch.Tensor, over: str) -> list[np.ndarray]:
    """(N, D) each."""
    x = s.numpy()
    return {'batch': [x[:, t] for t in range(x.shape[1])], 'first': [x[:, 0]],
            'batch_time': [x.reshape(-1, x.shape[-1])]}[over]


@pytest.mark.parametrize('over', ['batch', 'first', 'batch_time'])
def test_variance_is_the_mean_hinge_of_the_standard_deviations(over):
    """Bardes et al. 2022, eq. 1–2, with γ = 0.9 and ε = 10⁻⁴."""
    s = states(scale=0.8)
    hinges = [max(0.0, 0.9 - np.sqrt(np.var(x[:, d], ddof=1) + 1e-4)) for x in distributions(s, over) for d in range(4)]
    assert max(hinges) > 0
    assert float(vicreg(s, variance=1.0, floor=0.9, over=over)) == pytest.approx(np.mean(hinges))


@pytest.mark.parametrize('over', ['batch', 'first', 'batch_time'])
@pytest.mark.parametrize('normalise', ['dimensions', 'pairs'])
def test_covariance_is_the_sum_or_the_mean_of_squared_covariances(over, normalise):
    """Eq. 3–4: 1/D Σ_i≠j C_ij²; eb_jepa averages over the D (D − 1) pairs."""
    s, expected = states() @ states(1, 4)[0], []
    s = s[..., :4]
    for x in distributions(s, over):
        c = np.cov(x.T)
        squares = [c[i, j] ** 2 for i in range(4) for j in range(4) if i != j]
        expected.append(sum(squares) / (4 if normalise == 'dimensions' else 12))
    assert float(vicreg(s, covariance=1.0, over=over, normalise=normalise)) == pytest.approx(np.mean(expected))


def test_an_expander_decorrelates_v_and_holds_up_the_variance_of_both_s_and_v():
    """LeCun §4.5.1: variance 'of each component of s_y and v_y', covariance of v_y."""
    s = states(scale=0.3)
    losses = build({'vicreg': {'expander': 9}}, Sizes(state=4)).double()
    v = losses.terms['vicreg'].expand(s)
    _, parts = losses(Embedded(s))
    assert v.shape == (16, 3, 9)
    assert float(parts['covariance']) == pytest.approx(float(regularisers.covariance(v).detach()))
    both = (regularisers.variance(s) + regularisers.variance(v)).detach() / 2
    assert float(parts['variance']) == pytest.approx(float(both))
    assert float(parts['within']) == pytest.approx(float(regularisers.within_episode_variance(s)))


def test_without_an_expander_there_is_nothing_to_train():
    assert not list(build({'vicreg': {}}, Sizes(state=4)).parameters())
    assert list(build({'vicreg': {'expander': 8}}, Sizes(state=4)).parameters())


def test_constant_states_pay_the_floors():
    s = torch.ones(8, 5, 3, dtype=torch.float64)
    assert float(vicreg(s, variance=2.0)) == pytest.approx(2 * 0.99)
    assert float(vicreg(s, within=1.0)) == pytest.approx(0.39)


@pytest.mark.parametrize('part', ['variance', 'within'])
def test_states_that_nearly_collapsed_are_driven_apart(part):
    s = (3 + states(steps=5, scale=1e-3)).requires_grad_()
    before = vicreg(s, **{part: 1.0}).item()
    for _ in range(100):
        gradient, = torch.autograd.grad(vicreg(s, **{part: 1.0}), s)
        with torch.no_grad():
            s -= 10 * gradient
    assert before > 0.38 and vicreg(s, **{part: 1.0}).item() < 0.02
    assert s.std(0 if part == 'variance' else 1).mean().item() > 0.35


@pytest.mark.parametrize('settings', [{'variance': 1.0, 'floor': 3.0}, {'covariance': 1.0, 'over': 'batch_time'},
                                      {'within': 1.0, 'within_floor': 3.0}])
def test_the_gradient_is_that_of_finite_differences(settings):
    assert gradcheck(lambda s: vicreg(s, **settings), states(5, 3, 3).requires_grad_())
