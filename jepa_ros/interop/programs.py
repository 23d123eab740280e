"""The parts of an H-JEPA that are exported, each a module of positional tensors with one example of each.

The batch is the first dimension everywhere and the only one that may change. Called by `export.py`.
"""
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.perception.contract_encoder import ContractEncoder
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.jepa import JEPA

_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Program:
    """What becomes one file."""

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]       # example by name, the batch first
    outputs: tuple[str, ...]

    def run(self) -> tuple[Tensor, ...]:
        """The outputs of the example."""
        found = self.module(*self.inputs.values())
        return found if isinstance(found, tuple) else (found,)


def programs(model: HJEPA, batch: int = 2, seed: int = 0) -> list[Program]:
    """Encoder; per level: predictor, most probable latent, macro-action encoder, pooling; then ego model and readouts.

    Parts that a model does not have are left out. Examples are random. `ConfigError` for a predictor whose memory
    cannot begin with zeros.
    """
    random = torch.Generator().manual_seed(seed)
    made = [Program('encoder', _Encoder(model.encoder), _percepts(model.encoder, batch, random), ('s',))]
    below = (model.config.dim, *model.config.dims)
    for level, jepa in enumerate(model.levels):
        s = torch.randn(batch, jepa.dim, generator=random)
        actions = _uniform((batch, jepa.period, model.config.action_dim), random)
        with torch.no_grad():
            a = jepa.action_encoder(actions)
        made.append(_predictor(level, jepa, s, a, random))
        if jepa.latent is not None:
            made.append(Program(f'latent_{level}', _MostProbable(jepa), {'s': s, 'a': a}, ('z',)))
        if level:
            made.append(Program(f'macro_action_{level}', jepa.action_encoder, {'actions': actions}, ('a',)))
        if model.windows[level] > 1:
            states = torch.randn(batch, model.windows[level], below[level], generator=random)
            made.append(Program(f'pooling_{level}', jepa.pooling, {'states': states}, ('s',)))
    if model.ego is not None:
        x, a = torch.randn(batch, model.ego.size, generator=random), _uniform((batch, model.config.action_dim), random)
        made.append(Program('ego', model.ego, {'x': x, 'a': a}, ('x_next',)))
    if model.config.readouts:
        s = torch.randn(batch, model.config.dim, generator=random)
        made.append(Program('readouts', _Readouts(model), {'s': s}, ('readouts',)))
    return made


class _Encoder(nn.Module):
    """Percepts, then flags (B,) of the sensors that may be missing, then the task token, in one row -> s (B, D)."""

    def __init__(self, encoder: ContractEncoder):
        super().__init__()
        self.encoder, self.keys = encoder, list(encoder.specs)
        self.optional = [key for key in self.keys if key in encoder.optional]

    def forward(self, *inputs: Tensor) -> Tensor:
        n, m = len(self.keys), len(self.keys) + len(self.optional)
        task = inputs[m] if self.encoder.task_dim else None
        return self.encoder(dict(zip(self.keys, inputs[:n])), dict(zip(self.optional, inputs[n:m])), task)


class _Predictor(nn.Module):
    """s (B, D), a (B, A), z (B, Z) where there is a latent, the memory where there is one -> ŝ (B, D), the memory."""

    def __init__(self, jepa: JEPA):
        super().__init__()
        self.jepa = jepa

    def forward(self, s: Tensor, a: Tensor, *more: Tensor) -> tuple[Tensor, ...] | Tensor:
        z, memory = (None, more) if self.jepa.latent is None else (more[0], more[1:])
        following, memory = self.jepa.predictor.step(s, self.jepa.condition(s, a, z), memory or None)
        return following if memory is None else (following, *memory)


class _MostProbable(nn.Module):
    def __init__(self, jepa: JEPA):
        super().__init__()
        self.latent = jepa.latent

    def forward(self, s: Tensor, a: Tensor) -> Tensor:
        return self.latent.most_probable(s, a)


class _Readouts(nn.Module):
    def __init__(self, model: HJEPA):
        super().__init__()
        self.heads, self.mean, self.std = model.readout_of(0), model.readout_mean, model.readout_std

    def forward(self, s: Tensor) -> Tensor:
        return self.heads(s) * self.std + self.mean


def _predictor(level: int, jepa: JEPA, s: Tensor, a: Tensor, random: torch.Generator) -> Program:
    """With example memory after one step, so that every tensor of it is exercised."""
    inputs = {'s': s, 'a': a}
    if jepa.latent is not None:
        with torch.no_grad():
            inputs['z'] = jepa.latent.sample(s, a, 1, generator=random).squeeze(-2)
    module = _Predictor(jepa).eval()
    with torch.no_grad():
        first = module(*inputs.values())
        memory = first[1:] if isinstance(first, tuple) else ()
        _check_zeros(level, module, tuple(inputs.values()), first, memory)
    names = [f'memory_{i}' for i in range(len(memory))]
    return Program(f'predictor_{level}', module, inputs | dict(zip(names, memory)),
                   ('s_next', *(f'{name}_next' for name in names)))


def _check_zeros(level: int, module: nn.Module, inputs: tuple[Tensor, ...], first: tuple[Tensor, ...] | Tensor,
                 memory: tuple[Tensor, ...]) -> None:
    """Memory of zeros must mean that nothing is remembered: a program has no other way to say so."""
    if not memory:
        return
    again = module(*inputs, *(torch.zeros_like(m) for m in memory))
    same = all(x.shape == y.shape and torch.allclose(x.float(), y.float(), atol=_TOLERANCE)
               for x, y in zip(first, again))
    if not same:
        raise ConfigError(f'level {level}: predictor {type(module.jepa.predictor).__name__} cannot be exported: its '
                          'memory of zeros is not that of a start, or grows')


def _percepts(encoder: ContractEncoder, batch: int, random: torch.Generator) -> dict[str, Tensor]:
    """Random tensors as the contract's adapters make them, with what else the encoder takes."""
    made: dict[str, Tensor] = {}
    for key, spec in encoder.specs.items():
        shape = (batch, *spec.shape)
        if spec.dtype == np.uint8:
            made[key] = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
        else:
            made[key] = torch.rand(shape, generator=random)
            if len(shape) > 2:      # distances come with their validity
                made[key][:, 1] = (made[key][:, 1] < 0.9).float()
    for key in encoder.specs:
        if key in encoder.optional:
            made[f'valid_{key}'] = torch.rand(batch, generator=random) < 0.7
    if encoder.task_dim:
        made['task_token'] = torch.randn(batch, encoder.task_dim, generator=random)
    return made


def _uniform(shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    return 2 * torch.rand(shape, generator=random) - 1
