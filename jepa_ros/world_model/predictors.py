"""Predictors Pred: (s, c) -> ŝ one period later (LeCun §4.4, §4.6). Chosen by name in the agent's configuration.

The two plain ones are here: they carry no memory, everything the future depends on is in s. Importing this module
registers the others too; `build_predictor` makes one with options from YAML.
"""
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.options import checked_options
from jepa_ros.world_model import predictors_lewm, predictors_recurrent, predictors_transformer  # noqa: F401
from jepa_ros.world_model.predictors_base import expand_memory, Memory, mlp, Predictor, PREDICTORS

__all__ = ['AdaLNMLP', 'build_predictor', 'expand_memory', 'Memory', 'mlp', 'Predictor', 'PREDICTORS', 'ResidualMLP']

_OWN = ('dim', 'condition_dim', 'width', 'depth')       # parameters that no option may give


def build_predictor(name: str, dim: int, condition_dim: int, width: int = 256, depth: int = 2,
                    options: Mapping[str, Any] | None = None) -> Predictor:
    """Predictor `name` of states of `dim` numbers under conditions of `condition_dim`.

    `ConfigError` in one line: unknown name, unknown or ill-typed options, options that do not go together.
    """
    predictor = PREDICTORS.get(name)
    if not (isinstance(predictor, type) and issubclass(predictor, Predictor)):      # a third party's class
        raise ConfigError(f'predictor {name} is no Predictor: derive it from jepa_ros.world_model.predictors.Predictor')
    return predictor(dim, condition_dim, width, depth,
                     **checked_options(f'predictor {name}', predictor, options or {}, _OWN))


@PREDICTORS.register('residual_mlp')
class ResidualMLP(Predictor):
    """ŝ = s + f(s, c): the world changes little in one period."""

    def __init__(self, dim: int, condition_dim: int, width: int = 256, depth: int = 2):
        super().__init__(dim, condition_dim, width, depth)
        self.net = mlp(dim + condition_dim, width, dim, depth)

    def forward(self, s: Tensor, c: Tensor) -> Tensor:
        return s + self.net(torch.cat([s, c], -1))


@PREDICTORS.register('adaln_mlp')
class AdaLNMLP(Predictor):
    """Residual blocks whose layer norms are scaled and shifted by c (adaptive layer norm, Peebles & Xie 2023 §3.2)."""

    def __init__(self, dim: int, condition_dim: int, width: int = 256, depth: int = 2):
        super().__init__(dim, condition_dim, width, depth)
        self.modulation = nn.Sequential(nn.Linear(condition_dim, width), nn.SiLU(), nn.Linear(width, depth * 3 * dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim, elementwise_affine=False) for _ in range(depth))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, width), nn.SiLU(), nn.Linear(width, dim)) for _ in range(depth))

    def forward(self, s: Tensor, c: Tensor) -> Tensor:
        modulation = self.modulation(c).chunk(3 * len(self.blocks), -1)
        for i, (norm, block) in enumerate(zip(self.norms, self.blocks)):
            scale, shift, gate = modulation[3 * i:3 * i + 3]
            s = s + (1 + gate) * block(norm(s) * (1 + scale) + shift)
        return s
