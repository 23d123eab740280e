"""Deeper convolutional encoders of images: the residual net of IMPALA and ResNet (LeCun §4.4, Enc).

Group norm in place of ResNet's batch norm: a state must not depend on the other images of a batch.
"""
import math

from pydantic import PositiveInt
import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.perception.base import ENCODERS, ImageEncoder
from jepa_ros.perception.modulation import films, modulated, token


class Strided(nn.Conv2d):
    """A convolution that does not stride along a side of one pixel: the result is the same.

    With a stride there, oneDNN leaves a part of the weights' gradient in bfloat16 unwritten (PyTorch 2.13 on a CPU).
    """

    def forward(self, x: Tensor) -> Tensor:
        stride = [min(step, size) for step, size in zip(self.stride, x.shape[2:])]
        return nn.functional.conv2d(x, self.weight, self.bias, stride, self.padding)


class _Residual(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(torch.relu(x))))


@ENCODERS.register('impala')
class ImpalaEncoder(ImageEncoder):
    """The large architecture of IMPALA (Espeholt et al. 2018, Fig. 3 right): images (B, H, W, C) uint8 -> s (B, dim).

    Each of `channels` is a section: convolution, max pooling by 2, `blocks` residual blocks. No norms. FiLM after each
    section.
    """

    def __init__(self, shape: tuple[int, int, int], dim: int, channels: tuple[PositiveInt, ...] = (16, 32, 32),
                 blocks: PositiveInt = 2, task_dim: int = 0):
        super().__init__(shape, dim, task_dim)
        height, width, before = shape
        sections = []
        for after in channels:
            sections.append(nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.MaxPool2d(3, stride=2, padding=1),
                                          *(_Residual(after) for _ in range(blocks))))
            before = after
        self.sections = nn.ModuleList(sections)
        shrink = 2 ** len(channels)     # pooling with padding 1 rounds up
        self.head = nn.Linear(before * math.ceil(height / shrink) * math.ceil(width / shrink), dim)
        self.films = films(task_dim, tuple(channels))

    def forward(self, images: Tensor, task: Tensor | None = None) -> Tensor:
        x = self.pixels(images, self.head.weight.dtype)
        task = token(task, self.task_dim, x.shape[0], x)
        for index, section in enumerate(self.sections):
            x = modulated(self.films, index, section(x), task)
        return self.head(torch.relu(x).flatten(1))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(32, channels // 2 or 1), channels)     # at least two channels in a group


class _Basic(nn.Module):
    """ResNet's basic block (He et al. 2016, Fig. 5 left); where the shape changes, the shortcut is a convolution."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.first = Strided(before, after, 3, stride, 1, bias=False)
        self.first_norm = _norm(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.second_norm = _norm(after)
        self.shortcut = nn.Identity() if (before, stride) == (after, 1) else nn.Sequential(
            nn.Conv2d(before, after, 1, stride, bias=False), _norm(after))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.shortcut(x) + self.second_norm(self.second(y)))


@ENCODERS.register('resnet')
class ResNetEncoder(ImageEncoder):
    """ResNet (He et al. 2016, Table 1) with group norm: images (B, H, W, C) uint8 -> s (B, dim).

    `blocks` (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) ResNet-34. `stem` small: one convolution, for images up to some
    hundred pixels; large: ResNet's own, which shrinks by 4. `pool` flat keeps where things are, which a robot needs;
    mean is ResNet's own. FiLM after each stage.
    """

    def __init__(self, shape: tuple[int, int, int], dim: int, channels: tuple[PositiveInt, ...] = (64, 128, 256, 512),
                 blocks: tuple[PositiveInt, ...] = (2, 2, 2, 2), stem: str = 'small', pool: str = 'flat',
                 task_dim: int = 0):
        super().__init__(shape, dim, task_dim)
        if len(blocks) != len(channels):
            raise ConfigError(f'resnet: {len(blocks)} blocks for {len(channels)} channels: each stage has one of both')
        for name, value, known in (('stem', stem, ('small', 'large')), ('pool', pool, ('flat', 'mean'))):
            if value not in known:
                raise ConfigError(f'resnet: {name} {value!r} is neither {" nor ".join(known)}')
        height, width, inputs = shape
        self.stem = nn.Sequential(
            *([nn.Conv2d(inputs, channels[0], 3, 1, 1, bias=False)] if stem == 'small' else
              [nn.Conv2d(inputs, channels[0], 7, 2, 3, bias=False), nn.MaxPool2d(3, 2, 1)]),
            _norm(channels[0]), nn.ReLU())
        stages, before = [], channels[0]
        for index, (after, count) in enumerate(zip(channels, blocks)):
            stages.append(nn.Sequential(*(_Basic(before if i == 0 else after, after, 2 if index and i == 0 else 1)
                                          for i in range(count))))
            before = after
        self.stages = nn.ModuleList(stages)
        self.pool = pool
        shrink = 2 ** (len(channels) - 1) * (1 if stem == 'small' else 4)
        places = math.ceil(height / shrink) * math.ceil(width / shrink) if pool == 'flat' else 1
        self.head = nn.Linear(before * places, dim)
        self.films = films(task_dim, tuple(channels))

    def forward(self, images: Tensor, task: Tensor | None = None) -> Tensor:
        x = self.stem(self.pixels(images, self.head.weight.dtype))
        task = token(task, self.task_dim, x.shape[0], x)
        for index, stage in enumerate(self.stages):
            x = modulated(self.films, index, stage(x), task)
        return self.head(x.mean((2, 3)) if self.pool == 'mean' else x.flatten(1))
