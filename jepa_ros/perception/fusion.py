"""Several sensors, any of them missing, to one state (LeCun §4.4; §8.2.2: filling in what is not seen).

A missing sensor's embedding is replaced by a learned token, and its content is taken out before it is encoded, so
neither a number nor a NaN of it reaches the state or a gradient. Dropping sensors in training teaches to do without.
"""
import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.perception.modulation import FiLM
from jepa_ros.perception.vit import Block
from jepa_ros.registry import Registry

FUSIONS: Registry[type[nn.Module]] = Registry('fusion')


def zeroed(x: Tensor, valid: Tensor) -> Tensor:
    """x (B, …) with zeros where `valid` (B,) is False; 0 · NaN would be NaN."""
    return torch.where(valid.view(-1, *(1,) * (x.dim() - 1)), x, torch.zeros((), dtype=x.dtype, device=x.device))


def drop(valid: Tensor, rate: float) -> Tensor:
    """`valid` (B, S) bool with each sensor dropped at `rate`; where none would be left, none is dropped.

    Modality dropout (Neverova et al. 2016, ModDrop, §4.2). Draws from torch's generator.
    """
    kept = valid & (torch.rand(valid.shape, device=valid.device) >= rate)
    return torch.where(kept.any(1, keepdim=True), kept, valid)


class MissingToken(nn.Module):
    """e (B, D), valid (B,) bool -> e, or a learned token where the sensor is missing."""

    def __init__(self, dim: int):
        super().__init__()
        self.token = nn.Parameter(torch.randn(dim) * 0.02)

    def forward(self, e: Tensor, valid: Tensor) -> Tensor:
        return torch.where(valid[:, None], e, self.token.to(e.dtype))


@FUSIONS.register('mlp')
class MLPFusion(nn.Module):
    """Normalised embeddings side by side, one hidden layer: S of (B, D_i) -> s (B, dim). FiLM on the hidden layer."""

    def __init__(self, dims: tuple[int, ...], dim: int, width: int, task_dim: int = 0):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(d) for d in dims)
        self.hidden, self.norm, self.head = nn.Linear(sum(dims), width), nn.LayerNorm(width), nn.Linear(width, dim)
        self.film = FiLM(task_dim, width) if task_dim else None

    def forward(self, embeddings: list[Tensor], task: Tensor | None = None) -> Tensor:
        x = self.norm(self.hidden(torch.cat([norm(e) for norm, e in zip(self.norms, embeddings)], 1)))
        if self.film is not None:
            x = self.film(x, task)
        return self.head(nn.functional.silu(x))


@FUSIONS.register('attention')
class AttentionFusion(nn.Module):
    """One token per sensor and one for the state, which attends to them: S of (B, D_i) -> s (B, dim). AdaLN in blocks.

    As the class token of ViT; what each sensor contributes may depend on what the others say.
    """

    def __init__(self, dims: tuple[int, ...], dim: int, width: int, task_dim: int = 0, depth: int = 2, heads: int = 4):
        super().__init__()
        if width % heads:
            raise ConfigError(f'fusion attention: width {width} is no multiple of its {heads} heads')
        self.inputs = nn.ModuleList(nn.Linear(d, width) for d in dims)
        self.sensors = nn.Parameter(torch.randn(1, len(dims), width) * 0.02)
        self.state = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, task_dim) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, dim)

    def forward(self, embeddings: list[Tensor], task: Tensor | None = None) -> Tensor:
        x = torch.stack([inputs(e) for inputs, e in zip(self.inputs, embeddings)], 1) + self.sensors
        x = torch.cat([self.state.expand(x.shape[0], -1, -1).to(x.dtype), x], 1)
        for block in self.blocks:
            x = block(x, task)
        return self.head(self.norm(x[:, 0]))
