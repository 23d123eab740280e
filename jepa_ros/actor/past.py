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
    """The past of one robot. A predictor that recalls reads the memory organ; one that looks back, the last states."""

    def __init__(self, world: WorldModel):
        self._world = world
        level = world.model.levels[0]
        context = level.context if world.recollection is None or level.config.recall is None else 1
        # (state, action) pairs before the present state, for a predictor that looks back
        self._pairs: deque[tuple[Tensor, Tensor]] | None = deque(maxlen=context - 1) if context > 1 else None
        self._newest: Tensor | None = None
        self.above: tuple[Memory | None, ...] = ()      # of the levels above 0, as `see` returns that of level 0

    def see(self, s: Tensor, previous_action: np.ndarray | None, task: Tensor | None = None) -> Memory | None:
        """Take in the newest state (D,) and the SI action that led to it.

        Returns what a predictor that looks back or recalls knows of the past, of one robot (1, …); None for others.
        """
        self._world.glimpse(s)
        recalled = self._world.recalled()
        self.above = recalled[1:]
        return recalled[0] if self._pairs is None else self._look_back(s, previous_action, task)

    def _look_back(self, s: Tensor, previous_action: np.ndarray | None, task: Tensor | None) -> Memory | None:
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
        return self._world.model.levels[0].remember(states, actions, task)

    def at_effect(self, s: Tensor, previous_action: np.ndarray | None, delay_s: float,
                  memory: Memory | None = None, task: Tensor | None = None) -> Tensor:
        """State (D,) predicted for `delay_s` after s (D,), while the previous SI action (A,) is still in force."""
        if previous_action is None or delay_s <= 0:
            return s
        share = min(1.0, delay_s / self._world.control_period_s)
        action = self._world.scale_actions(previous_action)
        ahead = self._world.model.levels[0].predict(s[None], action[None], memory=memory, task=task)[0]
        return s + share * (ahead - s)
