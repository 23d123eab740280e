"""Level 0: encoder and predictor trained together, without labels or rewards (LeCun §4.5, Fig. 13)."""
from collections.abc import Mapping
from typing import Any

from torch import nn, Tensor

from jepa_ros.training.imagined import embed, Sequence
from jepa_ros.training.losses import build, Losses, Sizes
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.jepa import JEPA


class Level0(nn.Module):
    """Computes the loss of one batch; `forward` so that it can be compiled and distributed."""

    def __init__(self, model: HJEPA, losses: Losses, horizon: int = 0, stride: int = 1):
        super().__init__()
        self.model, self.losses, self.horizon, self.stride = model, losses, horizon, stride

    def forward(self, percepts: dict[str, Tensor], valid: dict[str, Tensor], actions: Tensor,
                readouts: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """percepts (B, T, *shape), valid (B, T), actions (B, T, A) in −1…1, readouts (B, T, R) -> loss, its parts."""
        s = self.model.encode(percepts, valid).float()                      # (B, T, D)
        return self.of_states(s, actions, readouts)

    def of_states(self, s: Tensor, actions: Tensor, readouts: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and parts of encoded states s (B, T, D)."""
        jepa = self.model.levels[0]
        condition = jepa.action_encoder(actions[:, :-1].unsqueeze(-2))      # (B, T−1, A)
        standard = (readouts - self.model.readout_mean) / self.model.readout_std
        return total(self.losses, *embed(jepa, Sequence(s, condition, actions[:, :-1], standard), self.horizon,
                                         self.stride))


def total(losses: Losses, embedded, own: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses of a level with the parts that belong to its own kind -> loss, parts without gradients."""
    loss, parts = losses(embedded)
    return loss + sum(own.values()), parts | {name: value.detach() for name, value in own.items()}


def losses_of(config: Mapping[str, Any], jepa: JEPA) -> Losses:
    """The configured losses of a level, without that of readouts where it has none.

    Heads that no loss trains are frozen: processes that train together wait for every gradient they expect.
    """
    chosen = {name: value for name, value in config.items() if name != 'readouts' or jepa.readout is not None}
    losses = build(chosen, Sizes(state=jepa.dim))
    weights = losses.coefficients()
    jepa.inverse.requires_grad_(weights.get('inverse', 0) > 0)
    if jepa.readout is not None:
        jepa.readout.requires_grad_(weights.get('readout', 0) + weights.get('imagined_readout', 0) > 0)
    return losses


