"""When Mode-1 is enough: mode `auto` of a policy that knows how sure it is (LeCun §3.1.3: "a single policy module").

Mode-1 acts alone while it is sure, nothing surprises and the world model foresees that its chunk brings the energy
down. Where one of these fails Mode-2 thinks again, seeded by Mode-1, and keeps the wheel for some ticks: the modes do
not flicker.
"""
from collections.abc import Callable
from dataclasses import dataclass
import math

from torch import Tensor

from jepa_ros.energy.distance import squared

SURE_AGAIN = 0.8        # share of the threshold below which an unsure policy counts as sure again
SURPRISED = 10.0        # surprise, over its mean in training, from which on Mode-2 looks ahead; the gate slows at 100
KEEPS_S = 0.3           # seconds without a doubt after which Mode-2 gives the wheel back …
PATIENCE_S = 1.5        # Mode-1 may go so long without a new least energy
PROGRESS = 0.98         # share of the least energy so far that counts as a new one


@dataclass(frozen=True)
class Evidence:
    """What is known before anything is planned."""

    uncertainty: float      # of the policy here, infinite where unknown
    now: float              # energy to come from the present state
    ahead: float            # … from the state at the end of Mode-1's chunk, as the world model foresees it
    there: bool = False     # the goal counts as reached: there the energy need not fall


@dataclass(frozen=True)
class Choice:
    """Who acts in this tick, and in a few words why."""

    reactive: bool
    why: str


class Arbiter:
    """Chooses tick by tick; `threshold` is the uncertainty up to which Mode-1 may act."""

    def __init__(self, threshold: float, period_s: float = 0.1,
                 energy: Callable[[Tensor, Tensor, Tensor | None], Tensor] = lambda s, goal, task: squared(s, goal)):
        """energy: (s, goal, task) -> (...), what counts as nearer: that of the critic, who sees far, or distance."""
        self.threshold, self.energy = threshold, energy
        self._keeps, self._patience = round(KEEPS_S / period_s), round(PATIENCE_S / period_s)
        self.surprise = math.nan        # of the newest percept, NaN where unknown; whoever knows it says so
        self.reset()

    def reset(self) -> None:
        """A new goal: nothing is known against Mode-1."""
        self._reactive, self._calm = True, 0
        self._least, self._since = math.inf, 0      # energy, and ticks since it was new
        self._below = math.inf      # energy that Mode-2 must come below before Mode-1 tries again
        self.surprise = math.nan

    @property
    def surprised(self) -> bool:
        """Whether the newest percept was so far from what the world model foresaw that it cannot be trusted now."""
        return self.surprise > SURPRISED

    def choose(self, evidence: Evidence) -> Choice:
        """Mode-1 or Mode-2 for this tick."""
        doubt = self._doubt(evidence)
        if doubt:
            return self.object(doubt)
        if self._reactive:
            return Choice(True, f'Mode-1: sure ({evidence.uncertainty:.2g} of {self.threshold:.2g})')
        self._calm += 1
        if self._calm <= self._keeps:
            return Choice(False, f'Mode-2: {self._calm} of {self._keeps} ticks without doubt')
        if not (evidence.now < self._below or evidence.there):
            return Choice(False, f'Mode-2: not yet nearer than Mode-1 came ({evidence.now:.3g} of {self._below:.3g})')
        self._reactive = True
        return Choice(True, 'Mode-1: sure again')

    def object(self, doubt: str) -> Choice:
        """Mode-2 takes the wheel."""
        self._reactive, self._calm, self._since = False, 0, 0
        return Choice(False, f'Mode-2: {doubt}')

    def _doubt(self, evidence: Evidence) -> str:
        limit = self.threshold if self._reactive else SURE_AGAIN * self.threshold
        if not evidence.uncertainty <= limit:
            return f'Mode-1 is unsure ({evidence.uncertainty:.2g} of {limit:.2g})'
        if self.surprised:
            return f'surprised ({self.surprise:.2g} times the usual error)'
        if not (evidence.ahead < evidence.now or evidence.there):
            return f'Mode-1 would not lower the energy ({evidence.now:.3g} to {evidence.ahead:.3g})'
        if evidence.now < PROGRESS * self._least or evidence.there:
            self._least, self._since = evidence.now, 0
        elif self._reactive:
            self._since += 1
        if self._since <= self._patience:
            return ''
        self._below = PROGRESS * self._least
        return f'no progress for {self._since} ticks'
