"""Predictors Pred: (s, a) -> ŝ one period later (LeCun §4.4, §4.6). Chosen by name in the agent's configuration.

They carry no hidden state: everything the future depends on is in s, so a rollout needs no cache.
"""
import torch
from torch import nn, Tensor

from jepa_ros.registry import Registry

PREDICTORS: Registry[type[nn.Module]] = Registry('predictor')


def mlp(inputs: int, width: int, outputs: int, depth: int = 2) -> nn.Sequential:
    """`depth` hidden layers with SiLU."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Linear(inputs if i == 0 else width, width), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


@PREDICTORS.register('residual_mlp')
class ResidualMLP(nn.Module):
    """ŝ = s + f(s, a): the world changes little in one period."""

    def __init__(self, dim: int, action_dim: int, width: int = 256, depth: int = 2):
        super().__init__()
        self.net = mlp(dim + action_dim, width, dim, depth)

    def forward(self, s: Tensor, a: Tensor) -> Tensor:
        return s + self.net(torch.cat([s, a], -1))


@PREDICTORS.register('adaln_mlp')
class AdaLNMLP(nn.Module):
    """Residual blocks whose layer norms are scaled and shifted by the action (adaptive layer norm)."""

    def __init__(self, dim: int, action_dim: int, width: int = 256, depth: int = 2):
        super().__init__()
        self.modulation = nn.Sequential(nn.Linear(action_dim, width), nn.SiLU(), nn.Linear(width, depth * 3 * dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim, elementwise_affine=False) for _ in range(depth))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, width), nn.SiLU(), nn.Linear(width, dim)) for _ in range(depth))

    def forward(self, s: Tensor, a: Tensor) -> Tensor:
        modulation = self.modulation(a).chunk(3 * len(self.blocks), -1)
        for i, (norm, block) in enumerate(zip(self.norms, self.blocks)):
            scale, shift, gate = modulation[3 * i:3 * i + 3]
            s = s + (1 + gate) * block(norm(s) * (1 + scale) + shift)
        return s
