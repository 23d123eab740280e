"""The state of the world as entities, updated only where something changed (LeCun §4.9).

"Whenever an event occurs, only the part of the world-state memory affected by the event is to be updated, while the
rest is to be left unchanged." An entity is an object token, a group of readouts or state dimensions, a patch of an
image. Its key says which it is, its value how it is. Normalize (eq. 17, 19) thresholds: only the best match counts.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_ros.energy.distance import squared
from jepa_ros.errors import ConfigError

NEVER = -1


@dataclass(frozen=True)
class Known:
    """What is known of the entities asked for, and as of when."""

    values: Tensor          # (n, V); zeros where nothing is known
    known: Tensor           # (n, V) bool: elements that were ever seen
    confidence: Tensor      # (n,) match with the entity's key, 1 for an equal one; 0: no such entity
    changed_ns: Tensor      # (n,) int64: since when the value holds; NEVER without an entity
    seen_ns: Tensor         # (n,) int64: when the entity was last seen


class EntitySlots:
    """At most `capacity` entities; when full, the one least recently seen is forgotten.

    A value that differs from the one kept by at most `threshold` (root mean square over what is seen) has not changed.
    `beta` and `gamma` are those of the match between keys, as in `AssociativeMemory`.
    """

    def __init__(self, key_dim: int, value_dim: int, capacity: int = 256, threshold: float = 0.05, beta: float = 10.0,
                 gamma: float = 0.5):
        self.capacity, self.threshold, self.beta, self.gamma = capacity, threshold, beta, gamma
        self.keys = torch.zeros(0, key_dim)
        self.values = torch.zeros(0, value_dim)
        self.known = torch.zeros(0, value_dim, dtype=torch.bool)
        self.changed_ns = torch.zeros(0, dtype=torch.int64)
        self.seen_ns = torch.zeros(0, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.keys)

    @torch.no_grad()
    def see(self, keys: Tensor, values: Tensor, stamp_ns: int, seen: Tensor | None = None) -> Tensor:
        """Take in entities as they are now; returns which of them changed or are new, (n,) bool.

        keys (n, K), values (n, V); seen (n,) or (n, V) bool says what of it is known now, None: all. Entities of which
        nothing is seen are left as they are. Keys are told apart among themselves: each is an entity of its own.
        ConfigError for other shapes or values that are not finite.
        """
        seen = self._checked(keys, values, seen)
        changed = torch.zeros(len(keys), dtype=torch.bool)
        rows = seen.any(1).nonzero().flatten()
        confidence, slots = self._matched(keys[rows])
        old = confidence >= self.gamma
        changed[rows[old]] = self._update(slots[old], values[rows[old]], seen[rows[old]], stamp_ns)
        for row in rows[~old].tolist():
            self._allocate(keys[row], values[row], seen[row], stamp_ns)
            changed[row] = True
        return changed

    @torch.no_grad()
    def about(self, keys: Tensor) -> Known:
        """What is known of the entities nearest to `keys` (n, K)."""
        confidence, slots = self._matched(keys)
        there = confidence >= self.gamma
        n, width = len(keys), self.values.shape[1]
        known = Known(torch.zeros(n, width), torch.zeros(n, width, dtype=torch.bool), confidence * there,
                      torch.full((n,), NEVER), torch.full((n,), NEVER))
        found = slots[there]
        known.values[there], known.known[there] = self.values[found], self.known[found]
        known.changed_ns[there], known.seen_ns[there] = self.changed_ns[found], self.seen_ns[found]
        return known

    def forget(self) -> None:
        """Know of no entity any more."""
        self.keys, self.values, self.known = self.keys[:0], self.values[:0], self.known[:0]
        self.changed_ns, self.seen_ns = self.changed_ns[:0], self.seen_ns[:0]

    def _matched(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Best match and its slot, each (n,)."""
        if not len(self):
            return torch.zeros(len(keys)), torch.zeros(len(keys), dtype=torch.int64)
        best = torch.exp(-self.beta * squared(self.keys, keys.unsqueeze(1))).max(1)
        return best.values, best.indices

    def _update(self, slots: Tensor, values: Tensor, seen: Tensor, stamp_ns: int) -> Tensor:
        """Eq. 20 with c = 1 where the entity changed and 0 elsewhere; (n,) bool which did."""
        compared = seen & self.known[slots]
        difference = ((values - self.values[slots]).square() * compared).sum(1) / compared.sum(1).clamp_min(1)
        new = (seen & ~compared).any(1)                             # something was seen for the first time
        changed = new | (difference.sqrt() > self.threshold)
        written, mask = slots[changed], seen[changed]
        self.values[written] = torch.where(mask, values[changed], self.values[written])
        self.known[written] |= mask
        self.changed_ns[written] = stamp_ns
        self.seen_ns[slots] = stamp_ns
        return changed

    def _allocate(self, key: Tensor, value: Tensor, seen: Tensor, stamp_ns: int) -> None:
        stamp, value = torch.tensor([stamp_ns]), value * seen
        if len(self) < self.capacity:
            self.keys, self.values = torch.cat([self.keys, key[None]]), torch.cat([self.values, value[None]])
            self.known = torch.cat([self.known, seen[None]])
            self.changed_ns, self.seen_ns = torch.cat([self.changed_ns, stamp]), torch.cat([self.seen_ns, stamp])
            return
        slot = int(self.seen_ns.argmin())
        self.keys[slot], self.values[slot], self.known[slot] = key, value, seen
        self.changed_ns[slot] = self.seen_ns[slot] = stamp_ns

    def _checked(self, keys: Tensor, values: Tensor, seen: Tensor | None) -> Tensor:
        wanted = (len(keys), self.keys.shape[1]), (len(keys), self.values.shape[1])
        if (tuple(keys.shape), tuple(values.shape)) != wanted:
            raise ConfigError(f'memory: entities have keys {tuple(keys.shape)} and values {tuple(values.shape)}; '
                              f'expected {wanted[0]} and {wanted[1]}')
        seen = torch.ones(values.shape, dtype=torch.bool) if seen is None else seen.bool()
        seen = seen[:, None].expand(values.shape) if seen.dim() == 1 else seen
        if not bool(torch.isfinite(values[seen]).all() and torch.isfinite(keys).all()):
            raise ConfigError('memory: entities that are not finite are not taken in: check what made them')
        return seen


class Groups:
    """Dimensions of a state, or readouts, in groups: each group is an entity of `EntitySlots(len(groups), widest)`."""

    def __init__(self, groups: Sequence[Sequence[int]]):
        """`groups[i]`: indices of the dimensions that tell of entity i; each at most once."""
        indices = [i for group in groups for i in group]
        if not indices or len(set(indices)) != len(indices) or not all(groups):
            raise ConfigError('memory: each group of dimensions needs at least one, and no dimension is in two groups')
        self._groups = [list(group) for group in groups]
        self.widest = max(map(len, groups))
        self.keys = torch.eye(len(groups)) * len(groups) ** 0.5     # keys of two groups are 2 apart in mean square

    def values(self, s: Tensor) -> tuple[Tensor, Tensor]:
        """State (D,) as values (n, widest) with `seen` of the same shape: NaN is what is not seen now."""
        values = torch.full((len(self._groups), self.widest), torch.nan)
        for row, group in enumerate(self._groups):
            values[row, :len(group)] = s[group]
        seen = ~values.isnan()
        return values.nan_to_num(), seen

    def complete(self, s: Tensor, known: Known) -> Tensor:
        """State (D,) whose NaN are filled in with what is known; they stay NaN where nothing is."""
        s = s.clone()
        for row, group in enumerate(self._groups):
            fill = s[group].isnan() & known.known[row, :len(group)]
            s[torch.tensor(group)[fill]] = known.values[row, :len(group)][fill]
        return s
