"""The loss of level 0."""
import pytest
import tiny
import torch

from jepa_ros.training.level0 import Level0, losses_of

ALL = {'prediction': {'weight': 1}, 'vicreg': {'variance': 16, 'covariance': 8, 'within': 8},
       'smoothness': {'weight': 1}, 'inverse': {'weight': 5}, 'readouts': {}}
WEIGHTS = {'prediction': 1.0, 'variance': 16.0, 'covariance': 8.0, 'smoothness': 1.0, 'inverse': 5.0, 'within': 8.0,
           'readout': 1.0, 'imagined_readout': 1.0}


def batch(seed: int = 0):
    data = tiny.episodes([8] * 4, seed)
    taken = data.take(data.all_windows(6, 6))
    return taken.percepts, taken.valid, taken.actions, taken.readouts


def level0(losses=None, horizon: int = 0, stride: int = 1, **changes) -> Level0:
    model = tiny.model(**changes).requires_grad_(True)
    return Level0(model, losses_of(losses or ALL, model.levels[0]), horizon, stride)


def test_the_loss_is_the_weighted_sum_of_its_parts():
    """LeCun §4.5, Fig. 13: prediction error plus the terms that keep s informative."""
    loss, parts = level0()(*batch())
    assert set(parts) == set(WEIGHTS)
    assert float(loss) == pytest.approx(sum(WEIGHTS[name] * float(value) for name, value in parts.items()), rel=1e-5)


def test_readout_heads_teach_the_encoder_nothing():
    """LeCun §4.5.2: readouts are learned on top; here detached, so that s is learned without labels."""
    module = level0({'readouts': {}})
    loss, _ = module(*batch())
    loss.backward()
    model = module.model
    assert all(p.grad is None or not p.grad.any() for p in model.encoder.parameters())
    assert all(p.grad is None or not p.grad.any() for p in model.levels[0].predictor.parameters())
    assert all(p.grad.any() for p in model.levels[0].readout.parameters())


@pytest.mark.parametrize('losses', [
    {'prediction': {}}, {'vicreg': {'variance': 1, 'covariance': 0, 'within': 0, 'floor': 5.0}},
    {'vicreg': {'variance': 0, 'covariance': 1, 'within': 0}},
    {'vicreg': {'variance': 0, 'covariance': 0, 'within': 1, 'within_floor': 5.0}}, {'smoothness': {}}, {'inverse': {}},
    {'sigreg': {}}, {'barlow_twins': {}}, {'info_nce': {}}, {'hinge': {}}])
def test_every_other_loss_teaches_the_encoder(losses):
    module = level0(losses)
    loss, _ = module(*batch())
    loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in module.model.encoder.parameters())


def test_heads_that_no_loss_trains_are_frozen():
    heads = level0({'prediction': {}}).model.levels[0]
    assert not any(p.requires_grad for p in (*heads.inverse.parameters(), *heads.readout.parameters()))
    assert all(p.requires_grad for p in heads.predictor.parameters())


def test_prediction_runs_over_the_whole_window_from_its_first_state():
    module, (percepts, valid, actions, readouts) = level0(), batch()
    model = module.model
    s = model.encode(percepts)
    predicted = model.levels[0].rollout(s[:, 0], actions[:, :-1])
    _, parts = module(percepts, valid, actions, readouts)
    assert float(parts['prediction']) == pytest.approx(float((predicted - s[:, 1:]).square().mean()), rel=1e-5)


def test_with_a_horizon_prediction_starts_from_every_stride_th_state():
    module, (percepts, valid, actions, readouts) = level0(horizon=2, stride=2), batch()
    model = module.model
    s = model.encode(percepts)
    errors = [(model.levels[0].rollout(s[:, t], actions[:, t:t + 2]) - s[:, t + 1:t + 3]).square().mean()
              for t in (0, 2)]
    _, parts = module(percepts, valid, actions, readouts)
    assert float(parts['prediction']) == pytest.approx(float(sum(errors) / 2), rel=1e-5)


def test_a_robot_without_readouts_can_be_trained():
    percepts, valid, actions, readouts = batch()
    loss, parts = level0(readouts=0)(percepts, valid, actions, readouts[..., :0])
    assert bool(torch.isfinite(loss)) and 'readout' not in parts


@pytest.mark.parametrize('level, part', [
    ({'predictor': 'transformer', 'options': {'window': 3, 'heads': 2}}, 'next'), ({'ensemble': 3}, 'members'),
    ({'latent': {'kind': 'discrete', 'dim': 3}}, 'latent'), ({'latent': {'kind': 'gaussian', 'dim': 2}}, 'latent')])
def test_what_belongs_to_a_kind_of_level_is_trained_too(level, part):
    levels = (tiny.LevelConfig.model_validate({'width': 16} | level),)
    module = level0({'prediction': {}, 'vicreg': {}}, levels=levels)
    loss, parts = module(*batch())
    loss.backward()
    assert bool(torch.isfinite(loss)) and float(parts[part]) > 0
    trained = module.model.levels[0].predictor.parameters()
    assert all(p.grad is not None and p.grad.any() for p in trained if p.dim() > 1)


def test_members_of_an_ensemble_beyond_the_mean_teach_the_encoder_nothing():
    module = level0({'readouts': {}}, levels=(tiny.LevelConfig(width=16, ensemble=2),))
    loss, _ = module(*batch())
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in module.model.encoder.parameters())
