"""Mode-1: a policy that acts without planning, distilled from Mode-2's plans (LeCun §3.1.1, §3.1.3, Fig. 5).

A policy that `doubts` knows how sure it is: a second net foresees whether it will fail to reach the goal from here,
taught by its own drives in imagination. That is what decides whether Mode-2 is needed (`arbiter.py`), and it tells it
better than the disagreement of an ensemble: where a reflex gets stuck its members agree (figures: docs/learning.md).
Without that net the uncertainty is unknown, infinite.
"""
import torch
from torch import nn, Tensor

from jepa_ros.cost.critic import with_task
from jepa_ros.world_model.predictors import mlp


class Policy(nn.Module):
    """(s, goal[, task]) -> a chunk of actions in −1…1, the first one to be taken now."""

    def __init__(self, dim: int, action_dim: int, chunk: int = 8, width: int = 256, doubts: bool = False,
                 tokens: int = 0, recalled: int = 0):
        """`doubts`: whether it knows its uncertainty; `tokens`: numbers of a task token, 0 for none;
        `recalled`: numbers of what memory says (`JEPA.known`), 0 for a policy that does not ask it.
        """
        super().__init__()
        self.chunk, self.action_dim, self.tokens, self.recalled = chunk, action_dim, tokens, recalled
        inputs = 3 * dim + tokens + recalled
        self.net = mlp(inputs, width, chunk * action_dim, depth=3)
        self.doubt = mlp(inputs, width, 1) if doubts else None

    def forward(self, s: Tensor, goal: Tensor, task: Tensor | None = None, known: Tensor | None = None) -> Tensor:
        """s (..., D), goal (..., D), task (..., Z), known (..., R) -> (..., chunk, A)."""
        flat = torch.tanh(self.net(self._inputs(s, goal, task, known)))
        return flat.unflatten(-1, (self.chunk, self.action_dim))

    def uncertainty(self, s: Tensor, goal: Tensor, task: Tensor | None = None, known: Tensor | None = None) -> Tensor:
        """How probable it is that Mode-1 alone will not reach the goal from here, (...); infinite where unknown."""
        if self.doubt is None:
            return torch.full(s.shape[:-1], torch.inf, device=s.device)
        return torch.sigmoid(self.doubt_logit(s, goal, task, known))

    def doubt_logit(self, s: Tensor, goal: Tensor, task: Tensor | None = None, known: Tensor | None = None) -> Tensor:
        """The log-odds of it, (...), for training."""
        return self.doubt(self._inputs(s, goal, task, known)).squeeze(-1)

    def _inputs(self, s: Tensor, goal: Tensor, task: Tensor | None, known: Tensor | None) -> Tensor:
        goal = goal.expand_as(s)
        parts = [s, goal, goal - s]
        if self.recalled:       # zeros: nothing is known, and it is not sure at all
            parts.append(s.new_zeros(*s.shape[:-1], self.recalled) if known is None else known.to(s))
        return with_task(torch.cat(parts, -1), task, self.tokens, 'policy')
