"""Encoder of proprioception: joint states, odometry, inertial units, poses, any plain numbers (n,)."""
from pydantic import PositiveInt
import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.perception.base import ENCODERS, SensorEncoder, VECTOR
from jepa_ros.perception.modulation import films, modulated, token


@ENCODERS.register('mlp')
class VectorEncoder(SensorEncoder):
    """MLP with layer norm: vectors (B, n) float -> s (B, dim).

    `angles` are the indices of numbers in rad that wrap: they go in as sine and cosine, so that −π is next to π; the
    others are normalised. `depth` hidden layers of `width`, FiLM in each.
    """

    KINDS = (VECTOR,)

    def __init__(self, shape: tuple[int], dim: int, width: PositiveInt = 128, depth: PositiveInt = 2,
                 angles: tuple[int, ...] = (), task_dim: int = 0):
        super().__init__(shape, dim, task_dim, (1, shape[0]))
        outside = [i for i in angles if not 0 <= i < shape[0]]
        if outside:
            raise ConfigError(f'mlp: angle {outside[0]} is no index of a vector of {shape[0]} numbers')
        self.angles = sorted(set(angles))
        self.plain = [i for i in range(shape[0]) if i not in self.angles]
        inputs = len(self.plain) + 2 * len(self.angles)
        self.layers = nn.ModuleList(nn.Linear(width if i else inputs, width) for i in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.head = nn.Linear(width if depth else inputs, dim)
        self.films = films(task_dim, (width,) * depth)

    def forward(self, vectors: Tensor, task: Tensor | None = None) -> Tensor:
        x = self.standardise(vectors)[:, self.plain]
        if self.angles:
            angles = vectors.float()[:, self.angles]
            x = torch.cat([x, angles.sin(), angles.cos()], 1)
        x = x.to(self.head.weight.dtype)
        task = token(task, self.task_dim, x.shape[0], x)
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms)):
            x = nn.functional.silu(modulated(self.films, index, norm(layer(x)), task))
        return self.head(x)
