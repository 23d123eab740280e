"""Episodic store: triplets (time, state, intrinsic energy), from which the critic learns (LeCun §3.3).

Perceived ones are experience. Imagined ones (LeCun §2: short-term memory keeps predicted states too) are marked, never
take the place of experience, and are the first to go when space is short.
"""
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NO_RUN = -1     # triplets stored before any episode has begun are one run too


@dataclass(frozen=True)
class Run:
    """What belongs together: one goal within one episode, or one imagined future."""

    episode: str = ''
    goal: str = ''


@dataclass(frozen=True)
class Trajectory:
    """Triplets that follow one another within one run, oldest first."""

    run: Run
    stamps_ns: np.ndarray   # (n,) int64
    states: Tensor          # (n, D)
    energies: np.ndarray    # (n,)
    actions: np.ndarray     # (n, A) what was done in each state, NaN where unknown; (n, 0) where none is known at all
    imagined: bool

    def __len__(self) -> int:
        return len(self.stamps_ns)


class EpisodicStore:
    """`capacity` triplets; 36,000 are one hour at 10 Hz."""

    def __init__(self, dim: int, capacity: int = 36_000):
        self.capacity = capacity
        self._stamps = np.zeros(capacity, np.int64)
        self._states = torch.zeros(capacity, dim)
        self._energies = np.zeros(capacity, np.float64)
        self._imagined = np.zeros(capacity, bool)
        self._run = np.full(capacity, NO_RUN, np.int64)
        self._actions = np.zeros((capacity, 0), np.float32)     # as wide as the first action
        self._order = np.zeros(capacity, np.int64)              # grows with every append
        self._count = 0
        self._size = 0
        self._ages: tuple[deque[int], deque[int]] = (deque(), deque())  # slots by age: perceived, imagined
        self.runs: dict[int, Run] = {NO_RUN: Run()}
        self._held: dict[int, int] = {}                         # run -> triplets held

    def __len__(self) -> int:
        return self._size

    def begin(self, run: Run) -> int:
        """What is appended with this number belongs together."""
        number = max(self.runs) + 1
        self.runs[number] = run
        if len(self.runs) > 2 * len(self._held) + 16:           # runs of which nothing is left are forgotten
            self.runs = {n: r for n, r in self.runs.items() if n in (NO_RUN, number) or n in self._held}
        return number

    def append(self, stamp_ns: int, state: Tensor, energy: float, run: int = NO_RUN, imagined: bool = False) -> bool:
        """Keep a triplet; False for an imagined one where experience fills all the space."""
        slot = self._free(imagined)
        if slot is None:
            return False
        self._stamps[slot], self._states[slot], self._energies[slot] = stamp_ns, state, energy
        self._imagined[slot], self._run[slot], self._order[slot] = imagined, run, self._count
        self._actions[slot] = np.nan
        self._ages[imagined].append(slot)
        self._held[run] = self._held.get(run, 0) + 1
        self._count += 1
        return True

    def extend(self, stamps_ns: np.ndarray, states: Tensor, energies: np.ndarray, runs: np.ndarray,
               actions: np.ndarray, imagined: np.ndarray | None = None) -> None:
        """Append many, with their actions (n, A)."""
        if actions.shape[1] and self._actions.shape[1] != actions.shape[1]:
            self._actions = np.full((self.capacity, actions.shape[1]), np.nan, np.float32)
        for i, (stamp, energy, run) in enumerate(zip(stamps_ns.tolist(), energies.tolist(), runs.tolist())):
            fancied = imagined is not None and bool(imagined[i])
            if self.append(stamp, states[i], energy, run, fancied) and actions.shape[1]:
                self._actions[self._ages[fancied][-1]] = actions[i]

    def act(self, stamp_ns: int, action: np.ndarray) -> bool:
        """Note what was done (A,) in the perceived state of a time; False where that is not held."""
        slots = np.flatnonzero((self.stamps_ns == stamp_ns) & ~self.imagined)
        if not len(slots):
            return False
        if self._actions.shape[1] != len(action):
            self._actions = np.full((self.capacity, len(action)), np.nan, np.float32)
        self._actions[slots[self._order[slots].argmax()]] = action
        return True

    @property
    def stamps_ns(self) -> np.ndarray:
        """(n,) int64, in no particular order once space has become short."""
        return self._stamps[:self._size]

    @property
    def states(self) -> Tensor:
        """(n, D)."""
        return self._states[:self._size]

    @property
    def energies(self) -> np.ndarray:
        """(n,)."""
        return self._energies[:self._size]

    @property
    def imagined(self) -> np.ndarray:
        """(n,) bool: predicted, not perceived."""
        return self._imagined[:self._size]

    @property
    def run(self) -> np.ndarray:
        """(n,) int64: number of the run in `runs`."""
        return self._run[:self._size]

    @property
    def actions(self) -> np.ndarray:
        """(n, A) float32, NaN where unknown; A is 0 until the first is noted."""
        return self._actions[:self._size]

    def in_order(self) -> np.ndarray:
        """(n,) slots as they were stored, oldest first."""
        return np.argsort(self._order[:self._size], kind='stable')

    def resized(self, capacity: int) -> 'EpisodicStore':
        """The same with room for `capacity`; of more, the newest stay, experience before imagination."""
        new = EpisodicStore(self._states.shape[1], capacity)
        new.runs = dict(self.runs)
        slots = self.in_order()
        new.extend(self._stamps[slots], self._states[torch.from_numpy(slots)], self._energies[slots], self._run[slots],
                   self._actions[slots], self._imagined[slots])
        return new

    def trajectories(self, imagined: bool = False, max_gap_s: float | None = None, shortest: int = 2,
                     ) -> list[Trajectory]:
        """Sequences of consecutive triplets, each within one run, of perceived or of imagined states.

        A run is cut where time goes back or stands still, and where more than `max_gap_s` passes. Sequences of fewer
        than `shortest` triplets are left out.
        """
        slots = self.in_order()
        slots = slots[self._imagined[slots] == imagined]
        slots = slots[np.argsort(self._run[slots], kind='stable')]
        if not len(slots):
            return []
        steps = np.diff(self._stamps[slots])
        cut = (np.diff(self._run[slots]) != 0) | (steps <= 0)
        if max_gap_s is not None:
            cut |= steps > max_gap_s * 1e9
        return [self._trajectory(part) for part in np.split(slots, np.flatnonzero(cut) + 1) if len(part) >= shortest]

    def _trajectory(self, slots: np.ndarray) -> Trajectory:
        return Trajectory(self.runs.get(int(self._run[slots[0]]), Run()), self._stamps[slots],
                          self._states[torch.from_numpy(slots)], self._energies[slots], self._actions[slots],
                          bool(self._imagined[slots[0]]))

    def _free(self, imagined: bool) -> int | None:
        if self._size < self.capacity:
            self._size += 1
            return self._size - 1
        perceived_ages, imagined_ages = self._ages
        if not imagined_ages and imagined:
            return None
        slot = (imagined_ages or perceived_ages).popleft()
        run = int(self._run[slot])
        self._held[run] -= 1
        if not self._held[run]:
            del self._held[run]
        return slot
