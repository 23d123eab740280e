"""What the plan of one level costs: the energy that its planner minimises (LeCun §4.7, Fig. 16)."""
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_ros.actor.planners import Evaluation, PlannerConfig
from jepa_ros.actor.risk import chance_violation, measure, Scenarios
from jepa_ros.cost.cost import Cost, CostSettings
from jepa_ros.energy.distance import squared
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.numerics import EXACT, Numerics
from jepa_ros.world_model.predictors import expand_memory, Memory

# How much deeper, in radii, a way out of a forbidden region may lead: readouts are not exact to the last digit.
INSIDE_SLACK = 0.02


@dataclass(frozen=True)
class LevelEnergy:
    """The cost at the top; below, the distance to the subgoal (B, D_{l+1}) and what the actions cost.

    Guardrails hold at every level. With `scenarios` both are judged over several futures of each candidate.
    """

    model: HJEPA
    cost: Cost
    level: int
    config: PlannerConfig
    s: Tensor                               # (B, D_l), where the plan starts
    settings: CostSettings
    subgoal: Tensor | None = None
    previous_action: Tensor | None = None   # (A,), level 0 only
    memory: Memory | None = None            # what the predictor remembers
    scenarios: Scenarios | None = None
    numerics: Numerics = EXACT              # of rollouts

    def __call__(self, candidates: Tensor) -> Evaluation:
        """Candidates (B, N, H, A) -> energies and violations, each (B, N)."""
        if self.scenarios is None:
            return self.of(self.rollout(candidates), candidates)
        futures = self.scenarios.futures(self.s, candidates, self.memory, self.settings.task)
        count = futures.states.shape[2]
        # as many candidates as there are futures: to the cost they are alike
        repeated = candidates[:, :, None].expand(-1, -1, count, -1, -1).flatten(1, 2)
        judged = self.of(futures.states.flatten(1, 2), repeated)
        shape = futures.weights.shape
        energy = measure(judged.energy.reshape(shape), futures.weights, self.config)
        if judged.violation is None:
            return Evaluation(energy)
        violation = judged.violation.reshape(shape)
        return Evaluation(energy, chance_violation(violation, futures.weights, self.config.chance))

    def rollout(self, candidates: Tensor) -> Tensor:
        """Most probable states (B, N, H, D_l) of candidates (B, N, H, A)."""
        count = candidates.shape[1]
        return self.model.levels[self.level].rollout(
            self.s[:, None].expand(-1, count, -1), candidates, memory=expand_memory(self.memory, count),
            numerics=self.numerics, task=self.settings.task)

    def of(self, states: Tensor, candidates: Tensor) -> Evaluation:
        """Of rollouts (B, N, H, D_l) under candidates (B, N, H, A)."""
        below, level = self.subgoal is not None, self.level
        actions, previous = (candidates, self.previous_action) if level == 0 else (None, None)
        settings = self.cost.action_settings(self.settings) if below else self.settings
        total = self.cost.energy(states, actions, settings, previous, level, self.s, candidates)
        if level and self.config.strangeness:
            # HWM: where macro-actions are unlike those of training, predictions are as good as none
            strange = self.model.levels[level].action_encoder.strangeness(candidates).sum(-1)
            total = total + self.config.strangeness * strange
        if below:
            total = total + squared(self.above(states), self.subgoal[:, None, None]).sum(-1)
        return Evaluation(total, self.violation(states))

    def violation(self, states: Tensor) -> Tensor | None:
        """How far rollouts (B, N, H, D_l) break guardrails, summed over the steps (B, N); None: nothing is forbidden.

        Who is where nothing may be must get out, and may do so on any way that never leads deeper, nor into another
        place where nothing may be.
        """
        depth = self.cost.depth(states, self.settings, self.level)
        if depth is None:
            return None
        now = self.cost.depth(self.s[:, None, None], self.settings, self.level)     # (B, 1, 1, K)
        allowed = now + INSIDE_SLACK * (now > 0)
        return torch.relu(depth - allowed).sum((-1, -2))

    def above(self, states: Tensor) -> Tensor:
        """What the level above makes of a rollout (B, N, H, D_l), step by step (B, N, H, D_{l+1}).

        Enc_{l+1} sees the states of one period; those before the first are taken to have been s (LeCun Fig. 16).
        """
        n = self.model.windows[self.level + 1]
        if n == 1:
            return states
        before = self.s[:, None, None].expand(-1, states.shape[1], n - 1, -1)
        windows = torch.cat([before, states], 2).unfold(2, n, 1).transpose(-1, -2)      # (B, N, H, n, D_l)
        return self.model.pool(self.level + 1, windows)
