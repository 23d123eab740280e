"""A level above the first, trained on the frozen states below it (LeCun §4.6; level by level, as HWM does).

One period is `period` control steps; the macro-action ω is encoded from the actions of that period. ω is pushed
towards zero mean and unit covariance, so that a planner which samples its numbers independently stays where
training was, and gets noise, so that the predictor is smooth around it: sampling macro-actions far from the training
ones is what makes naive hierarchies worse than none.
"""
import torch
from torch import nn, Tensor

from jepa_ros.training.config import MacroActions
from jepa_ros.world_model.jepa import JEPA


def whitening(omega: Tensor) -> Tensor:
    """Squared distance of mean and covariance of ω (M, dim) from 0 and the identity, per dimension."""
    centred = omega - omega.mean(0)
    covariance = centred.T @ centred / (len(omega) - 1)
    identity = torch.eye(omega.shape[1], device=omega.device)
    return (covariance - identity).square().sum() / omega.shape[1] + omega.mean(0).square().mean()


class Upper(nn.Module):
    """Prediction over several periods, and the regularisation of ω."""

    def __init__(self, jepa: JEPA, macro: MacroActions):
        super().__init__()
        self.jepa, self.macro = jepa, macro

    def forward(self, s: Tensor, actions: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """s (B, H+1, D) at period boundaries, actions (B, H, K, A) in −1…1, noise (B, H, macro_dim) ~ N(0, 1)."""
        omega = self.jepa.action_encoder(actions)                           # (B, H, macro_dim)
        predicted = self.jepa.rollout(s[:, 0], omega + self.macro.noise * noise)
        parts = {'prediction': (predicted - s[:, 1:]).square().mean(),
                 'whitening': whitening(omega.flatten(0, 1).float())}
        loss = parts['prediction'] + self.macro.whitening * parts['whitening']
        return loss, {k: v.detach() for k, v in parts.items()}
