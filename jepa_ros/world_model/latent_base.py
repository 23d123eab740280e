"""Base of all latents z: what the next state depends on and the present one does not tell (LeCun §4.2, §4.4–4.5, §4.8).

A kind limits what z can carry, by R(z) or by its form: none, discrete, low-dimensional, sparse, noisy (LeCun §4.5;
Dawid §4.2). R is `weight` times the code length of z in nats under a prior, so that z drawn from exp(−R/weight) is what
training met (LeCun eq. 23; §4.8: "the distribution whose negative logarithm is the regularizer"). The prior is fixed
or, with `conditions`, decided by the state and the action. N pairs, Z = dim, C = code_dim, P = prior_dim.
"""
import math

import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.registry import Registry
from jepa_ros.world_model.predictors import mlp

LATENTS: Registry[type['Latent']] = Registry('latent')
RESOLUTION = 0.1            # noise with which training reads a code that has none of its own: nothing finer counts


class Latent(nn.Module):
    """Base of all kinds: an energy.latent_energy.LatentVariable; leading dimensions (...) are free everywhere."""

    usual_inference = 'refined'

    def __init__(self, dim: int, code_dim: int, prior_dim: int, weight: float, conditions: int, width: int,
                 fitted: Tensor):
        super().__init__()
        self.dim, self.code_dim, self.prior_dim, self.weight = dim, code_dim, prior_dim, weight
        self.register_buffer('zero', torch.zeros(code_dim), persistent=False)       # knows device and dtype
        self.register_buffer('fitted', fitted)      # what `draw` samples; set by fit_prior
        self.prior_net = None
        if conditions:
            if not prior_dim:
                raise ConfigError('this kind of latent has no prior that a state could change: leave '
                                  'state_prior off, or take discrete, sparse or gaussian')
            self.prior_net = mlp(conditions, width, prior_dim)
            nn.init.zeros_(self.prior_net[-1].weight)       # untrained, it is the fixed prior
            nn.init.zeros_(self.prior_net[-1].bias)

    @property
    def capacity_bits(self) -> float:
        """Most that z can carry; inf where only R limits it."""
        return math.inf

    def prior(self, s: Tensor, a: Tensor) -> Tensor | None:
        """What state (..., D) and action (..., A) say of z: parameters (..., P), None with a fixed prior."""
        return None if self.prior_net is None else self.prior_net(torch.cat([s, a], -1))

    def regulariser(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        """R (...) of codes (..., C)."""
        return self.smooth(code, prior) + self.rough(code, prior)

    def smooth(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        return code.new_zeros(code.shape[:-1])

    def rough(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        return code.new_zeros(code.shape[:-1])

    def proximal(self, code: Tensor, rate: Tensor, prior: Tensor | None = None) -> Tensor:
        return code

    def origin(self, prior: Tensor | None = None) -> Tensor:
        return self.zero

    def candidates(self) -> Tensor | None:
        return None

    def realise(self, code: Tensor, noise: Tensor | None = None) -> Tensor:
        return code if noise is None else code + RESOLUTION * noise

    def reading_noise(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor | None:
        """Noise (*shape, 2, Z) to read codes with: normal, and its negative, so that no code can make up for it.

        Without it a code could shrink to escape R while Pred grows, and carry any information in its last digits.
        """
        noise = self._empty(shape).normal_(generator=generator)
        return torch.stack([noise, -noise], -2)

    def code(self, raw: Tensor, prior: Tensor | None = None) -> Tensor:
        """Output (..., C) of an encoder that knows y -> a code z̃ (..., C) (LeCun Fig. 19)."""
        return raw

    def proposals(self, raw: Tensor, count: int, prior: Tensor | None = None) -> Tensor:
        """Up to `count` codes (..., N, C), the most probable first; a continuous latent has one."""
        return self.code(raw, prior).unsqueeze(-2)

    def divergence(self, raw: Tensor, code: Tensor) -> Tensor:
        """H(ž, z̃) (...): what training an encoder to propose `code` minimises (LeCun Appendix)."""
        return (self.code(raw) - code).square().mean(-1)

    def fit_prior(self, codes: Tensor) -> None:
        """Set what `draw` samples where no state decides it to what training codes (N, C) were like."""
        raise NotImplementedError

    def noise(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Noise (*shape, Z) that `draw` turns into z: kept, it makes draws of different states comparable."""
        raise NotImplementedError

    def draw(self, noise: Tensor, prior: Tensor | None = None, beta: float = 1.0) -> Tensor:
        """z (..., Z) from p(z)^β, normalised: 1 as in training, larger: nearer to the most probable."""
        raise NotImplementedError

    def mode(self, prior: Tensor | None = None) -> Tensor:
        """The z that `draw` finds most probable: (Z,) or, with prior (..., P), (..., Z)."""
        return self.realise(self.origin(self.fitted if prior is None else prior))

    def sample(self, shape: tuple[int, ...], prior: Tensor | None = None, beta: float = 1.0,
               generator: torch.Generator | None = None) -> Tensor:
        """z (*shape, Z) drawn from the prior; prior (..., P) must broadcast with `shape`."""
        return self.draw(self.noise(shape, generator), prior, beta)

    def bits(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        """Information (scalar) that codes (N, C) of N pairs carry."""
        raise NotImplementedError

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(*shape, self.dim, dtype=self.zero.dtype, device=self.zero.device)
