"""What the actor decides."""
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from jepa_ros.actor.hierarchy import HierarchyPlan
from jepa_ros.actor.pace import Rung, Tick

REACTIVE, PLANNED = 1, 2


@dataclass(frozen=True)
class Decision:
    """What to do now, and the plan behind it. Actions in SI units, level 0 first."""

    action: np.ndarray                  # (A,)
    mode: int                           # REACTIVE or PLANNED
    actions: np.ndarray                 # (H, A)
    # per level below the top (n, D): what the level above foresees, the subgoal in force first
    subgoals: list[Tensor] = field(default_factory=list)
    macro_actions: list[Tensor] = field(default_factory=list)   # (H_l, A_l) per level above 0
    energies: list[float] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    latency_ms: float = 0.0
    budget_ms: float = 0.0
    deadline_hit: bool = False
    degradation: str = ''               # what was given up to be on time; empty when nothing
    why: str = ''                       # why Mode-1 or Mode-2 acts, where the arbiter chose (mode auto)


def planned(actions: np.ndarray, plan: HierarchyPlan, rung: Rung, tick: Tick) -> Decision:
    """To carry out a plan whose level 0 is `actions` (H, A) in SI units, made on a rung, with what that gave up."""
    done = [search.iterations for search in plan.searches]
    short = [rung.given_up] if rung.given_up else []
    if plan.deadline_hit:
        short += [f'level {i}: {n} of {c.iterations} iterations' for i, (n, c) in enumerate(zip(done, rung.configs))
                  if n < c.iterations]
    latency_ms = tick.latency_ms
    if latency_ms > tick.budget_ms:
        short.append(f'{latency_ms - tick.budget_ms:.1f} ms late')
    return Decision(
        actions[0], PLANNED, actions, [s[0].clone() for s in plan.states[1:]],
        [x.actions[0].clone() for x in plan.searches[1:]], [float(x.energy[0]) for x in plan.searches],
        [c.samples for c in rung.configs], done, latency_ms, tick.budget_ms, plan.deadline_hit, '; '.join(short))


def of_length(actions: Tensor, horizon: int) -> Tensor:
    """Actions (B, H, A) cut to `horizon`, or the last one repeated up to it."""
    missing = horizon - actions.shape[1]
    return actions[:, :horizon] if missing <= 0 else torch.cat([actions, actions[:, -1:].expand(-1, missing, -1)], 1)
