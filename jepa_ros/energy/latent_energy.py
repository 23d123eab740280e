"""Latent-variable energies E(x, y, z) (LeCun §4.2, §4.4 eq. 10, Fig. 9 and 12; Dawid §3.2).

    E(z) = D(s', Pred(s, a, z)) + R(z)

What inference looks for is a *code*: of most latents z itself, of a noisy latent the mean and log-deviation that z is
drawn with (LeCun §4.5, "fuzzyfication"). Used by `latent_inference` and by training (world_model/latent_model.py).
"""
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from jepa_ros.energy.distance import Distance, squared


class LatentVariable(Protocol):
    """What inference must know of a latent; the kinds are in world_model/latents.py. C = code_dim, Z = dim."""

    dim: int
    code_dim: int

    def realise(self, code: Tensor, noise: Tensor | None = None) -> Tensor:
        """Code (..., C), normal noise (..., Z) -> z (..., Z), what Pred is given; without noise, its mean."""

    def smooth(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        """The part of R(z) (...) that has a gradient everywhere; prior (..., P) is what the state says of z."""

    def rough(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        """The rest of R(z) (...): L1 norm, bounds."""

    def proximal(self, code: Tensor, rate: Tensor, prior: Tensor | None = None) -> Tensor:
        """argmin_c rough(c) + |c − code|²/(2 rate): how a gradient step takes the rough part in. rate (..., 1)."""

    def origin(self, prior: Tensor | None = None) -> Tensor:
        """A code (C,) or (..., C) to start from when nothing is known of y: R's minimum."""

    def candidates(self) -> Tensor | None:
        """All codes (K, C) of a discrete latent, None of a continuous one."""


@dataclass(frozen=True)
class LatentEnergy:
    """E as a function of the code alone, for given pairs (s, s') with any leading dimensions (...)."""

    predict: Callable[[Tensor, Tensor, Tensor], Tensor]     # Pred(s (..., D), a (..., A), z (..., Z)) -> ŝ (..., D)
    latent: LatentVariable
    s: Tensor                       # (..., D)
    a: Tensor                       # (..., A)
    target: Tensor                  # s' (..., D)
    prior: Tensor | None = None     # (..., P): parameters of R that the state decides (LeCun §4.8)
    noise: Tensor | None = None     # (..., M, Z): M draws, held fixed, over which D is averaged (Dawid §4.2.2)
    distance: Distance = squared

    def misfit(self, code: Tensor) -> Tensor:
        """D(s', ŝ) alone, (...); its mean over the noise where there is some."""
        if self.noise is None:
            return self.distance(self.target, self.predict(self.s, self.a, self.latent.realise(code)))
        z = self.latent.realise(code.unsqueeze(-2), self.noise)
        s, a, target = (_repeated(tensor, z.shape[-2], -2) for tensor in (self.s, self.a, self.target))
        return self.distance(target, self.predict(s, a, z)).mean(-1)

    def smooth(self, code: Tensor) -> Tensor:
        """The part of E (...) with a gradient everywhere."""
        return self.misfit(code) + self.latent.smooth(code, self.prior)

    def rough(self, code: Tensor) -> Tensor:
        """The part of E (...) that inference handles by `proximal`."""
        return self.latent.rough(code, self.prior)

    def __call__(self, code: Tensor) -> Tensor:
        """E (...) of codes (..., C), differentiable in the code and in the weights of Pred."""
        return self.smooth(code) + self.rough(code)

    def some(self, count: int) -> 'LatentEnergy':
        """The same energy of at most `count` of N pairs, evenly chosen."""
        chosen = slice(None, None, max(1, -(-len(self.s) // count)))
        prior, noise = (None if tensor is None else tensor[chosen] for tensor in (self.prior, self.noise))
        return replace(self, s=self.s[chosen], a=self.a[chosen], target=self.target[chosen], prior=prior, noise=noise)

    def repeat(self, count: int) -> 'LatentEnergy':
        """The same energy for `count` codes of each pair: takes (..., count, C), gives (..., count). Copies nothing."""
        return replace(
            self, s=_repeated(self.s, count, -2), a=_repeated(self.a, count, -2),
            target=_repeated(self.target, count, -2), prior=_repeated(self.prior, count, -2),
            noise=_repeated(self.noise, count, -3))

    def over(self, codes: Tensor) -> Tensor:
        """Energies (..., N) of N codes, (N, C) for all pairs or (..., N, C) for each, in one batch."""
        wide = self.repeat(codes.shape[-2])
        return wide(codes.expand(*wide.s.shape[:-1], codes.shape[-1]))

    def start(self) -> Tensor:
        """The latent's origin, (..., C)."""
        code = self.latent.origin(self.prior)
        return code.expand(*self.s.shape[:-1], code.shape[-1])

    def differentiable(self) -> 'LatentEnergy':
        """The same energy for gradients in the code, even where s was made under torch.inference_mode."""
        return replace(self, s=_plain(self.s), a=_plain(self.a), target=_plain(self.target), prior=_plain(self.prior),
                       noise=_plain(self.noise))


def _repeated(tensor: Tensor | None, count: int, dim: int) -> Tensor | None:
    """A new dimension of `count` at `dim`, a view."""
    if tensor is None:
        return None
    tensor = tensor.unsqueeze(dim)
    shape = list(tensor.shape)
    shape[dim] = count
    return tensor.expand(shape)


def _plain(tensor: Tensor | None) -> Tensor | None:
    if tensor is None:
        return None
    return tensor.clone() if tensor.is_inference() else tensor.detach()
