"""Entities with names: what is known of each readout, since when, and when it was last seen (LeCun §4.9)."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.memory.entities import EntitySlots, Groups, Known
from jepa_ros.registry import nearest

THRESHOLD = 0.05        # in the unit of the readout (m, rad, share): less is no change


@dataclass(frozen=True)
class Named:
    """What is known of n entities; a snapshot, as a file holds it."""

    names: tuple[str, ...]
    values: np.ndarray          # (n,) float32, NaN where nothing is known
    changed_ns: np.ndarray      # (n,) int64: since when the value holds
    seen_ns: np.ndarray         # (n,) int64: when it was last seen

    def __len__(self) -> int:
        return len(self.names)


NOTHING = Named((), np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))


class NamedEntities:
    """One number for each name; only what changed is written (`EntitySlots`)."""

    def __init__(self, known: Named = NOTHING):
        self._names: tuple[str, ...] = ()
        if known:
            self._begin(known.names)
            for i, value in enumerate(known.values):
                self._see(np.where(np.arange(len(known)) == i, value, np.nan), int(known.changed_ns[i]))
            self._slots.seen_ns[:] = torch.from_numpy(known.seen_ns[np.isfinite(known.values)])

    def see(self, names: Sequence[str], values: Sequence[float], stamp_ns: int) -> bool:
        """Take in values by name, NaN for what is not seen now; whether something changed. Others than before: anew."""
        if tuple(names) != self._names:
            self._begin(names)
        return bool(len(names)) and self._see(np.asarray(values, np.float32), stamp_ns)

    def about(self, name: str = '') -> Named:
        """What is known of one entity, or of all. ConfigError, which lists them, for an unknown one."""
        if name and name not in self._names:
            raise ConfigError(f'memory: nothing is called {name!r}{nearest(name, self._names)}; entities: '
                              f'{", ".join(self._names) or "none yet"}')
        if not self._names:
            return NOTHING
        rows = [self._names.index(name)] if name else list(range(len(self._names)))
        known: Known = self._slots.about(self._keys[rows])
        values = torch.where(known.known, known.values, torch.full_like(known.values, torch.nan))[:, 0]
        return Named(tuple(self._names[row] for row in rows), values.numpy(), known.changed_ns.numpy(),
                     known.seen_ns.numpy())

    def _begin(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._keys: Tensor = Groups([[i] for i in range(len(names))]).keys if names else torch.zeros(0, 1)
        self._slots = EntitySlots(max(1, len(names)), 1, max(1, len(names)), THRESHOLD)

    def _see(self, values: np.ndarray, stamp_ns: int) -> bool:
        found = torch.from_numpy(np.asarray(values, np.float32))[:, None]
        return bool(self._slots.see(self._keys, found.nan_to_num(), stamp_ns, torch.isfinite(found)).any())
