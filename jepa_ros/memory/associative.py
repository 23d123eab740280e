"""Differentiable key-value memory (LeCun §4.9, eq. 15–20).

Match is the Gibbs factor of a distance: c̃_j = exp(−β D(k_j, q)), so that γ in Normalize, c_j = c̃_j / (γ + Σ c̃),
is the match below which a query counts as unknown: then the value read fades to zero and a write allocates.
"""
import torch
from torch import Tensor

from jepa_ros.energy.distance import squared


class AssociativeMemory:
    """`capacity` slots of key (D,) and value (V,); the least recently written slot is used again when full."""

    def __init__(self, dim: int, value_dim: int, capacity: int = 1024, beta: float = 10.0, gamma: float = 0.1):
        self.beta, self.gamma, self.capacity = beta, gamma, capacity
        self.keys = torch.zeros(0, dim)
        self.values = torch.zeros(0, value_dim)
        self._written = torch.zeros(0, dtype=torch.int64)
        self._clock = 0

    def __len__(self) -> int:
        return len(self.keys)

    def coefficients(self, query: Tensor) -> Tensor:
        """query (..., D) -> c (..., slots), Σ c < 1 (eq. 16–17)."""
        match = torch.exp(-self.beta * squared(self.keys, query.unsqueeze(-2)))
        return match / (self.gamma + match.sum(-1, keepdim=True))

    def read(self, query: Tensor) -> Tensor:
        """Mem(q) = Σ c_j v_j, (..., V) (eq. 15)."""
        return self.coefficients(query) @ self.values

    def write(self, query: Tensor, value: Tensor) -> None:
        """v_j = c_j r + (1 − c_j) v_j (eq. 18–20); allocates a slot when the query is distant from all keys."""
        self._clock += 1
        if len(self) == 0 or float(torch.exp(-self.beta * squared(self.keys, query)).max()) < self.gamma:
            self._allocate(query, value)
            return
        c = self.coefficients(query)
        self.values = c[:, None] * value + (1 - c[:, None]) * self.values
        self._written[c.argmax()] = self._clock

    def _allocate(self, key: Tensor, value: Tensor) -> None:
        if len(self) < self.capacity:
            self.keys = torch.cat([self.keys, key[None]])
            self.values = torch.cat([self.values, value[None]])
            self._written = torch.cat([self._written, torch.tensor([self._clock])])
            return
        oldest = int(self._written.argmin())
        self.keys, self.values = self.keys.clone(), self.values.clone()
        self.keys[oldest], self.values[oldest], self._written[oldest] = key, value, self._clock
