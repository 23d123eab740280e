"""Entity slots: the state of the world, updated only where something changed (LeCun §4.9)."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.memory.entities import EntitySlots, Groups, NEVER

BOTTLE, KITCHEN, DINING_ROOM = torch.tensor([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]])
ALL = torch.stack([BOTTLE, KITCHEN, DINING_ROOM])


def before() -> EntitySlots:
    """The bottle is in the kitchen: values are (where it is, what it holds)."""
    slots = EntitySlots(3, 2, capacity=3)
    assert slots.see(ALL, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), 100).tolist() == [True] * 3
    return slots


def test_an_event_changes_the_entities_it_affects_and_leaves_the_rest_as_they_were():
    """§4.9: the bottle is moved; "the rest of the world will be unaffected"."""
    slots = EntitySlots(3, 2, capacity=4)
    table = torch.tensor([-4.0, 0.0, 0.0])
    keys = torch.cat([ALL, table[None]])
    slots.see(keys, torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [5.0, 5.0]]), 100)
    changed = slots.see(keys, torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0], [5.0, 5.01]]), 200)
    assert changed.tolist() == [True, True, True, False]
    known = slots.about(keys)
    assert known.values.tolist() == [[2.0, 0.0], [0.0, 0.0], [0.0, 1.0], [5.0, 5.0]]    # 5.01 is no change
    assert known.changed_ns.tolist() == [200, 200, 200, 100] and known.seen_ns.tolist() == [200] * 4


def test_what_is_not_seen_keeps_its_value_and_its_stamp():
    slots = before()
    changed = slots.see(ALL, torch.full((3, 2), 9.0), 200, torch.tensor([False, True, False]))
    assert changed.tolist() == [False, True, False]
    known = slots.about(ALL)
    assert known.values[:, 0].tolist() == [1.0, 9.0, 0.0] and known.seen_ns.tolist() == [100, 200, 100]


def test_an_entity_seen_in_part_keeps_what_is_hidden_of_it():
    slots = before()
    slots.see(BOTTLE[None], torch.tensor([[7.0, 7.0]]), 200, torch.tensor([[False, True]]))
    assert slots.about(BOTTLE[None]).values.tolist() == [[1.0, 7.0]]


def test_what_was_never_seen_of_an_entity_is_not_known():
    slots = EntitySlots(3, 2)
    slots.see(BOTTLE[None], torch.tensor([[7.0, 7.0]]), 100, torch.tensor([[False, True]]))
    assert slots.about(BOTTLE[None]).known.tolist() == [[False, True]]
    assert slots.see(BOTTLE[None], torch.tensor([[0.01, 7.0]]), 200).tolist() == [True]     # seen for the first time
    assert slots.about(BOTTLE[None]).known.tolist() == [[True, True]]


def test_nothing_is_known_of_an_entity_that_was_never_met():
    known = before().about(torch.tensor([[-4.0, -4.0, -4.0]]))
    assert (known.confidence.tolist(), known.changed_ns.tolist(), known.known.any().item()) == ([0.0], [NEVER], False)
    assert EntitySlots(3, 2).about(ALL).seen_ns.tolist() == [NEVER] * 3


def test_the_entity_least_recently_seen_is_forgotten_when_there_is_no_room():
    slots = before()
    slots.see(ALL[[0, 2]], torch.zeros(2, 2), 200)
    slots.see(torch.tensor([[-4.0, 0.0, 0.0]]), torch.ones(1, 2), 300)
    assert len(slots) == 3
    assert slots.about(ALL).confidence.tolist() == [1.0, 0.0, 1.0]


@invariant
@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 5))
def test_the_entities_seen_last_are_the_ones_that_are_known(visits, capacity):
    slots = EntitySlots(1, 1, capacity=capacity)
    recent: list[int] = []
    for stamp, place in enumerate(visits):
        slots.see(torch.tensor([[4.0 * place]]), torch.tensor([[float(stamp)]]), stamp)
        recent = [p for p in recent if p != place] + [place]
    assert sorted(slots.keys.flatten().tolist()) == sorted(4.0 * p for p in recent[-capacity:])
    newest = slots.about(torch.tensor([[4.0 * visits[-1]]]))
    assert newest.values.tolist() == [[float(len(visits) - 1)]]


@pytest.mark.parametrize('keys, values, word', [
    (torch.zeros(1, 2), torch.zeros(1, 2), r'expected \(1, 3\)'),
    (torch.zeros(1, 3), torch.zeros(2, 2), r'expected \(1, 3\) and \(1, 2\)'),
    (torch.zeros(1, 3), torch.full((1, 2), torch.nan), 'not finite')])
def test_entities_that_cannot_be_are_refused_and_nothing_changes(keys, values, word):
    slots = before()
    with pytest.raises(ConfigError, match=word):
        slots.see(keys, values, 200)
    assert slots.seen_ns.tolist() == [100] * 3


def test_groups_of_a_state_are_entities_and_hidden_dimensions_come_back():
    """A state of which a group is not seen now is completed with what was known of that group."""
    groups = Groups([[0, 1], [2], [3, 4]])
    slots = EntitySlots(3, groups.widest)
    seen = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    slots.see(groups.keys, *_and(groups.values(seen), 100))
    now = torch.tensor([1.5, 2.5, torch.nan, torch.nan, 6.0])
    values, mask = groups.values(now)
    assert slots.see(groups.keys, values, 200, mask).tolist() == [True, False, True]
    assert groups.complete(now, slots.about(groups.keys)).tolist() == [1.5, 2.5, 3.0, 4.0, 6.0]
    assert slots.about(groups.keys).changed_ns.tolist() == [200, 100, 200]


def _and(values_seen, stamp):
    values, seen = values_seen
    return values, stamp, seen


@pytest.mark.parametrize('groups', [[], [[]], [[0], [0]], [[0, 0]]])
def test_groups_that_overlap_or_are_empty_are_refused(groups):
    with pytest.raises(ConfigError, match='no dimension is in two groups'):
        Groups(groups)
