"""Temporal pooling Enc_{l+1}: states of one level over a period become one state of the next (LeCun §4.6, Fig. 15).

A higher level sees a longer time with less detail. The window ends in the present: states (..., n, D), oldest first,
any n ≥ 1, become one state (..., dim); `dim` is the attribute of every pooling encoder.
"""
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt
import torch
from torch import nn, Tensor
from torch.nn.functional import pad, silu, softplus

from jepa_ros.errors import ConfigError
from jepa_ros.options import checked_options
from jepa_ros.registry import Registry
from jepa_ros.world_model.predictors_base import mlp
from jepa_ros.world_model.predictors_recurrent import Cell

POOLINGS: Registry[type[nn.Module]] = Registry('pooling')

_OWN = ('inputs', 'dim')    # parameters that no option may give


def build_pooling(name: str, inputs: int, dim: int | None = None,
                  options: Mapping[str, Any] | None = None) -> nn.Module:
    """Pooling encoder `name` of states of `inputs` numbers to states of `dim`, by default as many.

    `ConfigError` in one line: unknown name, unknown or ill-typed options, a size that it cannot make.
    """
    pooling = POOLINGS.get(name)
    return pooling(inputs, dim or inputs, **checked_options(f'pooling {name}', pooling, options or {}, _OWN))


class _Same(nn.Module):
    """Base of those that keep the size of a state and learn nothing."""

    def __init__(self, inputs: int, dim: int, name: str):
        super().__init__()
        if dim != inputs:
            raise ConfigError(f'pooling {name} keeps the {inputs} numbers of a state: dim {dim} needs conv, gru or '
                              'attention')
        self.dim = dim


@POOLINGS.register('identity')
class Identity(_Same):
    """The newest state: all levels share one state space (HWM; a learned Enc must prove itself against it)."""

    def __init__(self, inputs: int, dim: int):
        super().__init__(inputs, dim, 'identity')

    def forward(self, states: Tensor) -> Tensor:
        return states[..., -1, :]


@POOLINGS.register('mean')
class Mean(_Same):
    """The average over the window: what changes faster than a period is gone."""

    def __init__(self, inputs: int, dim: int):
        super().__init__(inputs, dim, 'mean')

    def forward(self, states: Tensor) -> Tensor:
        return states.mean(-2)


@POOLINGS.register('conv')
class Convolutions(nn.Module):
    """1-D convolutions over time, each of stride 2 (LeCun §4.6: convolutions and temporal pooling between levels).

    `depth` stages of `width` channels halve the window each; what is left of a longer one is averaged. The stages are
    aligned to the newest state, and the oldest one is repeated where a kernel reaches beyond it.
    """

    def __init__(self, inputs: int, dim: int, width: PositiveInt = 128, depth: PositiveInt = 3,
                 kernel: Annotated[int, Field(ge=2)] = 3):
        super().__init__()
        self.dim, self.kernel = dim, kernel
        self.stages = nn.ModuleList(nn.Conv1d(width if i else inputs, width, kernel, stride=2) for i in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.head = nn.Linear(width, dim)

    def forward(self, states: Tensor) -> Tensor:
        x = states.reshape(-1, *states.shape[-2:]).transpose(1, 2)      # (B, D, n)
        for stage, norm in zip(self.stages, self.norms):
            before = self.kernel - 2 + x.shape[-1] % 2      # then a stride of 2 ends in the newest
            x = stage(pad(x, (before, 0), mode='replicate'))            # (B, width, ⌈n / 2⌉)
            x = silu(norm(x.transpose(1, 2))).transpose(1, 2)
        return self.head(x.mean(-1)).reshape(*states.shape[:-2], self.dim)


@POOLINGS.register('gru')
class Recurrent(nn.Module):
    """A gated recurrent unit of `width` reads the window from the oldest state to the newest."""

    def __init__(self, inputs: int, dim: int, width: PositiveInt = 128):
        super().__init__()
        self.dim, self.width = dim, width
        self.cell = Cell(inputs, width)
        self.head = nn.Linear(width, dim)

    def forward(self, states: Tensor) -> Tensor:
        h = states.new_zeros(*states.shape[:-2], self.width)
        for t in range(states.shape[-2]):
            h = self.cell(states[..., t, :], h)
        return self.head(h)


@POOLINGS.register('attention')
class AttentionPooling(nn.Module):
    """Each head has a learned question about the window and a learned rate at which it forgets.

    Attention of learned queries (as in Set Transformer's pooling, Lee et al. 2019 §3.2) with a bias that grows linearly
    with a state's age (ALiBi, Press et al. 2022 §3), so any length of window will do. An MLP of `depth` hidden layers
    of `width` makes the state from what all heads found.
    """

    def __init__(self, inputs: int, dim: int, width: PositiveInt = 128, heads: PositiveInt = 4,
                 depth: NonNegativeInt = 1):
        super().__init__()
        if width % heads:
            raise ConfigError(f'pooling attention: width {width} is no multiple of its {heads} heads')
        self.dim, self.heads = dim, heads
        self.keys, self.values = nn.Linear(inputs, width), nn.Linear(inputs, width)
        self.queries = nn.Parameter(torch.randn(heads, width // heads) * (width // heads) ** -0.5)
        # softplus: 1.3 is a head of the newest states, 0.05 one of the whole window
        self.forgetting = nn.Parameter(torch.linspace(1.0, -3.0, heads))
        self.head = mlp(width, width, dim, depth)

    def forward(self, states: Tensor) -> Tensor:
        n = states.shape[-2]
        # (..., n, heads, d)
        keys, values = (f(states).unflatten(-1, (self.heads, -1)) for f in (self.keys, self.values))
        age = torch.arange(n - 1, -1, -1, device=states.device, dtype=self.forgetting.dtype)[:, None]
        logits = (keys * self.queries).sum(-1) - softplus(self.forgetting) * age                    # (..., n, heads)
        weights = logits.softmax(-2).to(values.dtype).unsqueeze(-1)
        return self.head((weights * values).sum(-3).flatten(-2))
