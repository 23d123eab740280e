"""Mode-1 seeds Mode-2: what the policy would do is a candidate of the search at every level (LeCun §3.1.3).

At level 0 that is its chunk. Above, Mode-1 is imagined to go on from period to period, in states of that level: its
chunk becomes a macro-action, and the predictor tells the state from which it acts next. A search that starts there
need not find by chance what Mode-1 already knows, and is never worse than it in imagination.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.reflex import Reflex
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.predictors import Memory


@dataclass(frozen=True)
class Proposals:
    """What Mode-1 would do from states s[l] (D,) to the goal (D,) of level 0; memory as Mode-1 has it.

    Called for each level that searches, so that nothing is imagined for one that keeps its plan.
    """

    policy: Reflex
    model: HJEPA
    s: Sequence[Tensor]
    goal: Tensor
    task: Tensor | None = None
    memory: Memory | None = None
    slowed: Callable[[Tensor], Tensor] = lambda actions: actions    # to the speed asked for; above, where to counts

    def __call__(self, number: int, config: PlannerConfig) -> Tensor | None:
        """One candidate (1, 1, H_l, A_l) for level `number`.

        None for a level that the policy cannot drive: its chunk is shorter than the horizon of level 0, or than a
        period; the states there are others than those that it knows; or the predictor needs to remember.
        """
        if number:
            return self._macro(number, config.horizon)
        if self.policy.chunk < config.horizon:
            return None
        chunk = self.policy(self.s[0], self.goal, self.task, self.memory)
        return self.slowed(chunk)[None, None, :config.horizon]

    def _macro(self, number: int, horizon: int) -> Tensor | None:
        level, s, actions = self.model.levels[number], self.s[number], []
        shared = not any(lower.pooled for lower in self.model.config.levels[1:number + 1])
        if not shared or level.period > self.policy.chunk or level.context > 1:
            return None
        encoder = level.action_encoder
        for _ in range(horizon):
            wanted = self.policy.wanted(s, self.goal, self.task, self.memory)
            actions.append(encoder(wanted[:level.period]).clamp(encoder.low, encoder.high))
            s = level.predict(s, actions[-1], task=self.task)
        return torch.stack(actions)[None, None]
