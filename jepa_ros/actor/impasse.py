"""The actor as explorer (LeCun §5): what to do when planning leads nowhere.

A model that is wrong about one spot, a door's edge say, makes the same plan there for ever. When the energy of the
plans has stopped falling, the actor leaves: it follows the random action that promises the largest change of
state for a macro-period or more, and plans again from there.
"""
from collections.abc import Callable
import math

import torch
from torch import Tensor

from jepa_ros.energy.distance import squared

PATIENCE = 10       # plans without progress, 1 s at 10 Hz: as long as a turn around a door takes
GAIN = 0.03         # share by which the energy must fall to count as progress
CANDIDATES = 8
MOST_PERIODS = 3    # a way out lasts one macro-period, the next ones two and three: a wide trap needs a wide step


class Impasse:
    """Watches the energies of successive plans and proposes a way out."""

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        """A new goal: nothing is known."""
        self._left = 0
        self._best, self._waited = math.inf, 0

    def leave(self) -> int:
        """Start watching afresh from a new place; returns for how many macro-periods to go there."""
        self._best, self._waited = math.inf, 0
        self._left += 1
        return 1 + (self._left - 1) % MOST_PERIODS

    def stuck(self, energy: float) -> bool:
        """Note the energy of the newest plan; True when there has been no progress for `PATIENCE` plans."""
        if energy < (1 - GAIN) * self._best:
            self._best, self._waited = energy, 0
        else:
            self._waited += 1
        return self._waited >= PATIENCE


def way_out(s: Tensor, rollout: Callable[[Tensor, Tensor], Tensor], action_dim: int, steps: int,
            generator: torch.Generator, promises: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """From s (D,): of random constant actions in −1…1 the one that leads furthest from s, repeated (steps, A).

    promises: of states (N, D) -> (N,), what the end of a way is chosen by instead.
    """
    drawn = torch.rand(CANDIDATES, 1, action_dim, generator=generator, device=s.device) * 2 - 1
    full = drawn / drawn.abs().amax(-1, keepdim=True).clamp_min(1e-6)      # one number at its limit: no dawdling
    actions = full.expand(-1, steps, -1)
    end = rollout(s.expand(CANDIDATES, -1), actions)[:, -1]
    return actions[int((squared(end, s) if promises is None else promises(end)).argmax())]
