"""Maps folded into one another, and products laid out for the processor."""
import pytest
import torch
from torch import nn
from torch.nn.functional import gelu

from jepa_ros.world_model import linear
from jepa_ros.world_model.linear import affine, chain, Map


@pytest.fixture
def layers():
    torch.manual_seed(0)
    made = {'linear': nn.Linear(6, 6), 'no bias': nn.Linear(6, 6, bias=False), 'layer norm': nn.LayerNorm(6),
            'batch norm': nn.BatchNorm1d(6)}
    for parameter in (*made['layer norm'].parameters(), *made['batch norm'].parameters()):
        parameter.data.normal_()
    made['batch norm'].running_mean.normal_()
    made['batch norm'].running_var.uniform_(0.5, 2)
    return {name: layer.eval().requires_grad_(False).double() for name, layer in made.items()}


def applied(made, x):
    return x @ made[0].T + made[1]


@pytest.mark.parametrize('name', ['linear', 'no bias', 'batch norm'])
def test_a_layer_as_a_map_is_the_layer(layers, name):
    x = torch.randn(5, 6, dtype=torch.float64)
    torch.testing.assert_close(applied(affine(layers[name]), x), layers[name](x))


def test_of_a_layer_norm_the_map_is_what_follows_the_normalising(layers):
    x = torch.randn(5, 6, dtype=torch.float64)
    normalised = nn.functional.layer_norm(x, (6,))
    torch.testing.assert_close(applied(affine(layers['layer norm']), normalised), layers['layer norm'](x))


def test_a_chain_applies_the_first_map_first(layers):
    x = torch.randn(5, 6, dtype=torch.float64)
    first, second, third = (layers[name] for name in ('linear', 'batch norm', 'no bias'))
    torch.testing.assert_close(applied(chain(*map(affine, (first, second, third))), x), third(second(first(x))))


@pytest.mark.parametrize('packed', [True, False])
@pytest.mark.parametrize('dtype, tolerance', [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_a_product_is_that_of_torch_and_its_activation_the_exact_gelu(monkeypatch, packed, dtype, tolerance):
    if not packed:
        monkeypatch.setattr(linear, '_packs', lambda weight: False)
    torch.manual_seed(0)
    made, x = (torch.randn(7, 6, dtype=torch.float64), torch.randn(7, dtype=torch.float64)), torch.randn(3, 4, 12)
    x = x[..., ::2]     # as slices of larger tensors come
    expected = applied(made, x.double()).float()
    for activated, wanted in ((False, expected), (True, gelu(expected))):
        found = Map(made, dtype, activated)(x)
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), wanted, atol=tolerance * float(wanted.abs().max()), rtol=0)
