"""The loss of a level above."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch

from jepa_ros.training.config import MacroActions
from jepa_ros.training.level0 import losses_of
from jepa_ros.training.upper import Upper, whitening


def batch(seed: int = 0, n: int = 1):
    """Four periods of four steps, three windows."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(3, 5, n, 6, generator=generator), torch.randn(3, 4, 4, 2, generator=generator),
            torch.randn(3, 4, 3, generator=generator), torch.randn(3, 5, 2, generator=generator))


def upper(jepa, losses=None, **macro) -> Upper:
    return Upper(jepa, losses_of(losses or {'prediction': {}}, jepa), MacroActions(**macro))


def test_predicts_states_at_the_ends_of_periods_from_noisy_macro_actions():
    """LeCun §4.6: the higher level predicts further with an abstract action."""
    jepa, (s, actions, noise, readouts) = tiny.model().levels[1], batch()
    _, parts = upper(jepa, noise=0.2)(s, actions, noise, readouts)
    omega, s = jepa.action_encoder(actions), s[:, :, 0]
    predicted = jepa.rollout(s[:, 0], omega + 0.2 * noise)
    assert float(parts['prediction']) == pytest.approx(float((predicted - s[:, 1:]).square().mean()), rel=1e-5)
    assert float(parts['whitening']) == pytest.approx(float(whitening(omega.flatten(0, 1))), rel=1e-5)


def test_the_loss_is_the_weighted_sum_of_its_parts():
    loss, parts = upper(tiny.model().levels[1], whitening=0.5)(*batch())
    assert float(loss) == pytest.approx(float(parts['prediction'] + 0.5 * parts['whitening']), rel=1e-5)


def test_teaches_action_encoder_and_predictor():
    jepa = tiny.model().requires_grad_(True).levels[1]
    loss, _ = upper(jepa)(*batch())
    loss.backward()
    assert all(p.grad.any() for p in (*jepa.action_encoder.parameters(), *jepa.predictor.parameters()))


@pytest.mark.parametrize('kind', ['mean', 'conv', 'gru', 'attention'])
def test_a_level_with_states_of_its_own_is_kept_from_collapsing(kind):
    """LeCun §4.6, Fig. 15: Enc_2 is trained with the level, by the same kind of losses."""
    levels = (tiny.LEVELS[0], tiny.LevelConfig(period=4, macro_dim=3, width=16, encoder=kind))
    jepa = tiny.model(levels).requires_grad_(True).levels[1]
    loss, parts = upper(jepa, {'prediction': {}, 'vicreg': {}, 'readouts': {}})(*batch(n=4))
    loss.backward()
    assert {'prediction', 'variance', 'covariance', 'readout', 'imagined_readout'} <= set(parts)
    assert all(p.grad is not None and p.grad.any() for p in jepa.pooling.parameters() if p.dim() > 1)


def white(count: int = 64, dim: int = 3) -> torch.Tensor:
    """Samples (count, dim) whose mean is 0 and whose covariance is exactly the identity."""
    raw = torch.randn(count, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.linalg.svd(raw - raw.mean(0), full_matrices=False)[0] * (count - 1) ** 0.5


def test_white_macro_actions_cost_nothing():
    assert float(whitening(white())) == pytest.approx(0.0, abs=1e-12)


@tiny.invariant
@given(scale=st.floats(0.1, 3), shift=st.floats(-3, 3))
def test_whitening_is_the_squared_distance_from_zero_mean_and_unit_covariance(scale, shift):
    """Per dimension (c² − 1)² for the variance and m² for the mean."""
    assert float(whitening(scale * white() + shift)) == pytest.approx((scale ** 2 - 1) ** 2 + shift ** 2, abs=1e-6)


def test_two_equal_macro_actions_pay_for_their_covariance():
    omega = white(dim=1).expand(-1, 2)
    assert float(whitening(omega)) == pytest.approx(1.0, abs=1e-9)      # two off-diagonal ones over two dimensions


def test_a_gradient_step_whitens():
    omega = (0.3 * white() + 1).requires_grad_()
    before = whitening(omega)
    before.backward()
    assert float(whitening(omega - omega.grad)) < float(before)
