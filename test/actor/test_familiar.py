"""What the actor has seen, for curiosity."""
import numpy as np
import pytest
import tiny
import torch

from jepa_ros.actor import familiar
from jepa_ros.actor.familiar import Familiar
from jepa_ros.cost.cost import Cost
from jepa_ros.memory.memory import Memory


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


def test_where_memory_is_in_this_process_it_says_what_is_familiar_over_goals(cost):
    """Not the ring, which a new goal empties."""
    memory = Memory(2)
    for t in range(5):
        memory.store(t, torch.tensor([10.0 + t, 0.0]), 0.0)
    memory.imagine(np.array([99]), torch.tensor([[0.0, 0.0]]), np.zeros(1))
    settings, seen = cost.make_settings(None, {'curiosity': 1.0}), Familiar(cost, memory.reader().seen)
    alone = seen.settings(settings, torch.tensor([0.0, 0.0]))
    assert alone.remembered[0].tolist() == [[0.0, 0.0]]        # nobody stores there yet
    memory.attended = True
    seen.reset()
    known = seen.settings(settings, torch.tensor([0.0, 0.0]))
    assert known.remembered[0].tolist() == [[10.0 + t, 0.0] for t in range(5)]


def test_of_much_that_was_seen_a_part_is_taken_from_all_of_it(cost, monkeypatch):
    monkeypatch.setattr(familiar, 'CAPACITY', 3)
    memory = Memory(2, capacity=50)
    memory.attended = True
    for t in range(101):
        memory.store(t, torch.tensor([float(t), 0.0]), 0.0)
    known = Familiar(cost, memory.reader().seen).settings(cost.make_settings(None, {'curiosity': 1.0}), torch.zeros(2))
    first, middle, last = known.remembered[0][:, 0].tolist()
    assert (first, last) == (51.0, 100.0) and 74 < middle < 77
