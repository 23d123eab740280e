"""States with a name."""
import pytest
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.memory import labels
from jepa_ros.memory.labels import Labels
from jepa_ros.memory.memory import Memory


def test_a_sentence_finds_its_states_newest_first_however_it_is_spaced():
    memory = Memory(1)
    for i in (1, 2):
        memory.remember_label(' the red\n door ', torch.tensor([float(i)]), i)
    recall = memory.by_label('the  red door')
    assert recall.states.tolist() == [[2.0], [1.0]] and recall.stamps_ns.tolist() == [2, 1]
    assert {text: s.tolist() for text, s in memory.labels().items()} == {'the red door': [[2.0], [1.0]]}
    assert len(memory.by_label('the red door', 1).stamps_ns) == 1


def test_labels_outlive_the_triplets_they_came_from():
    memory = Memory(1, capacity=1)
    memory.store(1, torch.tensor([5.0]), 0.0)
    memory.label_moment('start', 1)
    memory.store(2, torch.tensor([6.0]), 0.0)
    memory.label_moment('now')
    assert memory.by_label('now').states.tolist() == [[6.0]]
    assert memory.by_label('start').states.tolist() == [[5.0]]


def test_an_unknown_label_lists_what_is_known():
    memory = Memory(1)
    memory.remember_label('the red door', torch.zeros(1))
    with pytest.raises(ConfigError, match=r"'the red dor' \(did you mean the red door\?\); labels: the red door"):
        memory.by_label('the red dor')


def test_of_one_label_the_newest_states_stay():
    memory = Memory(1)
    for i in range(labels.STATES + 3):
        memory.remember_label('here', torch.tensor([float(i)]), i)
    assert memory.labels()['here'][:, 0].tolist() == [float(i) for i in range(labels.STATES + 2, 2, -1)]


def test_there_is_a_most_of_labels_until_one_is_forgotten(monkeypatch):
    monkeypatch.setattr(labels, 'MOST', 2)
    kept = Labels()
    for text in ('a', 'b'):
        kept.add(text, torch.zeros(1))
    with pytest.raises(ConfigError, match="2 labels are kept already; forget one before 'c' is added"):
        kept.add('c', torch.zeros(1))
    kept.forget('a')
    assert kept.add('c', torch.zeros(1)) == 'c' and len(kept) == 2


@pytest.mark.parametrize('text, word', [('', 'at least one word'), (' \n', 'at least one word'),
                                        ('x' * 201, 'at most 200 characters, this one has 201')])
def test_what_is_no_label_is_refused(text, word):
    with pytest.raises(ConfigError, match=word):
        Labels().add(text, torch.zeros(1))
