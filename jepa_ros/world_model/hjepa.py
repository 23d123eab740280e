"""H-JEPA: a stack of JEPA levels over one encoder, slower towards the top (LeCun §4.6, Fig. 15)."""
from dataclasses import dataclass

import torch
from torch import nn, Tensor

from jepa_ros.perception.encoders import ENCODERS
from jepa_ros.world_model.jepa import JEPA


@dataclass(frozen=True)
class LevelConfig:
    """Architecture of one level; `period` counts control steps, `macro_dim` is None for level 0."""

    period: int = 1
    macro_dim: int | None = None
    predictor: str = 'residual_mlp'
    width: int = 256
    depth: int = 2


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to build the network again."""

    image_shape: tuple[int, int, int] = (64, 64, 3)
    action_dim: int = 2
    dim: int = 64
    encoder: str = 'conv'
    channels: tuple[int, ...] = (32, 64, 96, 96)
    readouts: int = 2
    levels: tuple[LevelConfig, ...] = (LevelConfig(), LevelConfig(period=8, macro_dim=8))


class HJEPA(nn.Module):
    """Encoder and levels; all tensors batched, actions scaled to −1…1."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.encoder = ENCODERS.get(config.encoder)(config.image_shape, config.dim, channels=config.channels)
        self.levels = nn.ModuleList(
            JEPA(config.dim, config.action_dim, level.period, level.macro_dim, level.predictor, level.width,
                 level.depth, config.readouts if index == 0 else 0)
            for index, level in enumerate(config.levels))
        self.register_buffer('readout_mean', torch.zeros(config.readouts))
        self.register_buffer('readout_std', torch.ones(config.readouts))

    def encode(self, images: Tensor) -> Tensor:
        """images (B, H, W, C) or (B, T, H, W, C) uint8 -> s (B, D) or (B, T, D)."""
        s = self.encoder(images.flatten(0, -4))
        return s.unflatten(0, images.shape[:-3])

    def readouts(self, s: Tensor) -> Tensor:
        """States (..., D) -> readouts (..., R) in their own units (LeCun §4.5.2); R may be 0."""
        if self.levels[0].readout is None:
            return s.new_zeros(*s.shape[:-1], 0)
        return self.levels[0].readout(s) * self.readout_std + self.readout_mean
