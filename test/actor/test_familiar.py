"""What the actor has seen, for curiosity."""
import pytest
import tiny
import torch

from jepa_ros.actor import familiar
from jepa_ros.actor.familiar import Familiar
from jepa_ros.cost.cost import Cost


@pytest.fixture
def cost() -> Cost:
    return Cost(tiny.integrator_model(1), ['x_m', 'y_m'])


def test_settings_without_curiosity_pass_as_they_are(cost):
    settings = cost.make_settings(None)
    assert Familiar(cost).settings(settings, torch.zeros(2)) is settings


def test_what_was_seen_is_familiar_and_the_settings_stay_for_some_ticks(cost):
    settings, seen = cost.make_settings(None, {'curiosity': 1.0}), Familiar(cost)
    first = seen.settings(settings, torch.tensor([0.0, 0.0]))
    again = seen.settings(settings, torch.tensor([1.0, 0.0]))
    assert first is again and first.remembered[0].tolist() == [[0.0, 0.0]]
    for _ in range(familiar.REFRESH):
        later = seen.settings(settings, torch.tensor([1.0, 0.0]))
    assert later is not first and [1.0, 0.0] in later.remembered[0].tolist()
    near, far = (float(cost.energy(torch.tensor([[x, 0.0]]), None, later)) for x in (1.0, 50.0))
    assert far < near       # what is new costs less


def test_the_ring_is_bounded_and_passes_over_what_is_not_finite(cost, monkeypatch):
    monkeypatch.setattr(familiar, 'CAPACITY', 4)
    settings, seen = cost.make_settings(None, {'curiosity': 1.0}), Familiar(cost)
    for x in range(6):
        seen.settings(settings, torch.tensor([float(x), 0.0]))
    seen.settings(settings, torch.tensor([torch.nan, 0.0]))
    assert sorted(float(s[0]) for s in seen._states) == [2.0, 3.0, 4.0, 5.0]
