"""Mode-1: a policy that acts without planning, distilled from Mode-2's plans (LeCun §3.1.1, §3.1.3, Fig. 5)."""
import torch
from torch import nn, Tensor

from jepa_ros.world_model.predictors import mlp


class Policy(nn.Module):
    """(s, goal) -> a chunk of actions in −1…1, the first one to be taken now."""

    def __init__(self, dim: int, action_dim: int, chunk: int = 8, width: int = 256):
        super().__init__()
        self.chunk, self.action_dim = chunk, action_dim
        self.net = mlp(3 * dim, width, chunk * action_dim, depth=3)

    def forward(self, s: Tensor, goal: Tensor) -> Tensor:
        """s (..., D), goal (..., D) -> (..., chunk, A)."""
        goal = goal.expand_as(s)
        flat = torch.tanh(self.net(torch.cat([s, goal, goal - s], -1)))
        return flat.unflatten(-1, (self.chunk, self.action_dim))
