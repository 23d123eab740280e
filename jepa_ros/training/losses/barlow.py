"""Barlow Twins: redundancy reduction between prediction and outcome (Zbontar et al. 2021, eq. 1–2; LeCun §4.5).

The two branches are the predicted states and those that came; their cross-correlation over the batch is pushed
towards the identity. It does not see the scale of the states: a representation that shrinks pays nothing, one that is
constant (to within the square root of `EPSILON`) pays D.
"""
from pydantic import Field
import torch
from torch import Tensor

from jepa_ros.training.losses.base import Embedded, expander, Loss, LOSSES, Over, samples, Sizes, Weighted
from jepa_ros.training.losses.parallel import centre_over_ranks, sum_over_ranks
from jepa_ros.training.losses.prediction import targets

EPSILON = 1e-5      # added to variances, as batch normalisation does in the paper's own code


def cross_correlation(a: Tensor, b: Tensor) -> Tensor:
    """C_ij of a_i and b_j over the samples of all ranks (eq. 2): (N, G, D) both -> (G, D, D)."""
    a, count = centre_over_ranks(a)
    b, _ = centre_over_ranks(b)
    covariance = sum_over_ranks(torch.einsum('ngi,ngj->gij', a, b)) / count
    variance_a, variance_b = sum_over_ranks(torch.stack([a.square().sum(0), b.square().sum(0)])) / count + EPSILON
    return covariance / (variance_a.unsqueeze(-1) * variance_b.unsqueeze(-2)).sqrt()


def barlow_twins(a: Tensor, b: Tensor, redundancy: float = 0.005) -> Tensor:
    """Σ_i (1 − C_ii)² + λ Σ_i Σ_j≠i C_ij² (eq. 1) of (N, G, D) both, mean over the G distributions."""
    c = cross_correlation(a, b)
    diagonal = c.diagonal(dim1=1, dim2=2)
    off = c.square().sum((1, 2)) - diagonal.square().sum(1)
    return ((1 - diagonal).square().sum(1) + redundancy * off).mean()


class BarlowSettings(Weighted):
    weight: float = Field(0.1, ge=0, description='the loss is a sum over D dimensions')
    redundancy: float = Field(0.005, ge=0, description='λ of eq. 1')
    expander: int = Field(0, ge=0, description='width of the projector; 0: none')
    over: Over = 'batch'


@LOSSES.register('barlow_twins')
class BarlowTwins(Loss):
    """Cross-correlation of predicted states with those that came."""

    Settings = BarlowSettings

    def __init__(self, settings: BarlowSettings, sizes: Sizes):
        super().__init__(settings, sizes)
        self.expand = expander(sizes.state, settings.expander)

    def coefficients(self) -> dict[str, float]:
        return {'barlow_twins': self.settings.weight}

    def parts(self, batch: Embedded) -> dict[str, Tensor]:
        c = self.settings
        if not c.weight:
            return {}
        predicted, target = batch.need('predicted', 'barlow_twins'), targets(batch, 'barlow_twins')
        a, b = (samples(self.expand(x), c.over) for x in (predicted, target))
        return {'barlow_twins': barlow_twins(a, b, c.redundancy)}
