"""The memory organ: queries by state and by time."""
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.memory.memory import Memory

S = 1_000_000_000


def filled(count: int = 5) -> Memory:
    memory = Memory(2, capacity=100)
    for i in range(count):
        memory.store((i + 1) * S, torch.tensor([float(i), 0.0]), 10.0 * i)
    return memory


def test_by_state_answers_with_the_nearest_first():
    recall = filled().by_state(torch.tensor([2.9, 0.0]), 3)
    assert recall.stamps_ns.tolist() == [4 * S, 3 * S, 5 * S]
    assert recall.energies.tolist() == [30.0, 20.0, 40.0]
    assert recall.states[:, 0].tolist() == [3.0, 2.0, 4.0]
    assert recall.distances.tolist() == pytest.approx([0.1 / math.sqrt(2), 0.9 / math.sqrt(2), 1.1 / math.sqrt(2)],
                                                      rel=1e-4)


def test_by_time_answers_with_the_nearest_first_in_seconds():
    recall = filled().by_time(int(2.2 * S), 2)
    assert recall.stamps_ns.tolist() == [2 * S, 3 * S]
    assert recall.distances.tolist() == pytest.approx([0.2, 0.8])


@invariant
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.floats(-5, 5), st.integers(0, 30))
def test_distances_never_fall_along_an_answer_and_no_nearer_triplet_is_left_out(places, query, count):
    memory = Memory(1, capacity=15)
    for i, place in enumerate(places):
        memory.store(i, torch.tensor([place]), 0.0)
    kept = sorted(abs(p - query) for p in places[-15:])
    recall = memory.by_state(torch.tensor([query]), count)
    assert recall.distances.tolist() == pytest.approx(kept[:max(1, count)], abs=1e-4)


def test_the_value_read_by_association_is_state_and_energy_of_what_is_known():
    """LeCun §4.9, eq. 15: a single entry that matches exactly is read with weight 1/(1 + γ)."""
    memory = Memory(2)
    memory.store(S, torch.tensor([1.0, -1.0]), 4.0)
    assert memory.by_state(torch.tensor([1.0, -1.0])).value.tolist() == pytest.approx(
        [1 / 1.1, -1 / 1.1, 4 / 1.1], rel=1e-4)
    assert memory.by_time(S).value.tolist() == pytest.approx([1 / 1.1, -1 / 1.1, 4 / 1.1], rel=1e-4)


def test_the_unknown_is_read_as_zero():
    assert filled().by_state(torch.tensor([500.0, 500.0])).value.tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_an_empty_memory_answers_with_nothing():
    memory = Memory(2)
    for recall in (memory.by_state(torch.zeros(2)), memory.by_time(S)):
        assert (len(recall.stamps_ns), tuple(recall.states.shape), len(recall.energies)) == (0, (0, 2), 0)
        assert recall.value.tolist() == [0, 0, 0]
    assert len(memory) == 0


def test_more_than_there_is_gives_what_there_is():
    assert len(filled(3).by_state(torch.zeros(2), 50).stamps_ns) == 3


@pytest.mark.parametrize('state, energy, line', [
    (torch.zeros(3), 0.0, r'memory: state has shape \(3,\), this model has \(2,\)'),
    (torch.tensor([0.0, math.nan]), 0.0, 'memory: triplet at 1.000 s is not finite, not stored'),
    (torch.zeros(2), math.inf, 'memory: triplet at 1.000 s is not finite'),
])
def test_a_triplet_that_cannot_be_is_refused_and_leaves_the_memory_as_it_was(state, energy, line):
    memory = filled(2)
    with pytest.raises(ConfigError, match=line):
        memory.store(S, state, energy)
    assert len(memory) == 2


def test_a_query_with_a_state_of_another_model_is_refused():
    with pytest.raises(ConfigError, match='this model has'):
        filled().by_state(torch.zeros(7))


def test_an_answer_does_not_change_when_more_is_stored():
    memory = Memory(1, capacity=2)
    memory.store(1, torch.tensor([1.0]), 1.0)
    recall = memory.by_state(torch.tensor([1.0]))
    for i in range(4):
        memory.store(10 + i, torch.tensor([9.0]), 9.0)
    assert (recall.stamps_ns.tolist(), recall.states.tolist(), recall.energies.tolist()) == ([1], [[1.0]], [1.0])
