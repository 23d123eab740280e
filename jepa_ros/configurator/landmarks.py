"""A graph of landmarks grown from remembered states: far goals become ways through places that were (LeCun §6).

After Savinov et al. 2018 (SPTM: places and the transitions seen between them) and Eysenbach et al. 2019 (SoRB: the
shortest way through remembered states, edges by what a model says is near). Nodes lie at least `radius` apart, as in a
farthest-point selection; an edge costs the seconds from coming to the
one to coming to the other, as they were travelled or imagined. Bounded in size: a full graph
becomes coarser. Every call takes bounded time.
"""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
import math

import numpy as np
import torch
from torch import Tensor

from jepa_ros.energy.distance import squared
from jepa_ros.errors import ConfigError

CAPACITY = 512          # landmarks: 1 MB of edges, a shortest way in about 5 ms
COARSER = 1.3           # a full graph keeps landmarks this many times farther apart
MAX_GAP_S = 1.0         # states further apart in time are no transition
LONGEST_S = 10.0        # a transition that took longer says nothing about how near both are
LEARN = 0.3             # share of the newest time in the mean of an edge
DEARER = 3.0            # an edge on which a subgoal failed costs this many times as much; less again once travelled


@dataclass(frozen=True)
class Way:
    """Landmarks to pass, and the seconds from the start to each of them; the last number is that of the goal."""

    nodes: tuple[int, ...]
    seconds: tuple[float, ...]


class LandmarkGraph:
    """Grows by `see`, one state after the other."""

    def __init__(self, dim: int, radius: float, capacity: int = CAPACITY):
        """`radius`: least root mean squared difference between two landmarks; > 0."""
        if not (math.isfinite(radius) and radius > 0) or capacity < 2:
            raise ConfigError(f'landmarks: radius is {radius} and capacity {capacity}: they must be positive, and at '
                              'least 2')
        self.radius, self.capacity = radius, capacity
        self.version = 0                                            # grows when landmarks get other numbers
        self._states = torch.zeros(capacity, dim)                   # (C, D)
        self._seconds = np.full((capacity, capacity), np.inf, np.float32)   # [i, j]: from i to j
        self._dearer = np.ones((capacity, capacity), np.float32)
        self._count = 0
        self.forget_past()

    def __len__(self) -> int:
        return self._count

    @property
    def states(self) -> Tensor:
        """(n, D)."""
        return self._states[:self._count]

    @property
    def edges(self) -> np.ndarray:
        """Seconds (n, n) from landmark to landmark, dearer where subgoals failed; inf where no way is known."""
        n = self._count
        return self._seconds[:n, :n] * self._dearer[:n, :n]

    # ---- growing -------------------------------------------------------------------------------------------------
    def forget_past(self) -> None:
        """What comes next has nothing to do with what was: another episode, a robot that was carried away."""
        self._at: int | None = None         # landmark of the state before
        self._came_s: float | None = None   # when it came there; None: the robot was put there
        self._seen_s = -math.inf

    def past(self) -> tuple:
        """What `go_on` takes: where the robot is, while trajectories of others are learned from in between."""
        return self._at, self._came_s, self._seen_s, self.version

    def go_on(self, past: tuple | None) -> None:
        """Take up where `past` was asked for; None: somewhere new."""
        *where, version = past or (None, None, -math.inf, self.version)
        self._at, self._came_s, self._seen_s = where if version == self.version else (None, None, -math.inf)

    @torch.no_grad()
    def see(self, state: Tensor, now_s: float) -> int:
        """Take the newest state (D,): perhaps a new landmark, perhaps a transition. Returns its landmark.

        A state that is not finite is passed over: -1.
        """
        state = state.detach().to('cpu', torch.float32)
        if not bool(torch.isfinite(state).all()):
            return -1
        if not 0 <= now_s - self._seen_s <= MAX_GAP_S:
            self._at = self._came_s = None
        node, distance = self.nearest(state)
        while distance > self.radius and self._count == self.capacity:
            self._coarsen()         # perhaps it is near enough to one that stays
            node, distance = self.nearest(state)
        if distance > self.radius:
            node = self._add(state)
        if self._at != node:
            if self._came_s is not None and now_s - self._came_s <= LONGEST_S:
                self._travelled(self._at, node, now_s - self._came_s)
            self._came_s = None if self._at is None else now_s
        self._at, self._seen_s = node, now_s
        return node

    def grow(self, trajectories: Iterable[tuple[np.ndarray, Tensor]]) -> None:
        """Take remembered trajectories: times in s (T,) and states (T, D) each."""
        for times_s, states in trajectories:
            self.forget_past()
            for now_s, state in zip(times_s, states):
                self.see(state, float(now_s))
        self.forget_past()

    def imagined(self, node: int, seconds: Sequence[float] | np.ndarray) -> None:
        """Edges from a landmark to all (n,) as a model imagines them; inf where it does not get there."""
        row = self._seconds[node, :self._count]
        np.minimum(row, np.asarray(seconds, np.float32), out=row)
        self._seconds[node, node] = np.inf

    def blame(self, before: int, after: int) -> None:
        """A subgoal failed on this edge: it gets dearer."""
        self._dearer[before, after] = min(self._dearer[before, after] * DEARER, 1e6)

    def _travelled(self, before: int, after: int, seconds: float) -> None:
        known = self._seconds[before, after]
        self._seconds[before, after] = seconds if not np.isfinite(known) else known + LEARN * (seconds - known)
        self._dearer[before, after] = max(1.0, self._dearer[before, after] / DEARER)

    def _add(self, state: Tensor) -> int:
        self._states[self._count] = state
        self._count += 1
        return self._count - 1

    def _coarsen(self) -> None:
        """Keep landmarks further apart; edges of those that go are those of the nearest that stays."""
        self.radius *= COARSER
        self.version += 1
        n = self._count
        kept: list[int] = []
        for node in range(n):
            if not kept or float(squared(self._states[kept], self._states[node]).min()) > self.radius ** 2:
                kept.append(node)
        states = self._states[:n]
        heir = torch.cdist(states, states[kept]).argmin(1).numpy()      # (n,) numbers of those that stay
        seconds = np.full_like(self._seconds, np.inf)
        np.minimum.at(seconds, (heir[:, None], heir[None]), self._seconds[:n, :n])
        np.fill_diagonal(seconds, np.inf)
        dearer = np.ones_like(self._dearer)
        dearer[:len(kept), :len(kept)] = self._dearer[np.ix_(kept, kept)]
        self._states[:len(kept)] = states[kept]
        self._seconds, self._dearer, self._count = seconds, dearer, len(kept)
        self._at = None if self._at is None else int(heir[self._at])

    # ---- finding a way -------------------------------------------------------------------------------------------
    def nearest(self, state: Tensor) -> tuple[int, float]:
        """Nearest landmark and its distance; -1 and inf in an empty graph."""
        if not self._count:
            return -1, math.inf
        distances = squared(self.states, state)
        node = int(distances.argmin())
        return node, float(distances[node]) ** 0.5

    def way(self, entries: np.ndarray, exits: np.ndarray, closed: np.ndarray | None = None) -> Way | None:
        """Quickest way in over `entries` (n,), seconds from the start to each landmark, and out over `exits` (n,),
        seconds from each to the goal; inf where neither is near. Not over those that are `closed` (n,) bool. None where
        there is no way (Dijkstra 1959)."""
        n, edges = self._count, self.edges
        if closed is not None:
            entries, edges = np.where(closed, np.inf, entries), np.where(closed, np.inf, edges)
        best, open_, before = entries.astype(np.float64), np.ones(n, bool), np.full(n, -1)
        for _ in range(n):
            node = int(np.where(open_, best, np.inf).argmin())
            if not (open_[node] and np.isfinite(best[node])):
                break
            open_[node] = False
            through = best[node] + edges[node]
            better = through < best
            best[better], before[better] = through[better], node
        total = best + exits
        last = int(total.argmin()) if n else 0
        if not n or not np.isfinite(total[last]):
            return None
        nodes = [last]
        while before[nodes[-1]] >= 0:
            nodes.append(int(before[nodes[-1]]))
        nodes.reverse()
        return Way(tuple(nodes), (*(float(best[node]) for node in nodes), float(total[last])))
