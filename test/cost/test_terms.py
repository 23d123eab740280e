"""What a term is: one plain function, immutable, under a name that nobody else can take."""
from dataclasses import FrozenInstanceError

import pytest
import torch

from jepa_ros.cost.intrinsic import IntrinsicTerm, registered, TERMS
from jepa_ros.errors import ConfigError, CostError


def free(states, actions, context):
    return states.new_zeros(states.shape[:-1])


def test_a_term_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        TERMS.get('avoid').floor = 0.0


def test_a_name_that_is_taken_is_not_replaced():
    before = TERMS.get('avoid')
    with pytest.raises(ConfigError, match="cost_term 'avoid' is there already: choose another name"):
        TERMS.register('avoid')(IntrinsicTerm(free, 0.0))
    assert TERMS.get('avoid') is before


def test_what_could_be_trained_is_no_term():
    weight = torch.ones(1, requires_grad=True)

    def learned(states, actions, context):
        return (states * weight).sum(-1)
    for function in (torch.nn.Linear(2, 1), learned):
        with pytest.raises(CostError, match='is no plain function: an intrinsic term holds nothing that could be'):
            IntrinsicTerm(function, 1.0)
        with pytest.raises(CostError, match='no plain function'):
            IntrinsicTerm(free, 1.0, constraint=function)


@pytest.mark.parametrize('weight, floor', [(1.0, 2.0), (float('nan'), 0.0), (float('inf'), 0.0), (1.0, -1.0),
                                           (-1.0, 0.0), (1.0, float('nan'))])
def test_a_default_weight_below_its_floor_is_refused(weight, floor):
    with pytest.raises(CostError, match="cost term 'free': default weight"):
        IntrinsicTerm(free, weight, floor)


def test_an_entry_point_that_is_no_term_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(TERMS, '_parts', {**TERMS._parts, 'odd': free})
    with pytest.raises(CostError, match="cost term 'odd' of an entry point is no IntrinsicTerm but .*: define it with"):
        registered()
