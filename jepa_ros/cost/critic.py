"""Trainable critic: foresees intrinsic energy beyond the planner's horizon (LeCun §3.3, Fig. 7)."""
import torch
from torch import nn, Tensor

from jepa_ros.world_model.predictors import mlp


class Critic(nn.Module):
    """(s, goal) -> discounted mean of the goal distance still to come, ≥ 0; same unit as the `goal` term."""

    def __init__(self, dim: int, width: int = 256):
        super().__init__()
        self.net = mlp(2 * dim, width, 1)

    def forward(self, s: Tensor, goal: Tensor) -> Tensor:
        """s (..., D), goal (..., D) -> (...)."""
        return nn.functional.softplus(self.net(torch.cat([s, goal.expand_as(s)], -1))).squeeze(-1)
