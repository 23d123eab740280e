"""Recall between two times, of imagined states, and by several threads."""
import threading

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from tiny import invariant
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.memory.memory import Memory

S = 1_000_000_000


def remembering(times, **options) -> Memory:
    """A world whose state is the time in seconds."""
    memory = Memory(1, **options)
    for t in times:
        memory.store(int(t * S), torch.tensor([float(t)]), 10.0 * t)
    return memory


@invariant
@given(st.lists(st.integers(0, 50), min_size=1, max_size=12, unique=True), st.floats(0, 50), st.floats(0.5, 10))
def test_between_two_neighbours_a_state_is_interpolated_and_across_a_gap_none(times, asked, max_gap_s):
    memory = remembering(times)
    before, after = [t for t in times if t * S <= int(asked * S)], [t for t in times if t * S >= int(asked * S)]
    recall = memory.at_time(int(asked * S), max_gap_s)
    if not before or not after or min(after) - max(before) > max_gap_s:
        assert len(recall.stamps_ns) == 0
        return
    assert recall.states[0].tolist() == pytest.approx([asked], abs=1e-4)
    assert recall.energies.tolist() == pytest.approx([10 * asked], abs=1e-4)
    assert recall.distances.tolist() == pytest.approx([min(asked - max(before), min(after) - asked)], abs=1e-6)


def test_nothing_is_interpolated_from_one_goal_to_the_next():
    memory = remembering([1])
    memory.begin('e', 'next')
    memory.store(2 * S, torch.tensor([7.0]), 0.0)
    assert len(memory.at_time(int(1.5 * S), 5.0).stamps_ns) == 0
    assert memory.at_time(2 * S).states.tolist() == [[7.0]]


def test_imagination_is_no_experience_until_it_is_asked_for():
    memory = remembering([1, 2])
    sure = memory.by_state(torch.tensor([9.0])).confidence
    assert memory.imagine(np.array([3 * S, 4 * S]), torch.tensor([[8.0], [9.0]]), np.array([0.0, 1.0])) == 2
    assert memory.by_time(4 * S, 1).stamps_ns.tolist() == [2 * S]
    assert memory.by_state(torch.tensor([9.0]), 9).imagined.tolist() == [False, False]
    assert len(memory.at_time(int(3.5 * S)).stamps_ns) == 0
    assert memory.by_time(4 * S, 1, imagined=True).imagined.tolist() == [True]
    assert memory.by_state(torch.tensor([9.0]), 1, imagined=True).states.tolist() == [[9.0]]
    assert memory.at_time(int(3.5 * S), imagined=True).states.tolist() == [[8.5]]
    assert memory.by_state(torch.tensor([9.0])).confidence == sure


def test_a_future_that_cannot_be_is_refused_whole():
    memory = remembering([1])
    with pytest.raises(ConfigError, match='not finite'):
        memory.imagine(np.array([3 * S, 4 * S]), torch.tensor([[8.0], [torch.nan]]), np.zeros(2))
    assert len(memory) == 1


def test_a_memory_made_smaller_keeps_the_newest():
    memory = remembering(range(10))
    memory.resize(3)
    assert sorted(memory.episodic.stamps_ns.tolist()) == [7 * S, 8 * S, 9 * S] and memory.capacity == 3


def test_one_hour_is_searched_by_state_and_ties_come_oldest_first():
    memory = Memory(8)
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(36_000, 8, generator=generator)
    states[30_000] = states[5]
    memory.episodic.extend(np.arange(36_000), states, np.zeros(36_000), np.zeros(36_000, int), np.zeros((36_000, 0)))
    recall = memory.by_state(states[5], 4)
    exact = (states - states[5]).square().mean(1).sqrt()
    assert recall.stamps_ns[:2].tolist() == [5, 30_000]
    assert recall.distances == pytest.approx(exact.sort().values[:4].numpy(), abs=1e-4)


def test_one_thread_may_ask_while_another_stores():
    memory, errors, done = Memory(4, capacity=50, slots=20), [], threading.Event()
    reader = memory.reader()

    def ask():
        try:
            while not done.is_set():
                assert len(memory.by_state(torch.zeros(4)).stamps_ns) <= 8
                assert reader.read(torch.zeros(4)).shape == (6,)
                memory.trajectories()
        except Exception as error:
            errors.append(error)
    thread = threading.Thread(target=ask)
    thread.start()
    generator = torch.Generator().manual_seed(0)
    for i in range(300):
        memory.store(i, 5 * torch.randn(4, generator=generator), 0.0)
    done.set()
    thread.join()
    assert not errors
