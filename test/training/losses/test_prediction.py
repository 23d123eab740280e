"""Multi-step prediction, against loops over batch, start and step."""
import pytest
import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from jepa_ros.energy.distance import DISTANCES
from jepa_ros.errors import ConfigError, TrainingError
from jepa_ros.training.losses import build, Embedded, Sizes
from jepa_ros.training.losses.prediction import multi_step, targets, unroll, windows


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def prediction(batch: Embedded, **settings) -> torch.Tensor:
    return build({'prediction': settings}, Sizes(state=batch.s.shape[-1]))(batch)[0]


@pytest.mark.parametrize('horizon, stride', [(1, 1), (3, 1), (2, 2), (5, 1)])
def test_unroll_feeds_every_prediction_back(horizon, stride):
    s, a = random(2, 6, 3), random(2, 5, 3, seed=1)
    imagined = unroll(lambda s, a: 0.9 * s + s * a, s, a, horizon, stride)
    starts = range(0, 5 - horizon + 1, stride)
    assert imagined.shape == (2, len(starts), horizon, 3)
    for b in range(2):
        for i, start in enumerate(starts):
            state = s[b, start]
            for k in range(horizon):
                state = 0.9 * state + state * a[b, start + k]
                assert_close(imagined[b, i, k], state)


def test_unroll_gives_each_step_its_latent():
    s, a, z = random(2, 4, 3), random(2, 3, 3, seed=1), random(2, 2, 2, 3, seed=2)
    imagined = unroll(lambda s, a, z: s + a + z, s, a, 2, z=z)
    assert_close(imagined[1, 1, 1], s[1, 1] + a[1, 1] + a[1, 2] + z[1, 1, 0] + z[1, 1, 1])


@pytest.mark.parametrize('horizon, stride', [(1, 1), (3, 1), (2, 3)])
def test_targets_are_the_states_after_each_start(horizon, stride):
    s = torch.arange(7.0).reshape(1, 7, 1)
    starts = len(range(0, 6 - horizon + 1, stride))
    came = targets(Embedded(s, torch.zeros(1, starts, horizon, 1), stride))
    assert came[0, :, :, 0].tolist() == [[i * stride + k + 1 for k in range(horizon)] for i in range(starts)]


def test_fewer_starts_than_there_could_be_are_the_first_ones():
    s = torch.arange(7.0).reshape(1, 7, 1)
    assert targets(Embedded(s, torch.zeros(1, 1, 2, 1))).flatten().tolist() == [1, 2]


def test_perfect_predictions_cost_nothing():
    s = random(3, 6, 4)
    perfect = torch.stack([s[:, i + 1:i + 4] for i in range(3)], 1)
    assert float(prediction(Embedded(s, perfect))) == 0


@pytest.mark.parametrize('distance', ['squared', 'euclidean', 'cosine'])
@pytest.mark.parametrize('discount', [1.0, 0.7])
def test_the_loss_is_the_discounted_mean_energy(distance, discount):
    """LeCun eq. 10: E = D(s_y, Pred(s_x))."""
    predicted, target = random(3, 2, 4, 5), random(3, 2, 4, 5, seed=1)
    expected = 0.0
    for b in range(3):
        for i in range(2):
            energies = [float(DISTANCES.get(distance)(predicted[b, i, k], target[b, i, k])) for k in range(4)]
            weights = [discount ** k for k in range(4)]
            expected += sum(w * e for w, e in zip(weights, energies)) / sum(weights) / 6
    assert float(multi_step(predicted, target, distance, discount)) == pytest.approx(expected)


def test_only_the_last_step_can_count():
    s = random(2, 5, 3)
    predicted = unroll(lambda s, a: s, s, s[:, 1:], 3)
    expected = sum((predicted[:, i, 2] - s[:, i + 3]).square().mean() for i in range(2)) / 2
    assert float(prediction(Embedded(s, predicted), steps='last')) == pytest.approx(float(expected))


@pytest.mark.parametrize('train_target', [True, False])
def test_the_target_branch_learns_unless_it_shall_not(train_target):
    s = random(2, 3, 4).requires_grad_()
    predicted = random(2, 1, 2, 4, seed=1).requires_grad_()
    prediction(Embedded(s, predicted), train_target=train_target).backward()
    assert predicted.grad.any()
    assert bool(s.grad is not None and s.grad.any()) is train_target


def test_a_constant_representation_is_perfectly_predictable():
    """Which is why prediction alone collapses (LeCun §4.5): criteria 1 and 2 are other losses' work."""
    s = torch.ones(4, 5, 3)
    assert float(prediction(Embedded(s, unroll(lambda s, a: s, s, s[:, 1:], 2)))) == 0


def test_the_gradient_is_that_of_finite_differences():
    assert gradcheck(lambda p, t: multi_step(p, t, 'squared', 0.9),
                     (random(2, 2, 2, 3).requires_grad_(), random(2, 2, 2, 3, seed=1).requires_grad_()))


def test_a_window_too_short_for_the_horizon_is_refused():
    with pytest.raises(TrainingError, match='a prediction over 8 steps needs sequences of 9 states at least: '
                                            'these have 5; raise window or lower the prediction horizon'):
        windows(random(2, 4, 3), 8)


def test_predictions_that_do_not_fit_the_states_are_refused():
    with pytest.raises(TrainingError, match='predictions from 4 starts over 3 steps with stride 1 do not fit'):
        targets(Embedded(random(2, 5, 3), random(2, 4, 3, 3)))


def test_an_unknown_distance_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r'losses.prediction: distance: .*did you mean squared\?'):
        build({'prediction': {'distance': 'sqared'}}, Sizes(state=3))
