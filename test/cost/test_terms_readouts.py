"""Pain, hunger and fear: what the robot measures of itself and around it."""
from functools import partial
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant
import torch
from torch import Tensor

from jepa_ros.cost.intrinsic import Context, overrun, Ranges, TERMS, touching

PARTS = {'clearance': 'clearance', 'collision': 'contacts', 'readout_limits': 'ranges', 'battery': 'battery'}


def ranges(*rows: tuple[int, float, float, float], mean=(0.0, 0.0), std=(1.0, 1.0)) -> Ranges:
    index, low, high, unit = zip(*rows)
    return Ranges(torch.tensor(index), *map(torch.tensor, (low, high, unit, mean, std)))


def context(name: str, part: Ranges) -> Context:
    return Context(None, None, lambda s: s, **{PARTS[name]: part})


def energy(name: str, states: Tensor, part: Ranges) -> Tensor:
    return TERMS.get(name).function(states, None, context(name, part))


LEAST = ranges((0, 0.5, math.inf, 0.5))


@pytest.mark.parametrize('name', ['clearance', 'battery'])
@pytest.mark.parametrize('value, expected', [(9.0, 0.0), (0.5, 0.0), (0.25, 0.25), (0.0, 1.0)])
def test_grows_below_the_level_to_one_at_nothing(name, value, expected):
    assert energy(name, torch.tensor([[value, 7.0]]), LEAST).tolist() == [expected]


@pytest.mark.parametrize('name, depth', [('collision', touching), ('readout_limits', overrun)])
def test_guardrails_know_how_far_each_readout_is_beyond_its_range(name, depth):
    part = ranges((0, -1.0, 1.0, 1.0), (1, 0.0, math.inf, 0.5))
    states = torch.tensor([[0.0, 0.1], [1.5, 0.0], [-3.0, -0.5], [1.0, 99.0]])
    expected = torch.tensor([[0, 0], [0.5, 0], [2, 1], [0, 0.0]])
    assert torch.equal(depth(states, None, context(name, part)), expected)
    assert energy(name, states, part).tolist() == [0.0, 0.25, 5.0, 0.0]
    assert TERMS.get(name).constraint is depth


def test_readouts_are_in_their_own_units():
    part = ranges((1, 0.2, math.inf, 0.2), mean=(5.0, 0.5), std=(1.0, 0.1))
    assert energy('battery', torch.tensor([[0.0, -4.0]]), part).item() == pytest.approx(0.25)      # 0.1 of 0.2 is left


@pytest.mark.parametrize('depth', [touching, overrun])
def test_of_a_robot_without_such_readouts_nothing_is_forbidden(depth):
    assert depth(torch.zeros(2, 3, 2), None, Context(None, None, lambda s: s)).shape == (2, 3, 0)


@invariant
@given(x=st.floats(-1e6, 1e6), name=st.sampled_from(list(PARTS)))
def test_the_gradient_is_finite_and_leads_back_into_the_range(x, name):
    part = ranges((0, -1.0, 2.0, 1.5), (0, -math.inf, 3.0, 1.0))
    s = torch.tensor([[x, 0.0]], requires_grad=True)
    slope, = torch.autograd.grad(energy(name, s, part).sum(), s)
    assert bool(torch.isfinite(slope).all())
    assert float(slope[0, 0].sign()) == (1.0 if x > 2 else -1.0 if x < -1 else 0.0)


def test_costs_the_same_one_by_one_and_in_a_batch():
    states = torch.randn(2, 3, 4, 2, generator=torch.Generator().manual_seed(0))
    one = partial(energy, 'clearance', part=LEAST)
    assert torch.equal(one(states)[1, 2], one(states[1, 2])) and one(states).shape == (2, 3, 4)
