"""Encoders of distances with a validity mask: laser scans (2, beams), depth images and point clouds (2, H, W).

Channel 0 is metres, channel 1 is 1 where something was measured. What channel 0 says elsewhere, NaN included, is never
read: it is replaced by the mean, and the mask goes in as a channel of its own.
"""
import math
from typing import Any

from pydantic import PositiveInt
import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.perception.base import ENCODERS, RANGE_IMAGE, SCAN, SensorEncoder
from jepa_ros.perception.modulation import films, modulated, token


class _Masked(SensorEncoder):
    """Base: x (B, 2, …) float of metres and validity."""

    def masked(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """(B, 2, …) of type `dtype`: normalised metres, 0 where invalid, and the mask as 0 or 1."""
        valid = x[:, 1:] > 0.5
        metres = torch.where(valid, self.standardise(x[:, :1]), 0.0)
        return torch.cat([metres, valid.to(metres.dtype)], 1).to(dtype)


@ENCODERS.register('scan')
class ScanEncoder(_Masked):
    """1-D convolutions along the beams, stride 2 each: scans (B, 2, beams) float -> s (B, dim).

    `circular`: the first beam is next to the last one (a scanner that sees all around). FiLM after each stage.
    """

    KINDS = (SCAN,)

    def __init__(self, shape: tuple[int, int], dim: int, channels: tuple[PositiveInt, ...] = (32, 64, 64),
                 kernel: PositiveInt = 5, circular: bool = False, task_dim: int = 0):
        super().__init__(shape, dim, task_dim, (1, 1, 1))
        if kernel % 2 == 0:
            raise ConfigError(f'scan: kernel {kernel} is even; only an odd one has a middle beam')
        self.circular, self.half = circular, kernel // 2
        before, beams, stages, norms = 2, shape[1], [], []
        for after in channels:
            stages.append(nn.Conv1d(before, after, kernel, stride=2, bias=False))
            norms.append(nn.GroupNorm(math.gcd(8, after // 2 or 1), after))
            before, beams = after, math.ceil(beams / 2)
        self.stages, self.norms = nn.ModuleList(stages), nn.ModuleList(norms)
        self.head = nn.Linear(before * beams, dim)      # flat: in which direction something is matters
        self.films = films(task_dim, tuple(channels))

    def forward(self, scans: Tensor, task: Tensor | None = None) -> Tensor:
        x = self.masked(scans, self.head.weight.dtype)
        task = token(task, self.task_dim, x.shape[0], x)
        for index, (stage, norm) in enumerate(zip(self.stages, self.norms)):
            x = torch.relu(norm(stage(self._padded(x))))
            x = modulated(self.films, index, x, task)
        return self.head(x.flatten(1))

    def _padded(self, x: Tensor) -> Tensor:
        """Half a kernel more on either side: zeros, or the beams of the other end as often round as that takes."""
        if not self.circular:
            return nn.functional.pad(x, (self.half, self.half))
        beams = x.shape[-1]
        return x[..., torch.arange(-self.half, beams + self.half, device=x.device) % beams]


@ENCODERS.register('range_image')
class RangeImageEncoder(_Masked):
    """An image encoder on normalised metres and mask: (B, 2, H, W) float -> s (B, dim).

    `encoder` is any image encoder of the registry (default impala), `options` its options.
    """

    KINDS = (RANGE_IMAGE,)

    def __init__(self, shape: tuple[int, int, int], dim: int, encoder: str = 'impala',
                 options: dict[str, Any] | None = None, task_dim: int = 0):
        super().__init__(shape, dim, task_dim, (1, 1, 1, 1))
        from jepa_ros.perception.build import build_encoder  # which knows all encoders, this one too
        self.trunk = build_encoder(encoder, (shape[1], shape[2], 2), dim, task_dim, options or {}, integers=True)

    def forward(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        weight = next(p for p in self.trunk.parameters())
        return self.trunk(self.masked(x, weight.dtype), task)
