"""Losses by name, from what stands in YAML."""
import pytest
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.training.losses import build, Embedded, Loss, LOSSES, parse, Sizes
from jepa_ros.training.losses.base import Weighted

ALL = ('prediction', 'vicreg', 'sigreg', 'barlow_twins', 'info_nce', 'hinge', 'inverse', 'smoothness', 'readouts')


def batch(dtype=torch.float32) -> Embedded:
    def random(*shape):
        return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape))).to(dtype)
    return Embedded(random(6, 5, 4), random(6, 3, 2, 4), actions=random(6, 4, 2), inferred_actions=random(6, 4, 2) / 2,
                    readouts=random(6, 5, 3), known_readouts=random(6, 5, 3) / 2, imagined_readouts=random(6, 3, 2, 3))


def test_every_family_of_the_design_is_registered():
    assert set(ALL) <= set(LOSSES.names())


def test_the_loss_is_the_sum_of_all_parts_times_their_coefficients():
    losses = build(dict.fromkeys(ALL), Sizes(state=4))
    loss, parts = losses(batch())
    weights = losses.coefficients()
    assert set(parts) == set(weights) == {
        'prediction', 'variance', 'covariance', 'within', 'sigreg', 'barlow_twins', 'info_nce', 'hinge', 'inverse',
        'smoothness', 'readout', 'imagined_readout'}
    assert float(loss) == pytest.approx(sum(weights[name] * float(value) for name, value in parts.items()), rel=1e-5)
    assert all(not value.requires_grad for value in parts.values())


def test_the_defaults_are_the_recipe_of_the_shipped_model():
    weights = build(dict.fromkeys(('prediction', 'vicreg', 'smoothness', 'inverse')), Sizes(state=4)).coefficients()
    assert weights == {'prediction': 1, 'variance': 16, 'covariance': 8, 'within': 8, 'smoothness': 1, 'inverse': 5}


def test_a_part_of_coefficient_zero_is_not_computed():
    """An ablation; with one state per sequence there is no variance within it, and its NaN must not come in."""
    s = torch.randn(8, 1, 4)
    loss, parts = build({'vicreg': {'within': 0, 'covariance': 0}}, Sizes(state=4))(Embedded(s))
    assert set(parts) == {'variance'} and torch.isfinite(loss)


@pytest.mark.parametrize('name', ALL)
def test_a_family_of_weight_zero_computes_nothing(name):
    zero = dict.fromkeys(('variance', 'covariance', 'within') if name == 'vicreg' else
                         ('known', 'imagined') if name == 'readouts' else ('weight',), 0)
    losses = build({'prediction': {}, name: zero} if name != 'prediction' else {name: zero, 'vicreg': {}},
                   Sizes(state=4))
    _, parts = losses(batch())
    assert set(parts) == ({'variance', 'covariance', 'within'} if name == 'prediction' else {'prediction'})


def test_bfloat16_states_are_judged_in_32_bits():
    """As under mixed precision; in bfloat16 the covariance of few samples is mostly rounding."""
    half = batch(torch.bfloat16)
    losses = build(dict.fromkeys(ALL), Sizes(state=4)).eval()
    with torch.autocast('cpu', torch.bfloat16):
        loss, parts = losses(half)
    _, exact = losses(half.precise())
    assert loss.dtype == torch.float32
    assert {k: float(v) for k, v in parts.items()} == {k: float(v) for k, v in exact.items()}


def test_another_family_can_be_added_by_name(monkeypatch):
    monkeypatch.setattr(LOSSES, '_parts', dict(LOSSES._parts))

    @LOSSES.register('norm')
    class Norm(Loss):
        Settings = Weighted

        def coefficients(self):
            return {'norm': self.settings.weight}

        def parts(self, batch):
            return {'norm': batch.s.square().mean()}
    loss, _ = build({'norm': {'weight': 2}}, Sizes(state=4))(Embedded(torch.full((2, 3, 4), 3.0)))
    assert float(loss) == 18


@pytest.mark.parametrize('config, message', [
    ({'vicregg': {}}, r"unknown loss_term 'vicregg' \(did you mean vicreg\?\); known: .*sigreg"),
    ({'vicreg': {'varience': 3}}, r'losses.vicreg: varience: unknown key \(did you mean variance\?\); known: variance'),
    ({'inverse': {'weight': -1}}, r'losses.inverse: weight: .*greater than or equal to 0 \(got -1\)'),
    ({'inverse': 3}, r'losses.inverse: a mapping of keys to values is expected'),
    ({'inverse': {'weight': float('inf')}}, 'losses.inverse: weight: .*finite'),
    ({'vicreg': {'over': 'bach'}}, "losses.vicreg: over: .*'batch'"),
    ({}, 'losses: none given; known: .*vicreg'),
    ({'inverse': {'weight': 0}}, 'losses: every coefficient of inverse is 0'),
])
def test_a_mistake_in_the_configuration_is_one_line(config, message):
    with pytest.raises(ConfigError, match=message) as raised:
        build(config, Sizes(state=4))
    assert '\n' not in str(raised.value)


def test_settings_are_checked_before_a_model_exists():
    settings = parse({'sigreg': {'slices': 8}, 'prediction': None})
    assert settings['sigreg'].slices == 8 and settings['prediction'].discount == 1.0
