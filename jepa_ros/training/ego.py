"""Trains the ego model: how the robot itself moves, without the world (LeCun §4.8.1)."""
from torch import nn, Tensor

from jepa_ros.world_model.ego import EgoModel


class EgoTraining(nn.Module):
    """The ego model's loss of one batch."""

    def __init__(self, ego: EgoModel):
        super().__init__()
        self.ego = ego

    def forward(self, x: Tensor, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, T, n), actions (B, T−1, A) in −1…1 -> loss, its parts."""
        loss = self.ego.loss(x, actions)
        return loss, {'ego': loss.detach()}
