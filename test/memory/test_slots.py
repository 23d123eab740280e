"""Many memories at once are each as the one of §4.9."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant
import torch

from jepa_ros.memory.associative import AssociativeMemory
from jepa_ros.memory.slots import match, read, Slots, write

BETA, GAMMA = 4.0, 0.2


def empty(*leading: int, count: int = 4, key: int = 2, value: int = 3, like=torch.zeros(1)) -> Slots:
    return Slots.empty(leading, count, key, value, like)


@invariant
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 12))
def test_a_memory_among_many_is_written_and_read_as_one_alone(seed, capacity, writes):
    """Eq. 15–20, allocation and replacement: the same numbers as `AssociativeMemory`."""
    generator = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(writes, 3, 2, generator=generator), torch.randn(writes, 3, 3, generator=generator)
    queries = torch.randn(3, 2, generator=generator)
    slots, alone = empty(3, count=capacity), [AssociativeMemory(2, 3, capacity, BETA, GAMMA) for _ in range(3)]
    for key, value in zip(keys, values):
        slots = write(slots, key, value, BETA, GAMMA)
        for memory, k, v in zip(alone, key, value):
            memory.write(k, v)
    found, sure = read(slots, queries, BETA, GAMMA)
    for row, memory in enumerate(alone):
        value, known = memory.read_sure(queries[row])
        torch.testing.assert_close(found[row], value, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(sure[row], known, atol=1e-5, rtol=1e-4)


def test_an_empty_memory_reads_as_zero_and_unsure():
    found, sure = read(empty(2), torch.zeros(2, 2), BETA, GAMMA)
    assert found.tolist() == [[0.0] * 3] * 2 and sure.tolist() == [0.0, 0.0]


@pytest.mark.parametrize('worth, kept', [(1.0, 1.0), (0.25, 0.25), (0.0, 0.0)])
def test_what_is_worth_little_counts_little(worth, kept):
    slots = write(empty(), torch.zeros(2), torch.ones(3), BETA, GAMMA, torch.tensor(worth))
    assert float(match(slots, torch.zeros(2), BETA).max()) == pytest.approx(kept)
    again = write(write(empty(), torch.zeros(2), torch.ones(3), BETA, GAMMA), torch.zeros(2), torch.zeros(3), BETA,
                  GAMMA, torch.tensor(worth))
    assert float(again.values.max()) == pytest.approx(1 - worth / (1 + GAMMA))     # eq. 20 with c_j scaled by worth


def test_a_memory_is_never_changed_by_a_later_write():
    before = write(empty(), torch.zeros(2), torch.ones(3), BETA, GAMMA)
    copies = [t.clone() for t in before]
    write(before, torch.zeros(2), -torch.ones(3), BETA, GAMMA)
    assert all(torch.equal(old, now) for old, now in zip(copies, before))


def test_gradients_flow_through_writes_and_reads_to_everything():
    """§4.9: "allow to back-propagate gradients through them"."""
    def remembered(keys, values, worth, query, beta, gamma):
        slots = empty(2, count=2, like=keys)
        for t in range(keys.shape[0]):      # allocates twice, goes over a slot, takes the oldest
            slots = write(slots, keys[t], values[t], beta, gamma, worth[t])
        return read(slots, query, beta, gamma)

    generator = torch.Generator().manual_seed(0)
    places = torch.tensor([0.0, 3.0, 0.2, -3.0], dtype=torch.float64)[:, None, None]
    keys = (places + 0.1 * torch.randn(4, 2, 2, generator=generator, dtype=torch.float64)).requires_grad_()
    values = torch.randn(4, 2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    worth = torch.full((4, 2), 0.8, dtype=torch.float64, requires_grad=True)
    query = torch.tensor([[-2.5, -2.0], [0.3, 0.1]], dtype=torch.float64, requires_grad=True)
    beta, gamma = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.7, 0.3))
    assert torch.autograd.gradcheck(remembered, (keys, values, worth, query, beta, gamma))
    value, _ = remembered(keys, values, worth, query, beta, gamma)
    grads = torch.autograd.grad(value.sum(), (keys, values, worth, query, beta, gamma))
    assert all(bool(g.abs().max() > 0) for g in grads)
