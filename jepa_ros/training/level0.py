"""Level 0: encoder and predictor trained together, without labels or rewards (LeCun §4.5, Fig. 13).

Loss = prediction over several steps + variance + covariance + inverse dynamics + temporal smoothness; readout
heads learn on detached states and teach the encoder nothing.
"""
import torch
from torch import nn, Tensor

from jepa_ros.training.config import Coefficients
from jepa_ros.training.losses import regularisers
from jepa_ros.world_model.hjepa import HJEPA


class Level0(nn.Module):
    """Computes the loss of one batch; `forward` so that it can be compiled and distributed."""

    def __init__(self, model: HJEPA, coefficients: Coefficients):
        super().__init__()
        self.model, self.coefficients = model, coefficients

    def forward(self, images: Tensor, actions: Tensor, readouts: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """images (B, T, H, W, C) uint8, actions (B, T, A) in −1…1, readouts (B, T, R) -> loss, its parts."""
        c, jepa = self.coefficients, self.model.levels[0]
        s = self.model.encode(images).float()                              # (B, T, D)
        a = jepa.action_encoder(actions[:, :-1].unsqueeze(-2))              # (B, T−1, A)
        predicted = jepa.rollout(s[:, 0], a).float()                        # (B, T−1, D)
        inverse = jepa.inverse(torch.cat([s[:, :-1], s[:, 1:]], -1)).float()
        parts = {
            'prediction': (predicted - s[:, 1:]).square().mean(),
            'variance': regularisers.variance(s),
            'covariance': regularisers.covariance(s),
            'smoothness': regularisers.smoothness(s),
            'inverse': (inverse - actions[:, :-1]).square().mean(),
            'within': regularisers.within_episode_variance(s, c.within_floor),
        }
        loss = sum(getattr(c, name) * value for name, value in parts.items())
        if jepa.readout is None:
            return loss, {k: v.detach() for k, v in parts.items()}
        target = (readouts - self.model.readout_mean) / self.model.readout_std
        known = jepa.readout(s.detach()).float()
        imagined = jepa.readout(predicted.detach()).float()
        parts['readout'] = (known - target).square().mean()
        loss = loss + parts['readout'] + (imagined - target[:, 1:]).square().mean()
        return loss, {k: v.detach() for k, v in parts.items()}
