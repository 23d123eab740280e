"""Temporal smoothness: successive states are close, so that distance in representation space is distance in time.

Sobal et al. 2025 (PLDM), L_time-sim = ‖s_t − s_t+1‖²; eb_jepa's temporal similarity. Alone it collapses.
"""
from torch import Tensor

from jepa_ros.training.losses import regularisers
from jepa_ros.training.losses.base import Embedded, Loss, LOSSES, Weighted


@LOSSES.register('smoothness')
class Smoothness(Loss):
    """Mean squared step of the states."""

    Settings = Weighted

    def coefficients(self) -> dict[str, float]:
        return {'smoothness': self.settings.weight}

    def parts(self, batch: Embedded) -> dict[str, Tensor]:
        return {'smoothness': regularisers.smoothness(batch.s)} if self.settings.weight else {}
