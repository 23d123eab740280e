"""What Mode-1 does where it gets nowhere (LeCun §5, the actor as explorer): a reflex has no plan that could notice.

A policy is a field of actions, and a field has points from which it leads nowhere. Where the energy to come has not
fallen for as long as Mode-2 is given (`impasse.py`), Mode-1 follows one random action for a while: in turn the one
after which the critic expects least, and the one that leads furthest away. Some predictor steps, only when stuck.
"""
from collections.abc import Callable

import torch
from torch import Tensor

from jepa_ros.actor.impasse import Impasse, way_out

WHY = 'impasse: Mode-1 makes no progress, exploring a way out'


class Explorer:
    """Watches how Mode-1 gets on alone and leads it out of where it does not."""

    def __init__(self, energy: Callable[[Tensor, Tensor], Tensor], rollout: Callable[[Tensor, Tensor], Tensor],
                 action_dim: int, steps: int):
        """energy: (s, goal) -> (...), to come, as the critic sees it; steps: of the shortest way out."""
        self._energy, self._rollout, self._action_dim, self._steps = energy, rollout, action_dim, steps
        self.reset()

    def reset(self) -> None:
        """A new goal: nothing is known."""
        self._impasse, self._ways = Impasse(), 0
        self._way: Tensor | None = None     # (n, A) in −1…1, what is left of a way out

    def promises(self, goal: Tensor) -> Callable[[Tensor], Tensor] | None:
        """By what the next way out is chosen, in turn: what the critic expects after it; None: how far it leads."""
        self._ways += 1
        return (lambda end: -self._energy(end, goal)) if self._ways % 2 else None

    def lead(self, s: Tensor, goal: Tensor, there: bool, generator: torch.Generator) -> Tensor | None:
        """Actions (n, A) to follow from s (D,) towards goal (D,), the first one now; None while Mode-1 gets on.

        there: the goal counts as reached, and nothing need get better.
        """
        if there:
            self.reset()
        elif self._way is None and self._impasse.stuck(float(self._energy(s, goal))):
            self._way = way_out(s, self._rollout, self._action_dim, self._steps * self._impasse.leave(), generator,
                                self.promises(goal))
        if self._way is None:
            return None
        ahead, left = self._way, self._way[1:]
        self._way = left if len(left) else None
        return ahead
