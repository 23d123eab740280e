"""The associative memory against LeCun §4.9, eq. 15–20, written out."""
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest
from tiny import invariant
import torch

from jepa_ros.memory.associative import AssociativeMemory

BETA, GAMMA = 2.0, 0.3


def match(key, query) -> float:
    """exp(c̃) of eq. 16, with the dissimilarity Match(k, q) = −β · mean squared difference."""
    return math.exp(-BETA * sum((float(a) - float(b)) ** 2 for a, b in zip(key, query)) / len(key))


def normalised(keys, query) -> list[float]:
    """Eq. 17 with the example of §4.9: c_j = exp(c̃_j) / (γ + Σ_k exp(c̃_k))."""
    matches = [match(key, query) for key in keys]
    return [m / (GAMMA + sum(matches)) for m in matches]


def filled(slots: int = 5, seed: int = 0) -> AssociativeMemory:
    generator = torch.Generator().manual_seed(seed)
    memory = AssociativeMemory(3, 2, capacity=slots, beta=BETA, gamma=GAMMA)
    memory.keys, memory.values = torch.randn(slots, 3, generator=generator), torch.randn(slots, 2, generator=generator)
    memory._written = torch.arange(slots)
    memory._clock = slots
    return memory


vectors = st.lists(st.floats(-3, 3), min_size=3, max_size=3).map(torch.tensor)


@invariant
@given(vectors, st.integers(0, 50))
def test_reads_the_sum_of_values_by_their_match(query, seed):
    """Eq. 15–17: Mem(q) = Σ_j c_j v_j."""
    memory = filled(seed=seed)
    c = normalised(memory.keys, query)
    expected = [sum(cj * float(v[i]) for cj, v in zip(c, memory.values)) for i in range(2)]
    assert memory.read(query).tolist() == pytest.approx(expected, abs=1e-5)


@invariant
@given(vectors, st.integers(0, 50))
def test_coefficients_are_not_negative_and_sum_to_less_than_one(query, seed):
    """Eq. 17: γ > 0 keeps the sum below one."""
    c = filled(seed=seed).coefficients(query)
    assert bool((c >= 0).all()) and float(c.sum()) < 1


@invariant
@given(vectors, st.integers(0, 50))
def test_a_write_near_a_key_moves_every_value_by_its_match(query, seed):
    """Eq. 18–20: v_j ← c_j r + (1 − c_j) v_j."""
    memory, value = filled(seed=seed), torch.tensor([7.0, -7.0])
    if max(match(key, query) for key in memory.keys) < GAMMA:
        query = memory.keys[0] + 0.1
    before, c = memory.values.clone(), normalised(memory.keys, query)
    memory.write(query, value)
    assert len(memory) == 5
    for cj, old, new in zip(c, before, memory.values):
        assert new.tolist() == pytest.approx([cj * 7 + (1 - cj) * float(old[0]), cj * -7 + (1 - cj) * float(old[1])],
                                             abs=1e-4)


def test_gamma_is_the_match_at_which_a_query_counts_half():
    """§4.9: γ may serve as a threshold for acceptable key-query divergence: with one key, match = γ gives c = ½."""
    memory = AssociativeMemory(1, 1, beta=BETA, gamma=GAMMA)
    memory.write(torch.zeros(1), torch.ones(1))
    at_threshold = math.sqrt(-math.log(GAMMA) / BETA)
    assert float(memory.read(torch.tensor([at_threshold]))) == pytest.approx(0.5, abs=1e-5)
    assert float(memory.read(torch.tensor([0.0]))) == pytest.approx(1 / (1 + GAMMA), abs=1e-5)


@pytest.mark.parametrize('share, slots', [(0.99, 1), (1.01, 2)])
def test_a_query_is_given_a_slot_of_its_own_when_it_is_farther_than_gamma_allows(share, slots):
    """§4.9: if the query is distant from all keys, a new entry is allocated, whose key is q and value r."""
    memory = AssociativeMemory(1, 1, beta=BETA, gamma=GAMMA)
    memory.write(torch.zeros(1), torch.zeros(1))
    query = torch.tensor([share * math.sqrt(-math.log(GAMMA) / BETA)])
    memory.write(query, torch.ones(1))
    assert len(memory) == slots
    if slots == 2:
        assert torch.equal(memory.keys[1], query) and memory.values[1].tolist() == [1.0]


def test_the_unknown_reads_as_zero():
    assert torch.allclose(filled().read(torch.full((3,), 100.0)), torch.zeros(2), atol=1e-6)


def test_reading_is_differentiable_in_the_query():
    """§4.9: all of these operations can be done in a differentiable manner."""
    memory, query = filled(), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    memory.keys, memory.values = memory.keys.double(), memory.values.double()
    assert torch.autograd.gradcheck(memory.read, query)


def test_gradients_flow_through_a_write_to_what_was_written():
    memory = filled()
    value = torch.tensor([1.0, 2.0], requires_grad=True)
    memory.write(memory.keys[2], value)
    memory.read(memory.keys[2]).sum().backward()
    assert float(value.grad.min()) > 0


def test_repeated_writes_converge_to_the_value():
    memory = filled(slots=1)
    for _ in range(40):
        memory.write(memory.keys[0], torch.tensor([3.0, -4.0]))
    assert memory.values[0].tolist() == pytest.approx([3.0, -4.0], abs=1e-3)


def test_a_full_memory_gives_the_slot_that_was_written_longest_ago():
    memory = AssociativeMemory(1, 1, capacity=3, beta=100.0, gamma=0.5)
    for place in (0.0, 10.0, 20.0):
        memory.write(torch.tensor([place]), torch.tensor([place]))
    memory.write(torch.tensor([0.0]), torch.tensor([0.5]))          # 10 is now the oldest
    memory.write(torch.tensor([30.0]), torch.tensor([30.0]))
    assert len(memory) == 3
    assert sorted(memory.keys.flatten().tolist()) == [0.0, 20.0, 30.0]


@invariant
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.integers(1, 5))
def test_never_holds_more_than_its_capacity(places, capacity):
    memory = AssociativeMemory(1, 1, capacity=capacity)
    for place in places:
        memory.write(torch.tensor([place]), torch.tensor([place]))
    assert 1 <= len(memory) <= capacity
    assert len(memory.keys) == len(memory.values) == len(memory._written)


def test_reads_a_batch_like_its_queries_one_by_one():
    memory, queries = filled(), torch.randn(4, 3, generator=torch.Generator().manual_seed(5))
    assert torch.allclose(memory.read(queries), torch.stack([memory.read(q) for q in queries]), atol=1e-6)


def test_a_write_and_a_read_let_gradients_flow_to_key_value_query_beta_and_gamma():
    """§4.9: "allow to back-propagate gradients through them": through eq. 15–20, allocation and replacement."""
    def written_then_read(key, value, later, query, beta, gamma):
        memory = AssociativeMemory(2, 1, capacity=2, beta=beta, gamma=gamma)
        memory.keys, memory.values = memory.keys.double(), memory.values.double()
        memory.write(key, value)                        # allocates
        memory.write(key.detach() + 0.3, later)         # near: eq. 18–20
        memory.write(key + 4.0, later)                  # far: allocates
        memory.write(key - 4.0, value * later)          # full: takes the slot written longest ago
        assert len(memory) == 2
        return memory.read(query)

    def leaf(*values):
        return torch.tensor(values, dtype=torch.float64, requires_grad=True)
    leaves = leaf(0.1, -0.2), leaf(1.5), leaf(-0.5), leaf(-3.2, -3.9), leaf(0.7).squeeze(), leaf(0.4).squeeze()
    assert torch.autograd.gradcheck(written_then_read, leaves)
    read = written_then_read(*leaves)
    assert all(bool(g.abs().max() > 0) for g in torch.autograd.grad(read.sum(), leaves))


def test_what_is_not_seen_does_not_count_in_the_match():
    memory, generator = filled(), torch.Generator().manual_seed(3)
    query, seen = torch.randn(3, generator=generator), torch.tensor([True, False, True])
    short = AssociativeMemory(2, 2, beta=BETA, gamma=GAMMA)
    short.keys, short.values = memory.keys[:, seen], memory.values
    assert torch.allclose(memory.read(query, seen), short.read(query[seen]), atol=1e-6)
    assert torch.allclose(memory.read(query, seen), memory.read(query + torch.tensor([0.0, 50.0, 0.0]), seen))


def test_reads_and_their_sureness_come_in_batches():
    memory, queries = filled(), torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(5))
    values, sure = memory.read_sure(queries)
    assert values.shape == (4, 2, 2) and sure.shape == (4, 2)
    assert torch.allclose(sure, memory.coefficients(queries).sum(-1)) and torch.allclose(values, memory.read(queries))


@pytest.mark.parametrize('capacity', [5, 3])
def test_a_snapshot_is_taken_over_with_its_newest_slots(capacity):
    memory = filled()
    other = AssociativeMemory(3, 2, capacity=capacity, beta=BETA, gamma=GAMMA)
    other.restore(**memory.snapshot())
    assert torch.equal(other.keys, memory.keys[-capacity:]) and torch.equal(other.values, memory.values[-capacity:])
    other.write(torch.full((3,), 50.0), torch.zeros(2))
    assert len(other) == capacity and not bool((other.keys == memory.keys[-capacity]).all(-1).any())
