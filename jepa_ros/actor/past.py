"""What the actor knows of the last moments: states and actions before the present, and where the robot will be.

Planning takes time, and its action takes effect later than the state it starts from: the plan is made from the state
that is predicted for that moment (LeCun §3.1.2; design, "the moment its action will take effect").
"""
from collections import deque

import numpy as np
import torch
from torch import Tensor

from jepa_ros.world_model.predictors import Memory
from jepa_ros.world_model.world_model import WorldModel


class Past:
    """The past of one robot."""

    def __init__(self, world: WorldModel):
        self._world = world
        context = world.model.levels[0].context
        # (state, action) pairs before the present state, for a predictor that looks back
        self._pairs: deque[tuple[Tensor, Tensor]] | None = deque(maxlen=context - 1) if context > 1 else None
        self._newest: Tensor | None = None

    def see(self, s: Tensor, previous_action: np.ndarray | None) -> Memory | None:
        """Take in the newest state (D,) and the SI action that led to it.

        Returns what a predictor that looks back knows of the past, of one robot (1, …); None for one that does not.
        """
        if self._pairs is None:
            return None
        if not bool(torch.isfinite(s).all()):   # it would spoil the memory for as long as the predictor looks back
            self._pairs.clear()
            self._newest = None
            return None
        if previous_action is None:
            self._pairs.clear()
        elif self._newest is not None:
            self._pairs.append((self._newest, self._world.scale_actions(previous_action)))
        self._newest = s
        if not self._pairs:
            return None
        states, actions = (torch.stack(column)[None] for column in zip(*self._pairs))
        return self._world.model.levels[0].remember(states, actions)

    def at_effect(self, s: Tensor, previous_action: np.ndarray | None, delay_s: float,
                  memory: Memory | None = None) -> Tensor:
        """State (D,) predicted for `delay_s` after s (D,), while the previous SI action (A,) is still in force."""
        if previous_action is None or delay_s <= 0:
            return s
        share = min(1.0, delay_s / self._world.control_period_s)
        action = self._world.scale_actions(previous_action)
        ahead = self._world.model.levels[0].predict(s[None], action[None], memory=memory)[0]
        return s + share * (ahead - s)
