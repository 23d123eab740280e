"""What was seen before, so that curiosity knows what is new (LeCun §3.2, §4.10).

Where the memory organ is in this process it says so: all it holds, over goals and restarts. Elsewhere the actor keeps a
bounded ring of the states it has seen itself since its goal was set: to ask another process takes longer than a plan.
"""
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from jepa_ros.cost.cost import Cost, CostSettings

CAPACITY = 2048         # states: 200 s at 10 Hz
REFRESH = 10            # ticks between two looks at the ring: a new one drops the warm start of the plan
TERM = 'curiosity'


class Familiar:
    """Puts the states seen so far into settings whose curiosity has a weight; others pass as they are."""

    def __init__(self, cost: Cost, seen: Callable[[int], Tensor | None] | None = None):
        """`seen(count)`: at most so many remembered states (n, D); None where there is no memory here."""
        self._cost, self._seen = cost, seen
        self.reset()

    def reset(self) -> None:
        """Forget the ring; memory forgets nothing."""
        self._states: list[Tensor] = []
        self._next = self._age = 0
        self._base: CostSettings | None = None
        self._settings: CostSettings | None = None

    def settings(self, settings: CostSettings, s: Tensor) -> CostSettings:
        """`settings` with what is familiar; `s` (D,) is the newest state. The same object for REFRESH ticks."""
        if not settings.weights.get(TERM, 0.0) > 0 or settings.remembered:
            return settings
        if bool(torch.isfinite(s).all()):
            self._see(s)
        self._age += 1
        if self._states and (self._base is not settings or self._age >= REFRESH):
            seen = None if self._seen is None else self._seen(CAPACITY)
            known = self._cost.make_settings(None, None, remembered=torch.stack(self._states) if seen is None else seen)
            self._base, self._age = settings, 0
            self._settings = replace(settings, remembered=known.remembered, familiar=known.familiar)
        return self._settings if self._base is settings else settings

    def _see(self, s: Tensor) -> None:
        if len(self._states) < CAPACITY:
            self._states.append(s)
            return
        self._states[self._next] = s
        self._next = (self._next + 1) % CAPACITY
