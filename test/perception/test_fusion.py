"""Fusion: missing sensors, dropped sensors."""
import pytest
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.perception.fusion import drop, FUSIONS, MissingToken, zeroed

DIMS, DIM = (4, 6, 3), 5


def fusion(name, task_dim=0):
    torch.manual_seed(0)
    return FUSIONS.get(name)(DIMS, DIM, 8, task_dim=task_dim)


def embeddings(batch=3):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, d, generator=generator) for d in DIMS]


def test_content_of_an_invalid_row_is_taken_out_even_where_it_is_nan():
    x = torch.tensor([[1.0, 2.0], [float('nan'), 3.0]])
    assert zeroed(x, torch.tensor([True, False])).tolist() == [[1, 2], [0, 0]]
    images = torch.full((2, 2, 2, 3), 9, dtype=torch.uint8)
    assert zeroed(images, torch.tensor([False, True])).dtype == torch.uint8


def test_a_missing_sensor_is_its_learned_token():
    missing, e = MissingToken(2), torch.ones(2, 2)
    out = missing(e, torch.tensor([True, False]))
    assert torch.equal(out, torch.stack([e[0], missing.token]))


@pytest.mark.parametrize('name', FUSIONS.names())
def test_each_sensor_matters(name):
    module, values = fusion(name), embeddings()
    s = module(values)
    assert s.shape == (3, DIM)
    for index in range(len(DIMS)):
        other = [torch.randn_like(v) if i == index else v for i, v in enumerate(values)]
        assert float((module(other) - s).detach().abs().max()) > 1e-3


@pytest.mark.parametrize('name', FUSIONS.names())
def test_a_new_fusion_ignores_the_task_and_a_trained_one_follows_it(name):
    module, values = fusion(name, task_dim=2), embeddings()
    s, task = fusion(name)(values), torch.ones(3, 2)
    assert torch.equal(module(values, task), s)
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            if 'film' in key or 'task_weight' in key:
                parameter.fill_(0.3)
    assert float((module(values, task) - s).detach().abs().max()) > 1e-3


def test_sensors_are_dropped_at_the_given_rate_and_never_all():
    torch.manual_seed(0)
    valid = torch.ones(4000, 3, dtype=torch.bool)
    valid[:, 2] = False
    kept = drop(valid, 0.3)
    assert not kept[:, 2].any() and bool(kept.any(1).all())
    # a sensor is gone with 0.3, less the 0.3² in which both would be
    assert float((~kept[:, 0]).float().mean()) == pytest.approx(0.3 - 0.3 ** 2, abs=0.03)


def test_a_width_without_whole_heads_is_refused():
    with pytest.raises(ConfigError, match='width 10 is no multiple of its 4 heads'):
        FUSIONS.get('attention')(DIMS, DIM, 10)
