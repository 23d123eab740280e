"""Curiosity and agency: low where there is something to learn, or to do."""
import pytest
import tiny
import torch
from torch import nn, Tensor

from jepa_ros.cost.intrinsic import agency, Context, curiosity, Remembered
from jepa_ros.world_model.config import LevelConfig
from jepa_ros.world_model.hjepa import HJEPA


def context(**values) -> Context:
    return Context(None, None, lambda s: s, **values)


class Drift(nn.Module):
    """A member of an ensemble that is unsure to the right of 0 alone."""

    context, dim, condition_dim = 1, 2, 2

    def __init__(self, sign: float):
        super().__init__()
        self.sign = sign

    def step(self, s: Tensor, c: Tensor, memory: object = None) -> tuple[Tensor, None]:
        return s + self.sign * torch.relu(s[..., :1]) * torch.ones(2), None


def unsure() -> HJEPA:
    model = tiny.model((LevelConfig(width=8, ensemble=2),), perception=tiny.perception(2))
    model.levels[0].predictor.predictors = nn.ModuleList([Drift(1.0), Drift(-1.0)])
    return model


def test_curiosity_is_low_where_the_ensemble_disagrees():
    """LeCun §4.10: "where the world model's predictions are currently inexact or uncertain"."""
    states, moves = torch.tensor([[-1.0, 0.0], [2.0, 0.0], [5.0, 0.0]]), torch.zeros(3, 2)
    jepa = unsure().levels[0]
    found = curiosity(states, moves, context(dynamics=jepa, moves=moves, start=torch.tensor([1.0, 0.0])))
    assert found.tolist() == pytest.approx([1 / 2, 1.0, 1 / 5])      # variances before each step: 1, 0, 4
    jepa.typical_error.fill_(2.0)
    assert curiosity(states, moves, context(dynamics=jepa, moves=moves, start=torch.tensor([1.0, 0.0]))).tolist() == \
        pytest.approx([1 / 1.5, 1.0, 1 / 3])


def test_without_a_start_the_first_state_stands_for_it():
    states, moves = torch.tensor([[2.0, 0.0], [-1.0, 0.0]]), torch.zeros(2, 2)
    found = curiosity(states, moves, context(dynamics=unsure().levels[0], moves=moves))
    assert found.tolist() == pytest.approx([0.2, 0.2])


def test_without_an_ensemble_what_is_far_from_memory_is_new():
    memory = Remembered(torch.tensor([[0.0, 0.0], [4.0, 0.0]]), torch.tensor(2.0))
    states = torch.tensor([[0.0, 0.0], [2.0, 0.0], [4.0, 6.0]])
    found = curiosity(states, None, context(remembered=memory, dynamics=tiny.integrator_model(1).levels[0]))
    assert found.tolist() == pytest.approx([1.0, 1 / 2, 1 / 10])     # mean squares to the nearest: 0, 2, 18


def test_without_ensemble_and_memory_curiosity_is_nothing():
    moves = torch.zeros(3, 2)
    assert context(dynamics=tiny.integrator_model(1).levels[0], moves=moves).novelty is None
    assert curiosity(torch.randn(3, 2), moves, context()).tolist() == [0, 0, 0]


class Switch(nn.Module):
    """Actions count to the right of 0 alone."""

    context = 1

    def step(self, s: Tensor, c: Tensor, memory: object = None) -> tuple[Tensor, None]:
        return s + (s[..., :1] > 0) * c, None


def test_agency_is_low_where_actions_count():
    """LeCun §3.2: "taking actions that have an observable impact"."""
    jepa = tiny.integrator_model(1).levels[0]
    jepa.predictor = Switch()
    states = torch.tensor([[[-1.0, 0.0], [1.0, 0.0]]])
    assert agency(states, None, context(dynamics=jepa)).tolist() == [pytest.approx([1.0, 1 / 1.5])]     # variance 1/2
    jepa.typical_error.fill_(0.5)
    assert agency(states, None, context(dynamics=jepa)).tolist() == [pytest.approx([1.0, 1 / 2])]


@pytest.mark.parametrize('level', [0, 1])
def test_both_are_bounded_and_have_gradients_at_every_level(level):
    configs = tuple(each.model_copy(update={'ensemble': 2}) for each in tiny.LEVELS[:2])
    jepa = tiny.model(configs).levels[level]
    states = torch.randn(2, 3, 4, 6, requires_grad=True)
    moves = torch.randn(2, 3, 4, jepa.action_encoder.dim)
    for term in (curiosity, agency):
        found = term(states, None, context(dynamics=jepa, moves=moves))
        assert found.shape == (2, 3, 4) and bool(((found > 0) & (found <= 1)).all())
        slope, = torch.autograd.grad(found.sum(), states)
        assert bool(torch.isfinite(slope).all()) and float(slope.abs().max()) > 0
