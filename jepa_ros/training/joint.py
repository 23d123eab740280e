"""All levels at once: the energy of every level shapes every encoder below it (LeCun §4.6)."""
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn, Tensor

from jepa_ros.training.config import TrainingConfig
from jepa_ros.training.imagined import past_of
from jepa_ros.training.level0 import Level0, losses_of
from jepa_ros.training.upper import Upper
from jepa_ros.world_model.hjepa import HJEPA

PERIODS = 2     # least number of periods of the slowest level in a window


def upper_losses(config: TrainingConfig, level: int) -> Mapping[str, Any]:
    """Losses of a level above the first. Where it shares the states below it there is nothing but to predict them."""
    if config.levels[level].pooled:
        return config.upper_losses
    return {'prediction': config.upper_losses.get('prediction', {})}


class Joint(nn.Module):
    """Sum of the losses of all levels on one window of `window` steps."""

    def __init__(self, model: HJEPA, config: TrainingConfig):
        super().__init__()
        stage = config.level0
        self.level0 = Level0(model, losses_of(config.losses, model.levels[0]), stage.horizon, stage.stride)
        self.uppers = nn.ModuleList(
            Upper(jepa, losses_of(upper_losses(config, level), jepa), config.macro)
            for level, jepa in enumerate(model.levels) if level)
        self.offsets = [0]      # steps at the start of a window in which a level has no state yet
        for level in range(1, len(model.levels)):
            self.offsets.append(self.offsets[-1] + (model.windows[level] - 1) * model.levels[level - 1].period)
        self.window = max(stage.window + past_of(model.levels[0]),
                          max(offset + (PERIODS + past_of(jepa)) * jepa.period + 1
                              for offset, jepa in zip(self.offsets, model.levels)))

    def periods(self, level: int) -> int:
        """Periods of `level` in a window."""
        return (self.window - 1 - self.offsets[level]) // self.level0.model.levels[level].period

    def forward(self, percepts: dict[str, Tensor], valid: dict[str, Tensor], actions: Tensor, readouts: Tensor,
                *noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """As `Level0.forward`, and noise (B, H_l, macro_dim) of each level above -> loss, parts `level <l> <name>`."""
        model = self.level0.model
        s = model.encode(percepts, valid).float()                                   # (B, T, D)
        standard = (readouts - model.readout_mean) / model.readout_std
        loss, parts = self.level0.of_states(s, actions, readouts)
        parts = {f'level 0 {name}': value for name, value in parts.items()}
        for level, upper in enumerate(self.uppers, 1):
            jepa, n, spacing = model.levels[level], model.windows[level], model.levels[level - 1].period
            back = spacing * torch.arange(n - 1, -1, -1, device=s.device)
            times = torch.arange((n - 1) * spacing, s.shape[1], device=s.device)
            below = s[:, times[:, None] - back]                                     # (B, T_l, n, D)
            offset, count = self.offsets[level], self.periods(level)
            done = actions[:, offset:offset + count * jepa.period].unflatten(1, (count, jepa.period))
            ends = slice(0, count * jepa.period + 1, jepa.period)
            more, own = upper(below[:, ends], done, noise[level - 1], standard[:, offset:][:, ends])
            loss = loss + more
            parts |= {f'level {level} {name}': value for name, value in own.items()}
            s = jepa.pooling(below).float() if n > 1 else s
        return loss, parts
