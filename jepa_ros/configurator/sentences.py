"""Sentences as goals: "go to the red door" is matched to tasks and to remembered, labelled states (LeCun §6).

The text encoder is wordllama, whose wheel carries its weights: nothing is fetched, a sentence takes well under a
millisecond. It compares words, it does not reason; what it is not sure of is refused with what is known.
"""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from jepa_ros.configurator.tasks import Task
from jepa_ros.errors import ConfigError

# Sentences about something else stay below 0.2, other words for the same lie above 0.3 (wordllama 0.4, 256 numbers).
LEAST = 0.3
APART = 0.05        # two matches nearer than this are the same to the encoder
KEPT = 10_000       # embeddings that are kept: 20 MB
LISTED = 20         # names in an error line

Encoder = Callable[[Sequence[str]], np.ndarray]     # N texts -> (N, E), rows of length 1


class Silent(ConfigError):
    """A memory, of another process, that does not answer."""


class Labelled(Protocol):
    """Remembered states with a name; `Memory` is one."""

    def labels(self) -> Mapping[str, Tensor]:
        """Label -> its states (n, D), newest first. Silent where that is not known."""


@dataclass(frozen=True)
class Match:
    """What a sentence means: a task, or a state (D,) to go to."""

    name: str
    score: float            # cosine similarity
    task: bool
    state: Tensor | None = None


def wordllama_encoder() -> Encoder:
    """The packaged text encoder. ConfigError, which says what to install, where there is none. Takes a second."""
    try:
        import wordllama
    except ImportError:
        raise ConfigError("sentences as goals need a text encoder: pip install 'jepa_ros[language]'") from None
    try:
        # its own folder as cache: it looks for the tokenizer there only, and would fetch it otherwise
        model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f'the text encoder cannot be loaded ({" ".join(str(error).split())}): pip install '
                          '--force-reinstall wordllama') from None

    def encode(texts: Sequence[str]) -> np.ndarray:
        rows = np.asarray(model.embed(list(texts)), np.float64)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9)
    return encode


class Sentences:
    """Finds what a sentence means. Loads its encoder with the first one; embeddings of known texts are kept."""

    def __init__(self, encoder: Callable[[], Encoder] = wordllama_encoder):
        self._make = encoder
        self._encoder: Encoder | None = None
        self._known: dict[str, np.ndarray] = {}

    def match(self, sentence: str, tasks: Mapping[str, Task], memory: Labelled | None = None) -> Match:
        """The task or labelled state that is meant; only tasks that know their goal themselves should be given.

        ConfigError for an empty sentence, one that nothing matches (with all that is known), and one that two match.
        """
        text = ' '.join(sentence.split())
        if not text:
            raise ConfigError('the sentence is empty')
        labels: Mapping[str, Tensor] = memory.labels() if memory is not None else {}
        texts: list[tuple[str, bool, str]] = [(name, True, each) for name, task in tasks.items()
                                              for each in (name.replace('_', ' '), task.description) if each]
        texts += [(label, False, label) for label in labels]
        if not texts:
            raise ConfigError(f'nothing is known that {text!r} could mean: label a state first')
        scores = self._embed([each for _, _, each in texts]) @ self._embed([text])[0]
        best: dict[tuple[str, bool], float] = {}
        for (name, is_task, _), score in zip(texts, scores):
            best[name, is_task] = max(best.get((name, is_task), -1.0), float(score))
        ranked = sorted(best.items(), key=lambda item: -item[1])
        (name, is_task), score = ranked[0]
        if score < LEAST:
            raise ConfigError(f'nothing matches {text!r}; known: {_listed(best)}')
        rivals = [each for each, other in ranked[1:] if score - other < APART]
        if rivals and score < 1 - 1e-6:     # the very words are no question
            raise ConfigError(f'{text!r} may mean {_called(name, is_task)} or {_called(*rivals[0])}: say it in other '
                              'words')
        return Match(name, score, is_task, None if is_task else labels[name][0])

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        if self._encoder is None:
            self._encoder = self._make()
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(self._known) + len(new) > KEPT:
            self._known, new = {}, list(dict.fromkeys(texts))
        if new:
            self._known |= dict(zip(new, self._encoder(new)))
        return np.stack([self._known[text] for text in texts])


def _called(name: str, is_task: bool) -> str:
    return f'{"task" if is_task else "place"} {name!r}'


def _listed(known: Mapping[tuple[str, bool], float]) -> str:
    tasks = ', '.join(sorted(name for name, is_task in known if is_task)[:LISTED]) or 'none'
    places = ', '.join(sorted(name for name, is_task in known if not is_task)[:LISTED]) or 'none'
    return f'tasks {tasks}; labelled states {places}'
