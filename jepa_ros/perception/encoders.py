"""Encoders Enc: percept -> state s (LeCun §4.4). Chosen by name in the agent's configuration.

Two small ones for images are here; importing this module registers the others too.
"""
import math
from typing import Annotated

from pydantic import Field, PositiveInt
import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.perception import backbone_encoder, convolutional, lewm_vit, ranges, vectors, vit  # noqa: F401
from jepa_ros.perception.base import ENCODERS, IMAGE
from jepa_ros.perception.convolutional import Strided
from jepa_ros.perception.modulation import films, modulated, token

__all__ = ['ConvEncoder', 'ENCODERS', 'PatchEncoder']


def _groups(channels: int) -> int:
    return math.gcd(8, channels)


class _Block(nn.Module):
    """Stride-2 convolution and one residual convolution."""

    def __init__(self, inputs: int, outputs: int, residual: bool):
        super().__init__()
        self.down = Strided(inputs, outputs, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(_groups(outputs), outputs)
        self.residual = nn.Conv2d(outputs, outputs, 3, padding=1) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.down(x)))
        if self.residual is not None:
            x = torch.relu(x + self.residual(x))
        return x


@ENCODERS.register('conv')
class ConvEncoder(nn.Module):
    """Four stride-2 stages and one linear map: images (B, H, W, C) uint8 -> s (B, dim).

    Also takes images (B, C, H, W) float that the GPU normalised while it took them in. A task token (B, task_dim)
    modulates every stage (FiLM).
    """

    KINDS = (IMAGE,)

    def __init__(self, shape: tuple[int, int, int], dim: int, channels: tuple[PositiveInt, ...] = (32, 64, 96, 96),
                 residual: bool = True, task_dim: int = 0):
        super().__init__()
        height, width, inputs = shape
        self.shape, self.dim, self.task_dim = tuple(shape), dim, task_dim
        stages, previous = [], inputs
        for outputs in channels:
            stages.append(_Block(previous, outputs, residual))
            previous = outputs
        self.stages = nn.Sequential(*stages)
        shrink = 2 ** len(channels)
        # a stride-2 stage with padding 1 rounds up
        self.head = nn.Linear(previous * math.ceil(height / shrink) * math.ceil(width / shrink), dim)
        self.films = films(task_dim, channels)
        # per-channel normalisation, measured on the training images
        self.register_buffer('mean', torch.full((1, inputs, 1, 1), 0.5))
        self.register_buffer('std', torch.full((1, inputs, 1, 1), 0.25))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Mean and standard deviation (C,) of the training images on a 0…1 scale."""
        self.mean.copy_(mean.view_as(self.mean))
        self.std.copy_(std.view_as(self.std).clamp_min(1e-3))

    def forward(self, images: Tensor, task: Tensor | None = None) -> Tensor:
        if not images.is_floating_point():
            images = (images.permute(0, 3, 1, 2).to(self.mean.dtype) / 255 - self.mean) / self.std
        task = token(task, self.task_dim, images.shape[0], self.mean)
        if task is None:
            return self.head(self.stages(images).flatten(1))
        for index, stage in enumerate(self.stages):
            images = modulated(self.films, index, stage(images), task)
        return self.head(images.flatten(1))


@ENCODERS.register('patch')
class PatchEncoder(nn.Module):
    """Linear map of non-overlapping patches, then stride-2 convolutions: images (B, H, W, C) uint8 -> s (B, dim).

    About a tenth of `conv`'s arithmetic, nearly all of it in matrix products: trains on a CPU. Also takes images
    (B, C, H, W) float that the GPU normalised while it took them in. A task token (B, task_dim) modulates the patches
    and every stage (FiLM).
    """

    KINDS = (IMAGE,)

    def __init__(self, shape: tuple[int, int, int], dim: int,
                 channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (48, 96, 96),
                 patch: PositiveInt = 4, task_dim: int = 0):
        super().__init__()
        height, width, inputs = shape
        self.shape, self.dim, self.task_dim, self.patch = tuple(shape), dim, task_dim, patch
        shrink = patch * 2 ** (len(channels) - 1)
        if height % shrink or width % shrink:
            raise ConfigError(f'encoder patch: patch {patch} and {len(channels)} channels need images of whole '
                              f'multiples of {shrink} pixels, not {height} × {width}; encoder conv takes any size')
        self.stem = nn.Linear(patch * patch * inputs, channels[0])
        stages: list[nn.Module] = []
        for before, after in zip(channels, channels[1:]):
            stages += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels[-1] * (height // shrink) * (width // shrink), dim)
        self.films = films(task_dim, channels)
        self.register_buffer('mean', torch.full((1, 1, inputs), 0.5))
        self.register_buffer('std', torch.full((1, 1, inputs), 0.25))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Mean and standard deviation (C,) of the training images on a 0…1 scale."""
        self.mean.copy_(mean.view_as(self.mean))
        self.std.copy_(std.view_as(self.std).clamp_min(1e-3))

    def forward(self, images: Tensor, task: Tensor | None = None) -> Tensor:
        weight, bias = self.stem.weight, self.stem.bias
        if images.is_floating_point():
            images = images.permute(0, 2, 3, 1)
        else:
            weight, bias = self._folded(images.shape[-1])
        batch, height, width, inputs = images.shape
        p = self.patch
        patches = images.reshape(batch, height // p, p, width // p, p * inputs).transpose(2, 3)
        patches = patches.reshape(batch, height // p, width // p, p * p * inputs)
        x = torch.relu(nn.functional.linear(patches.to(weight.dtype), weight, bias))
        x, task = x.permute(0, 3, 1, 2), token(task, self.task_dim, batch, weight)
        if task is None:
            return self.head(self.stages(x).flatten(1))
        x = modulated(self.films, 0, x, task)
        for index in range(0, len(self.stages), 2):
            x = modulated(self.films, 1 + index // 2, self.stages[index:index + 2](x), task)
        return self.head(x.flatten(1))

    def _folded(self, inputs: int) -> tuple[Tensor, Tensor]:
        """First weights and bias with the normalisation in them: pixels stay integers, which bfloat16 holds exactly."""
        scale = (1 / (255 * self.std)).expand(self.patch, self.patch, inputs).flatten()
        shift = (self.mean / self.std).expand(self.patch, self.patch, inputs).flatten()
        return self.stem.weight * scale, self.stem.bias - self.stem.weight @ shift
