"""Differentiable key-value memory (LeCun §4.9, eq. 15–20).

Match is the Gibbs factor of a distance: c̃_j = exp(−β D(k_j, q)), so that γ in Normalize, c_j = c̃_j / (γ + Σ c̃),
is the match below which a query counts as unknown: then the value read fades to zero and a write allocates.
"""
import torch
from torch import Tensor

from jepa_ros.energy.distance import squared


class AssociativeMemory:
    """`capacity` slots of key (D,) and value (V,); the least recently written slot is used again when full.

    `beta` and `gamma` may be tensors: gradients of what is read flow to them, to the query, and to every key and value
    that was written. What was read or held before a write is not changed by it.
    """

    def __init__(self, dim: int, value_dim: int, capacity: int = 1024, beta: float | Tensor = 10.0,
                 gamma: float | Tensor = 0.1):
        self.beta, self.gamma, self.capacity = beta, gamma, capacity
        self.keys = torch.zeros(0, dim)
        self.values = torch.zeros(0, value_dim)
        self._written = torch.zeros(0, dtype=torch.int64)
        self._clock = 0

    def __len__(self) -> int:
        return len(self.keys)

    def match(self, query: Tensor, seen: Tensor | None = None) -> Tensor:
        """c̃ (..., slots) of queries (..., D), 1 for an equal key (eq. 16).

        With `seen`, (D,) or (..., D) bool, only those dimensions of query and key are compared.
        """
        if seen is None:
            return torch.exp(-self.beta * squared(self.keys, query.unsqueeze(-2)))
        mask = seen.to(query.dtype).unsqueeze(-2)
        difference = (self.keys - query.unsqueeze(-2)).square() * mask
        return torch.exp(-self.beta * difference.sum(-1) / mask.sum(-1).clamp_min(1))

    def coefficients(self, query: Tensor, seen: Tensor | None = None) -> Tensor:
        """query (..., D) -> c (..., slots), Σ c < 1 (eq. 16–17)."""
        return self._normalise(self.match(query, seen))

    def read(self, query: Tensor, seen: Tensor | None = None) -> Tensor:
        """Mem(q) = Σ c_j v_j, (..., V) (eq. 15)."""
        return self.coefficients(query, seen) @ self.values

    def read_sure(self, query: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Value (..., V) as `read`, and how sure it is: Σ c_j (...), 0 for the unknown, near 1 for the well known."""
        c = self.coefficients(query, seen)
        return c @ self.values, c.sum(-1)

    def newest(self, count: int) -> tuple[Tensor, Tensor]:
        """Keys (n, D) and values (n, V) of the `count` slots that were written last, oldest first."""
        slots = self._written.argsort(stable=True)[-count:]
        return self.keys[slots], self.values[slots]

    def write(self, query: Tensor, value: Tensor) -> None:
        """v_j = c_j r + (1 − c_j) v_j (eq. 18–20); allocates a slot when the query is distant from all keys."""
        self._clock += 1
        match = self.match(query)
        if len(self) == 0 or bool((match < self.gamma).all()):
            self._allocate(query, value)
            return
        c = self._normalise(match)
        self.values = c[:, None] * value + (1 - c[:, None]) * self.values
        self._written[int(c.argmax())] = self._clock

    def _normalise(self, match: Tensor) -> Tensor:
        return match / (self.gamma + match.sum(-1, keepdim=True))

    def _allocate(self, key: Tensor, value: Tensor) -> None:
        if len(self) < self.capacity:
            self.keys = torch.cat([self.keys, key[None]])
            self.values = torch.cat([self.values, value[None]])
            self._written = torch.cat([self._written, torch.tensor([self._clock])])
            return
        oldest = int(self._written.argmin())
        self.keys, self.values = self.keys.clone(), self.values.clone()
        self.keys[oldest], self.values[oldest], self._written[oldest] = key, value, self._clock

    def snapshot(self) -> dict[str, Tensor]:
        """All slots, as they are now: `keys` (n, D), `values` (n, V), `written` (n,) int64."""
        return {'keys': self.keys.detach().clone(), 'values': self.values.detach().clone(),
                'written': self._written.clone()}

    def restore(self, keys: Tensor, values: Tensor, written: Tensor) -> None:
        """Take over a snapshot; of more slots than `capacity` those written last."""
        newest = written.argsort(descending=True)[:self.capacity].sort().values
        self.keys, self.values, self._written = keys[newest], values[newest], written[newest]
        self._clock = int(written.max()) if len(written) else 0
