"""What predictor, policy and cost read from memory for a state (LeCun §2, §3.1.1, §4.9).

"The world model accesses and updates the short-term memory while temporally predicting future (or past) world states."
"""
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from jepa_ros.memory.associative import AssociativeMemory


class MemoryReader:
    """Reads an associative memory whose keys are states and whose values are states and energies, (D,) -> (D + 1,).

    Differentiable in the state: a predictor, policy or cost may be trained through it.
    """

    def __init__(self, memory: AssociativeMemory, lock: AbstractContextManager | None = None,
                 attended: Callable[[], bool] = lambda: True, seen: Callable[[int], Tensor] | None = None):
        """`lock` is held while reading, where another thread may write. `attended`: somebody stores what is perceived.
        `seen`: the states that were, as `Memory.seen`.
        """
        self._memory, self._lock, self._attended, self._seen = memory, lock or nullcontext(), attended, seen
        self._dim = memory.keys.shape[1]

    @property
    def width(self) -> int:
        """Length of what `read` gives: D + 2."""
        return self._dim + 2

    def read(self, s: Tensor, hidden: Tensor | None = None) -> Tensor:
        """States (..., D) -> (..., D + 2): the state and energy known of places like it, and how sure that is, Σ c.

        `hidden` (D,) bool are dimensions that tell nothing now; the question is put by the others alone.
        """
        with self._lock:
            value, sure = self._memory.read_sure(s, None if hidden is None else ~hidden)
        return torch.cat([value, sure[..., None]], -1)

    def newest(self, count: int) -> tuple[Tensor, Tensor]:
        """Of the `count` things that were written last, oldest first: the states (n, D) in which, and what, was seen.

        Copies: what is written later does not change them.
        """
        with self._lock:
            keys, values = self._memory.newest(count)
        return keys.clone(), values[:, :self._dim].clone()

    def seen(self, count: int) -> Tensor | None:
        """At most `count` states (n, D) that were perceived; None where nobody stores them, or none was."""
        if self._seen is None or not self._attended():
            return None
        states = self._seen(count)
        return states if len(states) else None

    @torch.no_grad()
    def glimpse(self, s: Tensor) -> None:
        """Remember a state (D,) by association alone, where nobody stores what is perceived, as in a process without
        the memory organ. One that is not finite is not remembered.
        """
        if self._attended() or not bool(torch.isfinite(s).all()):
            return
        s = s.detach().to('cpu', torch.float32)
        with self._lock:
            self._memory.write(s, torch.cat([s, s.new_zeros(1)]))

    def complete(self, s: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """States (..., D) with their `hidden` (D,) dimensions filled in, and how sure that is, Σ c (...).

        s' = Σ c_j s_j + (1 − Σ c_j) s in the hidden dimensions: what is unknown stays as it was. NaN may stand there.
        """
        with self._lock:
            value, sure = self._memory.read_sure(torch.where(hidden, torch.zeros_like(s), s), ~hidden)
        known = value[..., :self._dim] + (1 - sure[..., None]) * s.nan_to_num()
        return torch.where(hidden, known, s), sure
