"""Sentences as goals."""
import sys

import numpy as np
import pytest
import torch

from jepa_ros.configurator.sentences import Sentences, wordllama_encoder
from jepa_ros.configurator.tasks import load_tasks, Task
from jepa_ros.errors import ConfigError

OWN = {'patrol', 'stay', 'explore'}


class Remembered:
    """States with labels, as memory has them."""

    def __init__(self, *labels: str):
        self._labels = {label: torch.full((2, 6), float(n)) for n, label in enumerate(labels)}

    def labels(self) -> dict[str, torch.Tensor]:
        return self._labels


MEMORY = Remembered('the red door', 'the blue door', 'charging station', 'kitchen table')


@pytest.fixture(scope='module')
def sentences() -> Sentences:
    pytest.importorskip('wordllama', reason="the text encoder is missing: pip install 'jepa_ros[language]'")
    return Sentences()


@pytest.fixture(scope='module')
def tasks() -> dict[str, Task]:
    return {name: task for name, task in load_tasks().items() if name in OWN}


@pytest.mark.parametrize('sentence, name', [
    ('go to the red door', 'the red door'), ('drive to the charger', 'charging station'),
    ('bring me to the kitchen', 'kitchen table'), ('look around', 'explore'), ('explore the area', 'explore'),
    ('stay where you are', 'stay'), ('hold still', 'stay'), ('patrol', 'patrol'), ('patrol the rooms', 'patrol')])
def test_a_sentence_finds_the_task_or_the_place_it_means(sentences, tasks, sentence, name):
    match = sentences.match(sentence, tasks, MEMORY)
    assert (match.name, match.task) == (name, name in OWN)
    assert match.state is None if match.task else torch.equal(match.state, MEMORY.labels()[name][0])


@pytest.mark.parametrize('sentence', ['what is the weather today', 'buy milk', 'asdf qwer', 'sing a song', '42'])
def test_a_sentence_that_nothing_matches_is_refused_with_all_that_is_known(sentences, tasks, sentence):
    with pytest.raises(ConfigError) as refused:
        sentences.match(sentence, tasks, MEMORY)
    assert str(refused.value) == (f"nothing matches '{sentence}'; known: tasks explore, patrol, stay; labelled states "
                                  'charging station, kitchen table, the blue door, the red door')


def test_two_places_that_a_sentence_may_mean_are_both_named(sentences, tasks):
    with pytest.raises(ConfigError, match="'go to the door' may mean place 'the red door' or place 'the blue door'"):
        sentences.match('go to the door', tasks, MEMORY)


def test_without_a_memory_the_tasks_are_known(sentences, tasks):
    assert sentences.match('look around', tasks).name == 'explore'
    with pytest.raises(ConfigError, match='labelled states none'):
        sentences.match('go to the red door', tasks)


def test_nothing_is_fetched(sentences, tasks, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError('the network was asked')
    monkeypatch.setattr('socket.socket.connect', refuse)
    assert Sentences().match('look around', tasks).name == 'explore'


def test_without_the_extra_one_line_says_what_to_install(monkeypatch, tasks):
    monkeypatch.setitem(sys.modules, 'wordllama', None)
    with pytest.raises(ConfigError, match=r"need a text encoder: pip install 'jepa_ros\[language\]'"):
        Sentences(wordllama_encoder).match('look around', tasks)


def by_length(texts) -> np.ndarray:
    """An encoder of its own: texts of the same length are the same."""
    return np.eye(64)[[len(text) % 64 for text in texts]]


def test_another_encoder_may_be_given_and_an_empty_sentence_is_refused():
    own = Sentences(lambda: by_length)
    assert own.match('abc', {}, Remembered('xyz', 'long one')).name == 'xyz'
    with pytest.raises(ConfigError, match='the sentence is empty'):
        own.match('  ', {}, Remembered('xyz'))
    with pytest.raises(ConfigError, match='nothing is known that'):
        own.match('abc', {}, None)
