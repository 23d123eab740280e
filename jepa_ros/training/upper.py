"""A level above the first, trained on the states below it (LeCun §4.6, Fig. 15).

One period is `period` control steps; the macro-action ω is encoded from the actions of that period. ω is pushed
towards zero mean and unit covariance, so that a planner which samples its numbers independently stays where
training was, and gets noise, so that the predictor is smooth around it: sampling macro-actions far from the training
ones is what makes naive hierarchies worse than none. A level that shares the states below it only predicts; one with
a state space of its own (an encoder over time) must be kept from collapsing, with the same losses as level 0.
"""
import torch
from torch import nn, Tensor

from jepa_ros.training.config import MacroActions
from jepa_ros.training.imagined import embed, Sequence
from jepa_ros.training.level0 import total
from jepa_ros.training.losses import Losses
from jepa_ros.training.losses.parallel import gather_over_ranks
from jepa_ros.world_model.jepa import JEPA


def whitening(omega: Tensor) -> Tensor:
    """Squared distance of mean and covariance of ω (M, dim), of all ranks, from 0 and the identity, per dimension."""
    omega = gather_over_ranks(omega)[0]
    centred = omega - omega.mean(0)
    covariance = centred.T @ centred / (len(omega) - 1)
    identity = torch.eye(omega.shape[1], device=omega.device)
    return (covariance - identity).square().sum() / omega.shape[1] + omega.mean(0).square().mean()


class Upper(nn.Module):
    """Prediction over several periods, and the regularisation of ω and of the level's own states."""

    def __init__(self, jepa: JEPA, losses: Losses, macro: MacroActions):
        super().__init__()
        self.jepa, self.losses, self.macro = jepa, losses, macro

    def forward(self, below: Tensor, actions: Tensor, noise: Tensor,
                readouts: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """States below at the H+1 ends of periods, each with those before it that the encoder takes (B, H+1, n, D),
        actions (B, H, K, A) in −1…1, noise (B, H, macro_dim) ~ N(0, 1), standardised readouts (B, H+1, R)
        -> loss, its parts.
        """
        s = self.jepa.pooling(below).float()
        omega = self.jepa.action_encoder(actions)                           # (B, H, macro_dim)
        sequence = Sequence(s, omega + self.macro.noise * noise, actions.flatten(-2), readouts)
        loss, parts = total(self.losses, *embed(self.jepa, sequence))
        if not self.macro.whitening:
            return loss, parts
        white = whitening(omega.flatten(0, 1).float())
        return loss + self.macro.whitening * white, parts | {'whitening': white.detach()}
