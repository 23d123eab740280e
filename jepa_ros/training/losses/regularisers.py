"""What keeps a joint embedding informative without contrastive samples (LeCun §4.5, Fig. 13–14).

Every function takes states s (B, T, D) and returns a scalar. Means over time are taken per step of the episode,
over the batch: episodes are independent samples, the steps of one episode are not. The batch is that of all ranks.
"""
import math

import torch
from torch import Tensor

from jepa_ros.training.losses.parallel import centre_over_ranks, mean_over_ranks, sum_over_ranks, variance_over_ranks


def variance(s: Tensor, floor: float = 1.0) -> Tensor:
    """VICReg variance: hinge on the standard deviation of each dimension over the batch (LeCun §4.5.1)."""
    return torch.relu(floor - (variance_over_ranks(s) + 1e-4).sqrt()).mean()


def covariance(s: Tensor) -> Tensor:
    """VICReg covariance: squared off-diagonal covariances over the batch, per step (LeCun §4.5.1)."""
    centred, batch = centre_over_ranks(s)
    centred = centred.transpose(0, 1)                                           # (T, B, D)
    cov = sum_over_ranks(centred.transpose(1, 2) @ centred) / (batch - 1)      # (T, D, D)
    off = cov.square().sum((1, 2)) - cov.diagonal(dim1=1, dim2=2).square().sum(1)
    return (off / s.shape[-1]).mean()


def within_episode_variance(s: Tensor, floor: float = 0.4) -> Tensor:
    """Hinge on the standard deviation of each dimension *within* an episode.

    Without it a world whose furniture differs between episodes is encoded by its furniture alone: that
    satisfies variance and covariance over the batch and is trivially predictable.
    """
    return mean_over_ranks(torch.relu(floor - (s.var(1) + 1e-4).sqrt()))


def smoothness(s: Tensor) -> Tensor:
    """Temporal smoothness: successive states are close."""
    return mean_over_ranks((s[:, 1:] - s[:, :-1]).square())


def effective_rank(s: Tensor) -> float:
    """exp of the entropy of the normalised covariance spectrum of s (N, D): 1 is collapsed, D is isotropic.

    NaN when s is not finite.
    """
    if not bool(torch.isfinite(s).all()):
        return math.nan
    centred = s.double() - s.double().mean(0)
    spectrum = torch.linalg.svdvals(centred).square()
    p = spectrum / spectrum.sum().clamp_min(1e-12)
    return float(torch.exp(-(p * (p + 1e-12).log()).sum()))
