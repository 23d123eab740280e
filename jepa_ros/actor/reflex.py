"""Mode-1 in a world whose actions have come to do something else (LeCun §3.1.1, §4.10).

A policy was taught what actions did in training. Where adaptation found that they do M a + b of that now (`JEPA`,
`action_map`), what it wants is asked of the robot by the action that does it: a reversed base is steered reversed.
"""
from collections.abc import Mapping

import torch
from torch import Tensor

from jepa_ros.actor.policy import Policy
from jepa_ros.cost.cost import CostSettings
from jepa_ros.cost.settings import CRITIC
from jepa_ros.world_model.jepa import JEPA
from jepa_ros.world_model.predictors import Memory

LEAST_GAIN = 0.1        # of an action, below which it counts as dead: nothing is asked of a wheel that does not turn


class Reflex:
    """A policy that acts by the dynamics in force, and asks memory where it was taught to."""

    def __init__(self, policy: Policy, dynamics: JEPA):
        self._policy, self._dynamics = policy, dynamics
        self._known: tuple[Tensor, int] | None = None       # the map that was inverted, and which state of it
        self._inverse: tuple[Tensor, Tensor] | None = None  # (A, A) and offset (A,); None: actions do as in training

    @property
    def chunk(self) -> int:
        """Actions it gives at once."""
        return self._policy.chunk

    def __call__(self, s: Tensor, goal: Tensor, task: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """s (D,), goal (D,), task (Z,), memory of one robot, as level 0 has it -> (chunk, A) in −1…1."""
        return self._asked(self.wanted(s, goal, task, memory))

    def taught(self, settings: CostSettings, usual: Mapping[str, float]) -> bool:
        """Whether it learned what is asked: to reach a goal at the `usual` weights, or a task that its token names.

        It knows nothing of other weights, of a program or of unpleasant places; guardrails are looked at in any case.
        """
        if settings.goal_state is None:
            return False
        if self._policy.tokens > 0 and settings.task is not None:
            return True
        same = all(weight == usual[name] for name, weight in settings.weights.items() if name != CRITIC)
        return same and not settings.program and settings.soft is None

    def wanted(self, s: Tensor, goal: Tensor, task: Tensor | None = None, memory: Memory | None = None) -> Tensor:
        """The same as actions of training, whatever they do now."""
        return self._policy(s, goal, task, self._recalled(s, memory))

    def judged(self, s: Tensor, goal: Tensor, task: Tensor | None = None,
               memory: Memory | None = None) -> tuple[Tensor, float]:
        """What it does (chunk, A), and how probable it is that Mode-1 alone does not reach the goal."""
        known = self._recalled(s, memory)
        return (self._asked(self._policy(s, goal, task, known)),
                float(self._policy.uncertainty(s, goal, task, known)))

    def _asked(self, wanted: Tensor) -> Tensor:
        inverse = self._inverted()
        if inverse is None:
            return wanted
        back, offset = inverse
        return ((wanted - offset) @ back.T).clamp(-1, 1)

    def _recalled(self, s: Tensor, memory: Memory | None) -> Tensor | None:
        return self._dynamics.known(s[None], memory)[0] if self._policy.recalled else None

    def _inverted(self) -> tuple[Tensor, Tensor] | None:
        """Looked at anew only where the map was changed: asking a GPU for it takes longer than the policy."""
        found = self._dynamics.action_map
        if self._known is None or self._known[0] is not found or self._known[1] != found._version:
            self._known = found, found._version
            actions = found.shape[0]
            usual = bool((found[:, :-1] == torch.eye(actions, device=found.device)).all() & (found[:, -1] == 0).all())
            self._inverse = None if usual else (_inverse(found[:, :-1]), found[:, -1])
        return self._inverse


def _inverse(matrix: Tensor) -> Tensor:
    """(A, A) with which a map is undone as far as it can be; what hardly does anything is left alone."""
    return torch.linalg.pinv(matrix.cpu(), atol=LEAST_GAIN, rtol=0.0).to(matrix)
