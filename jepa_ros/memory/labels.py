"""States with a name: a sentence and the states it was said of (LeCun §6: goals given from outside)."""
import torch
from torch import Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.registry import nearest

LONGEST = 200       # characters of a label
MOST = 1024         # labels; of one label the newest STATES states are kept
STATES = 16


class Labels:
    """Bounded: a further label than MOST is refused, of one label the newest states stay."""

    def __init__(self) -> None:
        self._states: dict[str, list[tuple[int, Tensor]]] = {}

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self):
        """(text, stamp_ns, state) of all, oldest first within a label."""
        return ((text, stamp, state) for text, states in self._states.items() for stamp, state in states)

    def add(self, text: str, state: Tensor, stamp_ns: int = 0) -> str:
        """Call a state by `text`; returns the text as it is kept. ConfigError for one that cannot be a label."""
        kept = ' '.join(text.split())
        if not kept:
            raise ConfigError('memory: a label needs at least one word')
        if len(kept) > LONGEST:
            raise ConfigError(f'memory: a label has at most {LONGEST} characters, this one has {len(kept)}')
        if kept not in self._states and len(self) >= MOST:
            raise ConfigError(f'memory: {MOST} labels are kept already; forget one before {kept!r} is added')
        self._states[kept] = [*self._states.get(kept, []), (stamp_ns, state)][-STATES:]
        return kept

    def forget(self, text: str) -> None:
        """Drop a label. ConfigError for an unknown one."""
        self.of(text)
        del self._states[' '.join(text.split())]

    def of(self, text: str) -> list[tuple[int, Tensor]]:
        """Stamps and states of a label, newest first. ConfigError, which lists what is known, for an unknown one."""
        kept = ' '.join(text.split())
        if kept not in self._states:
            known = ', '.join(sorted(self._states)[:20]) or 'none yet'
            raise ConfigError(f'memory: nothing is labelled {kept!r}{nearest(kept, list(self._states))}; '
                              f'labels: {known}')
        return self._states[kept][::-1]

    def all(self) -> dict[str, Tensor]:
        """Label -> its states (n, D), newest first."""
        return {text: torch.stack([state for _, state in states[::-1]]) for text, states in self._states.items()}
