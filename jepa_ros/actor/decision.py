"""What the actor decides."""
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

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
