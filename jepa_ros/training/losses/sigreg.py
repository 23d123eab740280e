"""SIGReg: the states are pushed towards an isotropic Gaussian, direction by direction.

Balestriero & LeCun 2025 (LeJEPA), §4 and Algorithm 1: by Cramér and Wold a distribution is N(0, I) when every
projection a·s, |a| = 1, is N(0, 1). Fresh random directions are drawn for every update; along each the Epps–Pulley
statistic measures how far the empirical characteristic function φ̂ is from that of N(0, 1):

    T = N ∫ |φ̂(t) − exp(−t²/2)|² exp(−t²/2) dt,    φ̂(t) = 1/N Σ_n exp(i t a·s_n).

φ̂ is a mean over samples, so that N processes need to share K sums per direction only.
"""
from pydantic import Field
import torch
from torch import Tensor

from jepa_ros.training.losses.base import Embedded, expander, Loss, LOSSES, Over, samples, Sizes, Weighted
from jepa_ros.training.losses.parallel import same_on_all_ranks, sum_over_ranks


def epps_pulley(x: Tensor, t_max: float = 3.0, knots: int = 17) -> Tensor:
    """Statistic T of x (N, ...) over the first dimension of all ranks, (...); 0 only where φ̂ is the Gaussian's.

    Trapezoids on 0…`t_max`, counted twice: the integrand is even.
    """
    t = torch.linspace(0, t_max, knots, dtype=x.dtype, device=x.device)
    gauss = torch.exp(-t.square() / 2)                                          # both φ of N(0, 1) and the window
    width = torch.full_like(t, 2 * t_max / (knots - 1))
    width[0] = width[-1] = t_max / (knots - 1)
    angle = x.unsqueeze(-1) * t                                                 # (N, ..., K)
    count = sum_over_ranks(x.new_tensor(len(x)))
    sums = sum_over_ranks(torch.stack([angle.cos().sum(0), angle.sin().sum(0)]))
    real, imaginary = sums / count                                              # φ̂, (..., K) each
    error = (real - gauss).square() + imaginary.square()
    return count * (error * (gauss * width)).sum(-1)


def directions(dim: int, slices: int, seed: int) -> Tensor:
    """(dim, slices) unit vectors, uniform on the sphere, the same for the same seed on every machine."""
    a = torch.randn(dim, slices, generator=torch.Generator().manual_seed(seed))
    return a / a.norm(dim=0)


class SIGRegSettings(Weighted):
    weight: float = Field(0.1, ge=0, description='λ of LeJEPA; the statistic grows with the number of samples')
    slices: int = Field(256, gt=0, description='random directions per update')
    knots: int = Field(17, gt=2, description='points of the integral over t')
    t_max: float = Field(3.0, gt=0)
    expander: int = Field(0, ge=0, description='width of the projector; 0: none')
    over: Over = 'batch'
    seed: int = Field(0, ge=0)


@LOSSES.register('sigreg')
class SIGReg(Loss):
    """Mean Epps–Pulley statistic over directions that follow from seed and update alone, so that resume is exact."""

    Settings = SIGRegSettings

    def __init__(self, settings: SIGRegSettings, sizes: Sizes):
        super().__init__(settings, sizes)
        self.expand = expander(sizes.state, settings.expander)
        self.register_buffer('update', torch.zeros((), dtype=torch.int64))

    def coefficients(self) -> dict[str, float]:
        return {'sigreg': self.settings.weight}

    @torch.no_grad()
    def _directions(self, like: Tensor) -> Tensor:
        c = self.settings
        seed = (c.seed * 1_000_003 + int(self.update)) % (1 << 63)
        a = directions(like.shape[-1], c.slices, seed).to(like)
        if self.training:
            self.update += 1
        return same_on_all_ranks(a)

    def parts(self, batch: Embedded) -> dict[str, Tensor]:
        c = self.settings
        if not c.weight:
            return {}
        v = samples(self.expand(batch.s), c.over)                               # (N, G, V)
        return {'sigreg': epps_pulley(v @ self._directions(v), c.t_max, c.knots).mean()}
