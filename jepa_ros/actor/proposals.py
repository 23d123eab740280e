"""Mode-1 seeds Mode-2: what the policy would do is a candidate of the search at every level (LeCun §3.1.3).

At level 0 that is its chunk. Above, Mode-1 is imagined to go on from period to period, in states of that level: its
chunk becomes a macro-action, and the predictor tells the state from which it acts next. A search that starts there
need not find by chance what Mode-1 already knows, and is never worse than it in imagination.
"""
from collections.abc import Sequence

import torch
from torch import Tensor

from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.actor.reflex import Reflex
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.predictors import Memory


def proposed(policy: Reflex, model: HJEPA, configs: Sequence[PlannerConfig], s: Sequence[Tensor], goal: Tensor,
             task: Tensor | None = None, memory: Memory | None = None) -> tuple[Tensor | None, ...]:
    """One candidate (1, 1, H_l, A_l) for each planned level, from its state s[l] (D,) to the goal (D,) of level 0;
    memory as Mode-1 has it.

    None for a level that the policy cannot drive: its chunk is shorter than the horizon of level 0, or than a period;
    the states there are others than those that it knows; or the predictor needs to remember.
    """
    found: list[Tensor | None] = []
    for number, config in enumerate(configs):
        if number == 0:
            whole = policy.chunk >= config.horizon
            found.append(policy(s[0], goal, task, memory)[None, None, :config.horizon] if whole else None)
        else:
            found.append(_macro(policy, model, number, config.horizon, s[number], goal, task, memory))
    return tuple(found)


def _macro(policy: Reflex, model: HJEPA, number: int, horizon: int, s: Tensor, goal: Tensor,
           task: Tensor | None, memory: Memory | None) -> Tensor | None:
    level = model.levels[number]
    shared = not any(lower.pooled for lower in model.config.levels[1:number + 1])
    if not shared or level.period > policy.chunk or level.context > 1:
        return None
    actions = []
    for _ in range(horizon):
        macro = level.action_encoder(policy.wanted(s, goal, task, memory)[:level.period])
        macro = macro.clamp(level.action_encoder.low, level.action_encoder.high)
        actions.append(macro)
        s = level.predict(s, macro, task=task)
    return torch.stack(actions)[None, None]
