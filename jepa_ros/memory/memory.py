"""The memory organ: stores what was felt where and when, and answers queries (LeCun §2, §4.9)."""
from dataclasses import dataclass
import math

import numpy as np
import torch
from torch import Tensor

from jepa_ros.energy.distance import euclidean
from jepa_ros.errors import ConfigError
from jepa_ros.memory.associative import AssociativeMemory
from jepa_ros.memory.episodic import EpisodicStore


@dataclass(frozen=True)
class Recall:
    """Answer to a query, best match first."""

    stamps_ns: np.ndarray   # (n,) int64
    states: Tensor          # (n, D)
    energies: np.ndarray    # (n,) intrinsic energy
    distances: np.ndarray   # (n,) state distance, or seconds for a query by time
    value: Tensor           # (D + 1,) state and energy read by association (eq. 15–17); zeros for the unknown


class Memory:
    """Triplets by time and by state."""

    def __init__(self, dim: int, capacity: int = 36_000, slots: int = 1024):
        self.dim = dim
        self._episodic = EpisodicStore(dim, capacity)
        self._associative = AssociativeMemory(dim, dim + 1, slots)

    def __len__(self) -> int:
        return len(self._episodic)

    @torch.inference_mode()
    def store(self, stamp_ns: int, state: Tensor, energy: float) -> None:
        """Keep a triplet. ConfigError for a state of another model or a non-finite value."""
        state = self._checked(state)
        if not (math.isfinite(energy) and bool(torch.isfinite(state).all())):
            raise ConfigError(f'memory: triplet at {stamp_ns / 1e9:.3f} s is not finite, not stored')
        self._episodic.append(stamp_ns, state, energy)
        self._associative.write(state, torch.cat([state, state.new_tensor([energy])]))

    @torch.inference_mode()
    def by_state(self, state: Tensor, count: int = 8) -> Recall:
        """The triplets whose states are nearest to `state` (D,)."""
        state = self._checked(state)
        distances = euclidean(self._episodic.states, state).numpy()
        return self._recall(distances, count, state)

    @torch.inference_mode()
    def by_time(self, stamp_ns: int, count: int = 8) -> Recall:
        """The triplets nearest in time."""
        distances = np.abs(self._episodic.stamps_ns - stamp_ns) / 1e9
        nearest = None if len(self) == 0 else self._episodic.states[int(distances.argmin())]
        return self._recall(distances, count, nearest)

    def _recall(self, distances: np.ndarray, count: int, query: Tensor | None) -> Recall:
        order = np.argsort(distances, kind='stable')[:max(1, count)]
        unknown = query is None or len(self._associative) == 0
        value = torch.zeros(self.dim + 1) if unknown else self._associative.read(query)
        return Recall(self._episodic.stamps_ns[order], self._episodic.states[torch.from_numpy(order)],
                      self._episodic.energies[order], distances[order], value)

    def _checked(self, state: Tensor) -> Tensor:
        if state.shape != (self.dim,):
            raise ConfigError(f'memory: state has shape {tuple(state.shape)}, this model has ({self.dim},)')
        return state.detach().to('cpu', torch.float32)
