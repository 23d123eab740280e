"""The ring of triplets."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant
import torch

from jepa_ros.memory.episodic import EpisodicStore


@invariant
@given(capacity=st.integers(1, 6), count=st.integers(0, 20))
def test_keeps_the_newest_triplets_and_keeps_each_one_together(capacity, count):
    store = EpisodicStore(2, capacity)
    for i in range(count):
        store.append(10 * i, torch.full((2,), float(i)), i / 2)
    newest = list(range(max(0, count - capacity), count))
    assert len(store) == len(newest)
    kept = sorted(zip(store.stamps_ns.tolist(), store.states.tolist(), store.energies.tolist()))
    assert kept == [(10 * i, [float(i)] * 2, i / 2) for i in newest]


def test_one_hour_at_10_hz_is_kept_by_default():
    """LeCun §3.3: past triplets are what the critic learns from."""
    assert EpisodicStore(1).capacity == 60 * 60 * 10


def test_stamps_keep_their_nanoseconds():
    store = EpisodicStore(1, 2)
    store.append(1_700_000_000_123_456_789, torch.zeros(1), 0.0)
    assert int(store.stamps_ns[0]) == 1_700_000_000_123_456_789


def test_a_stored_state_does_not_change_with_the_tensor_it_came_from():
    store, state = EpisodicStore(1, 2), torch.zeros(1)
    store.append(1, state, 0.0)
    state += 5
    assert store.states.tolist() == [pytest.approx([0.0])]
