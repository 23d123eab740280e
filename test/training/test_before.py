"""What memory held in recorded states."""
from hypothesis import given
from hypothesis import strategies as st
import tiny
import torch

from jepa_ros.training.before import chosen, memory_at
from jepa_ros.world_model.recall import RecallConfig

PAST = 4


def level(recall: bool = True):
    config = RecallConfig(slots=8, key=3, value=4, past=PAST) if recall else None
    torch.manual_seed(0)
    return tiny.model((tiny.LevelConfig(width=8, recall=config),)).levels[0]


@tiny.invariant
@given(st.integers(0, 11), st.integers(0, 11))
def test_it_is_that_of_the_newest_states_of_the_episode_the_present_one_included(row, first):
    row, first = max(row, first), min(row, first)
    jepa, s = level(), torch.randn(12, 6, generator=torch.Generator().manual_seed(1))
    found = memory_at(jepa, s, torch.tensor([row]), torch.tensor([first]))
    seen = s[max(first, row - PAST + 1):row + 1]
    padded = torch.cat([seen[:1].expand(PAST - len(seen), -1), seen])[None]
    assert all(torch.equal(a, b) for a, b in zip(found, jepa.recollect(padded, padded)))
    changed = s.clone()
    changed[row + 1:] = 0       # what comes later, and other episodes, have no part in it
    changed[:first] = 0
    again = memory_at(jepa, changed, torch.tensor([row]), torch.tensor([first]))
    assert all(torch.equal(a, b) for a, b in zip(found, again))


def test_a_level_that_does_not_recall_has_none():
    assert memory_at(level(False), torch.randn(5, 6), torch.tensor([3]), torch.tensor([0])) is None
    assert chosen(None, torch.tensor([0])) is None and level(False).known(torch.randn(2, 6), None) is None


def test_each_problem_keeps_its_own():
    jepa, s = level(), torch.randn(12, 6, generator=torch.Generator().manual_seed(1))
    memory = memory_at(jepa, s, torch.tensor([5, 9]), torch.tensor([0, 6]))
    which = torch.tensor([1, 0, 1])
    s = torch.randn(3, 6)
    known = jepa.known(s, chosen(memory, which))
    alone = jepa.known(s[1:2], chosen(memory, which[1:2]))
    assert known.shape == (3, jepa.config.recalled) and torch.allclose(known[1:2], alone)
    assert not torch.allclose(known, torch.zeros(3, jepa.config.recalled)) and bool((jepa.known(s, None) == 0).all())
