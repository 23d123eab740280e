"""What predictor, policy and cost read from memory."""
import pytest
import torch

from jepa_ros.memory.associative import AssociativeMemory
from jepa_ros.memory.memory import Memory

HERE, THERE = torch.tensor([0.0, 0.0, 5.0, 1.0]), torch.tensor([3.0, 3.0, -5.0, 2.0])
HIDDEN = torch.tensor([False, False, True, False])


def remembering() -> Memory:
    memory = Memory(4)
    memory.store(1, HERE, 10.0)
    memory.store(2, THERE, 20.0)
    return memory


def test_a_read_has_a_fixed_size_and_says_how_sure_it_is():
    reader = remembering().reader()
    known, unknown = reader.read(torch.stack([HERE, torch.full((4,), 90.0)]))
    assert reader.width == 6 and known.shape == (6,)
    assert known.tolist() == pytest.approx([v / 1.1 for v in (0.0, 0.0, 5.0, 1.0, 10.0, 1.0)], abs=1e-4)
    assert unknown.tolist() == pytest.approx([0.0] * 6, abs=1e-6)


def test_an_empty_memory_reads_as_unknown():
    assert Memory(4).reader().read(HERE).tolist() == [0.0] * 6


@pytest.mark.parametrize('place', [HERE, THERE])
@pytest.mark.parametrize('rest', [torch.nan, 77.0])
def test_a_state_is_completed_with_what_was_there_before(place, rest):
    s = torch.where(HIDDEN, torch.tensor(rest), place)
    whole, sure = remembering().reader().complete(s, HIDDEN)
    c = 1 / 1.1
    kept = 0.0 if rest != rest else (1 - c) * rest
    assert float(sure) == pytest.approx(c, abs=1e-4)
    assert whole.tolist() == pytest.approx([*place[:2].tolist(), c * float(place[2]) + kept, float(place[3])], abs=1e-3)


def test_where_nothing_is_known_a_state_stays_as_it_is():
    s = torch.tensor([50.0, 50.0, 7.0, 50.0])
    whole, sure = remembering().reader().complete(s, HIDDEN)
    assert whole.tolist() == pytest.approx(s.tolist()) and float(sure) == pytest.approx(0.0, abs=1e-6)


def test_a_predictor_can_be_trained_through_a_read_of_stored_experience():
    reader = remembering().reader()
    s = (HERE + 0.2).requires_grad_(True)
    reader.read(s).sum().backward()
    assert bool((s.grad.abs() > 0).any())


def test_completion_is_differentiable_in_what_is_seen():
    memory = AssociativeMemory(4, 5, beta=1.0)
    memory.keys, memory.values = memory.keys.double(), memory.values.double()
    for s, energy in ((HERE, 10.0), (THERE, 20.0)):
        memory.write(s.double(), torch.cat([s, torch.tensor([energy])]).double())
    from jepa_ros.memory.reader import MemoryReader
    s = (HERE + 0.4).double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda s: MemoryReader(memory).complete(s, HIDDEN)[0], s)


def test_what_was_written_last_comes_last():
    memory = Memory(4)
    for t, place in enumerate((HERE, THERE, HERE)):
        memory.store(t, place, 0.0)
    at, what = memory.reader().newest(5)
    assert torch.equal(at, torch.stack([THERE, HERE])) and torch.allclose(what, at, atol=1e-3)
    assert torch.equal(memory.reader().newest(1)[0], HERE[None])
    assert memory.reader().newest(1)[0].shape == (1, 4) and Memory(4).reader().newest(3)[0].shape == (0, 4)


def test_a_glimpse_is_remembered_only_where_nobody_stores_what_is_seen():
    memory = Memory(4)
    reader = memory.reader()
    reader.glimpse(HERE)
    reader.glimpse(torch.full((4,), torch.nan))
    assert torch.equal(reader.newest(9)[0], HERE[None]) and not len(memory)
    memory.attended = True
    reader.glimpse(THERE)
    assert len(reader.newest(9)[0]) == 1
