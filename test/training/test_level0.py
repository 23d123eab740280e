"""The loss of level 0."""
import pytest
import tiny
import torch

from jepa_ros.training.config import Coefficients
from jepa_ros.training.level0 import Level0

ONLY = dict.fromkeys(('prediction', 'variance', 'covariance', 'smoothness', 'inverse', 'within'), 0.0)


def batch(seed: int = 0):
    data = tiny.episodes([8] * 4, seed)
    index = data.all_windows(6, 6)
    return data.images[index], data.actions[index], data.readouts[index]


def level0(**coefficients) -> Level0:
    return Level0(tiny.model().requires_grad_(True), Coefficients(**coefficients))


def test_the_loss_is_the_weighted_sum_of_its_parts_and_the_readout_error():
    """LeCun §4.5, Fig. 13: prediction error plus the terms that keep s informative."""
    weights = {'prediction': 1.0, 'variance': 16.0, 'covariance': 8.0, 'smoothness': 1.0, 'inverse': 5.0, 'within': 8.0}
    loss, parts = level0(**weights)(*batch())
    learning = sum(weights[name] * float(parts[name]) for name in weights)
    readouts_alone, _ = level0(**ONLY)(*batch())
    assert float(loss) == pytest.approx(learning + float(readouts_alone), rel=1e-5)


def test_readout_heads_teach_the_encoder_nothing():
    """LeCun §4.5.2: readouts are learned on top; here detached, so that s is learned without labels."""
    module = level0(**ONLY)
    loss, _ = module(*batch())
    loss.backward()
    model = module.model
    assert all(p.grad is None or not p.grad.any() for p in model.encoder.parameters())
    assert all(p.grad is None or not p.grad.any() for p in model.levels[0].predictor.parameters())
    assert all(p.grad.any() for p in model.levels[0].readout.parameters())


@pytest.mark.parametrize('name', list(ONLY))
def test_every_other_part_teaches_the_encoder(name):
    module = level0(**(ONLY | {name: 1.0, 'within_floor': 5.0}))
    loss, _ = module(*batch())
    loss.backward()
    assert any(p.grad.any() for p in module.model.encoder.parameters())


def test_prediction_runs_over_the_whole_window_from_its_first_state():
    module = level0()
    images, actions, readouts = batch()
    model = module.model
    s = model.encode(images)
    predicted = model.levels[0].rollout(s[:, 0], actions[:, :-1])
    _, parts = module(images, actions, readouts)
    assert float(parts['prediction']) == pytest.approx(float((predicted - s[:, 1:]).square().mean()), rel=1e-5)


def test_a_robot_without_readouts_can_be_trained():
    module = Level0(tiny.model(readouts=0).requires_grad_(True), Coefficients())
    images, actions, readouts = batch()
    loss, parts = module(images, actions, readouts[..., :0])
    assert bool(torch.isfinite(loss)) and 'readout' not in parts
