"""Encoders Enc: percept -> state s (LeCun §4.4). Chosen by name in the agent's configuration."""
import math

import torch
from torch import nn, Tensor

from jepa_ros.registry import Registry

ENCODERS: Registry[type[nn.Module]] = Registry('encoder')


def _groups(channels: int) -> int:
    return math.gcd(8, channels)


class _Block(nn.Module):
    """Stride-2 convolution and one residual convolution."""

    def __init__(self, inputs: int, outputs: int, residual: bool):
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(_groups(outputs), outputs)
        self.residual = nn.Conv2d(outputs, outputs, 3, padding=1) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.down(x)))
        if self.residual is not None:
            x = torch.relu(x + self.residual(x))
        return x


@ENCODERS.register('conv')
class ConvEncoder(nn.Module):
    """Four stride-2 stages and one linear map: images (B, H, W, C) uint8 -> s (B, dim)."""

    def __init__(self, shape: tuple[int, int, int], dim: int, channels: tuple[int, ...] = (32, 64, 96, 96),
                 residual: bool = True):
        super().__init__()
        height, width, inputs = shape
        self.shape = tuple(shape)
        stages, previous = [], inputs
        for outputs in channels:
            stages.append(_Block(previous, outputs, residual))
            previous = outputs
        self.stages = nn.Sequential(*stages)
        shrink = 2 ** len(channels)
        # a stride-2 stage with padding 1 rounds up
        self.head = nn.Linear(previous * math.ceil(height / shrink) * math.ceil(width / shrink), dim)
        # per-channel normalisation, measured on the training images
        self.register_buffer('mean', torch.full((1, inputs, 1, 1), 0.5))
        self.register_buffer('std', torch.full((1, inputs, 1, 1), 0.25))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Mean and standard deviation (C,) of the training images on a 0…1 scale."""
        self.mean.copy_(mean.view_as(self.mean))
        self.std.copy_(std.view_as(self.std).clamp_min(1e-3))

    def forward(self, images: Tensor) -> Tensor:
        x = images.permute(0, 3, 1, 2).to(self.mean.dtype) / 255
        x = self.stages((x - self.mean) / self.std)
        return self.head(x.flatten(1))


@ENCODERS.register('patch')
class PatchEncoder(nn.Module):
    """Linear map of non-overlapping patches, then stride-2 convolutions: images (B, H, W, C) uint8 -> s (B, dim).

    About a tenth of `conv`'s arithmetic, nearly all of it in matrix products: trains on a CPU.
    """

    def __init__(self, shape: tuple[int, int, int], dim: int, channels: tuple[int, ...] = (48, 96, 96),
                 patch: int = 4):
        super().__init__()
        height, width, inputs = shape
        self.shape, self.patch = tuple(shape), patch
        self.stem = nn.Linear(patch * patch * inputs, channels[0])
        stages: list[nn.Module] = []
        for before, after in zip(channels, channels[1:]):
            stages += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
        self.stages = nn.Sequential(*stages)
        shrink = patch * 2 ** (len(channels) - 1)
        self.head = nn.Linear(channels[-1] * (height // shrink) * (width // shrink), dim)
        self.register_buffer('mean', torch.full((1, 1, inputs), 0.5))
        self.register_buffer('std', torch.full((1, 1, inputs), 0.25))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Mean and standard deviation (C,) of the training images on a 0…1 scale."""
        self.mean.copy_(mean.view_as(self.mean))
        self.std.copy_(std.view_as(self.std).clamp_min(1e-3))

    def forward(self, images: Tensor) -> Tensor:
        batch, height, width, inputs = images.shape
        p = self.patch
        patches = images.view(batch, height // p, p, width // p, p * inputs).transpose(2, 3)
        patches = patches.reshape(batch, height // p, width // p, p * p * inputs)
        # The normalisation is folded into the first weights: pixels stay integers, which bfloat16 holds exactly.
        scale = (1 / (255 * self.std)).expand(p, p, inputs).flatten()
        shift = (self.mean / self.std).expand(p, p, inputs).flatten()
        bias = self.stem.bias - self.stem.weight @ shift
        x = torch.relu(nn.functional.linear(patches.to(self.stem.weight.dtype), self.stem.weight * scale, bias))
        return self.head(self.stages(x.permute(0, 3, 1, 2)).flatten(1))
