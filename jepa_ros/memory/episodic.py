"""Episodic store: the newest triplets (time, state, intrinsic energy), from which the critic learns (LeCun §3.3)."""
import numpy as np
import torch
from torch import Tensor


class EpisodicStore:
    """Ring of `capacity` triplets; 36,000 are one hour at 10 Hz."""

    def __init__(self, dim: int, capacity: int = 36_000):
        self.capacity = capacity
        self._stamps = np.zeros(capacity, np.int64)
        self._states = torch.zeros(capacity, dim)
        self._energies = np.zeros(capacity, np.float64)
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, self.capacity)

    def append(self, stamp_ns: int, state: Tensor, energy: float) -> None:
        slot = self._count % self.capacity
        self._stamps[slot], self._states[slot], self._energies[slot] = stamp_ns, state, energy
        self._count += 1

    @property
    def stamps_ns(self) -> np.ndarray:
        """(n,) int64, in no particular order once the ring has wrapped."""
        return self._stamps[:len(self)]

    @property
    def states(self) -> Tensor:
        """(n, D)."""
        return self._states[:len(self)]

    @property
    def energies(self) -> np.ndarray:
        """(n,)."""
        return self._energies[:len(self)]
