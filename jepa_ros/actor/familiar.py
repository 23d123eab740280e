"""What the actor has seen itself, so that curiosity knows what is new (LeCun §3.2, §4.10). A bounded ring of states."""
from dataclasses import replace

import torch
from torch import Tensor

from jepa_ros.cost.cost import Cost, CostSettings

CAPACITY = 2048         # states: 200 s at 10 Hz
REFRESH = 10            # ticks between two looks at the ring: a new one drops the warm start of the plan
TERM = 'curiosity'


class Familiar:
    """Puts the states seen so far into settings whose curiosity has a weight; others pass as they are."""

    def __init__(self, cost: Cost):
        self._cost = cost
        self.reset()

    def reset(self) -> None:
        """Forget all states."""
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
            known = self._cost.make_settings(None, None, remembered=torch.stack(self._states))
            self._base, self._age = settings, 0
            self._settings = replace(settings, remembered=known.remembered, familiar=known.familiar)
        return self._settings if self._base is settings else settings

    def _see(self, s: Tensor) -> None:
        if len(self._states) < CAPACITY:
            self._states.append(s)
            return
        self._states[self._next] = s
        self._next = (self._next + 1) % CAPACITY
