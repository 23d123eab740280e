"""Predictors."""
import pytest
import torch

from jepa_ros.world_model.predictors import mlp, PREDICTORS


@pytest.mark.parametrize('name', PREDICTORS.names())
def test_keeps_the_shape_of_the_state_for_any_batch(name):
    predictor = PREDICTORS.get(name)(5, 2, 8, 2)
    assert predictor(torch.randn(5), torch.randn(2)).shape == (5,)
    assert predictor(torch.randn(3, 4, 5), torch.randn(3, 4, 2)).shape == (3, 4, 5)


@pytest.mark.parametrize('name', PREDICTORS.names())
def test_depends_on_the_action_and_lets_gradients_through_to_it(name):
    torch.manual_seed(0)
    predictor = PREDICTORS.get(name)(5, 2, 8, 2)
    a = torch.zeros(2, requires_grad=True)
    predictor(torch.randn(5), a).sum().backward()
    assert float(a.grad.abs().min()) > 0


@pytest.mark.parametrize('name', PREDICTORS.names())
def test_carries_no_hidden_state_from_call_to_call(name):
    torch.manual_seed(0)
    predictor = PREDICTORS.get(name)(5, 2, 8, 2)
    s, a = torch.randn(5), torch.randn(2)
    first = predictor(s, a)
    predictor(torch.randn(5), torch.randn(2))
    assert torch.equal(predictor(s, a), first)


def test_residual_predicts_no_change_when_its_last_layer_is_zero():
    predictor = PREDICTORS.get('residual_mlp')(5, 2, 8, 2)
    torch.nn.init.zeros_(predictor.net[-1].weight)
    torch.nn.init.zeros_(predictor.net[-1].bias)
    s = torch.randn(3, 5)
    assert torch.equal(predictor(s, torch.randn(3, 2)), s)


def test_mlp_has_as_many_hidden_layers_as_asked():
    assert sum(isinstance(layer, torch.nn.Linear) for layer in mlp(3, 8, 2, depth=4)) == 5
