"""The kinds of latents, by name: none, discrete, low_dimensional, sparse, gaussian (LeCun §4.5; Dawid §4.2).

Their common form and the meaning of R, prior and code are in `latent_base`.
"""
import math

import torch
from torch import Tensor

from jepa_ros.energy.information import discrete_bits, gaussian_kl, NAT, resolved_bits
from jepa_ros.errors import ConfigError
from jepa_ros.world_model.latent_base import Latent, LATENTS, RESOLUTION

__all__ = ['Discrete', 'Gaussian', 'Latent', 'LATENTS', 'LowDimensional', 'NoLatent', 'RESOLUTION', 'Sparse']

LOG_STD = (-7.0, 2.0)       # of a Gaussian code or prior: σ from 0.001 to 7 times that of the fixed prior
LOG_SCALE = (math.log(RESOLUTION), 4.0)     # of a Laplace prior: narrower than a code is read makes no difference
FITTED = 100_000            # codes looked at: enough for percentiles, and torch.quantile takes no more than 16 million


@LATENTS.register('none')
class NoLatent(Latent):
    """A deterministic predictor: z has no dimension and R = 0."""

    usual_inference = 'exact'

    def __init__(self, dim: int = 0, weight: float = 0.0, conditions: int = 0, width: int = 128):
        if dim:
            raise ConfigError(f'latent none has 0 dimensions, not {dim}: remove dim or choose another kind')
        super().__init__(0, 0, 0, weight, conditions, width, torch.zeros(0))

    @property
    def capacity_bits(self) -> float:
        return 0.0

    def candidates(self) -> Tensor:
        return self.zero.unsqueeze(0)

    def reading_noise(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> None:
        return None

    def fit_prior(self, codes: Tensor) -> None:
        return None

    def proposals(self, raw: Tensor, count: int, prior: Tensor | None = None) -> Tensor:
        return raw.unsqueeze(-2)

    def divergence(self, raw: Tensor, code: Tensor) -> Tensor:
        return code.new_zeros(code.shape[:-1])

    def noise(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        return self._empty(shape)

    def draw(self, noise: Tensor, prior: Tensor | None = None, beta: float = 1.0) -> Tensor:
        return noise

    def bits(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        return code.new_zeros(())


@LATENTS.register('discrete')
class Discrete(Latent):
    """One of K = `dim` values, one-hot: at most K predictions of zero energy (LeCun §4.5). Prior parameters: logits."""

    usual_inference = 'exact'

    def __init__(self, dim: int = 8, weight: float = 1e-3, conditions: int = 0, width: int = 128):
        super().__init__(_at_least(dim, 2, 'discrete'), dim, dim, weight, conditions, width,
                         torch.zeros(dim))
        self.register_buffer('values', torch.eye(dim), persistent=False)

    @property
    def capacity_bits(self) -> float:
        return math.log2(self.dim)

    def reading_noise(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> None:
        return None

    def fit_prior(self, codes: Tensor) -> None:
        """Log frequencies, each value counted once more than it was seen."""
        counts = codes.flatten(0, -2).sum(0) + 1
        self.fitted.copy_((counts / counts.sum()).log())

    def log_prior(self, prior: Tensor | None = None) -> Tensor:
        """log p(z) of the K values, (..., K)."""
        return torch.log_softmax(self.zero if prior is None else prior, -1)

    def smooth(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        return -self.weight * (code * self.log_prior(prior)).sum(-1)

    def origin(self, prior: Tensor | None = None) -> Tensor:
        return self._one_hot(self.zero if prior is None else prior)

    def candidates(self) -> Tensor:
        return self.values

    def code(self, raw: Tensor, prior: Tensor | None = None) -> Tensor:
        return self._one_hot(raw)

    def proposals(self, raw: Tensor, count: int, prior: Tensor | None = None) -> Tensor:
        return self.values[raw.topk(min(count, self.dim), -1).indices]

    def divergence(self, raw: Tensor, code: Tensor) -> Tensor:
        return -(code * torch.log_softmax(raw, -1)).sum(-1)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        return self._empty(shape).exponential_(generator=generator)

    def draw(self, noise: Tensor, prior: Tensor | None = None, beta: float = 1.0) -> Tensor:
        """The value whose exponential clock of rate p^β rings first."""
        return self._one_hot(beta * self.log_prior(self.fitted if prior is None else prior) - noise.log())

    def bits(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        """The smaller of two bounds of I(z; s' | s): entropy of the values, and code length under the prior."""
        length = -(code * self.log_prior(prior)).sum(-1).mean() * NAT
        return torch.minimum(discrete_bits(code), length)

    def _one_hot(self, scores: Tensor) -> Tensor:
        return self.values[scores.argmax(-1)]       # F.one_hot would wait for the device to check its input


@LATENTS.register('low_dimensional')
class LowDimensional(Latent):
    """A few numbers in −1…1: predictions form a `dim`-dimensional manifold (LeCun §4.5). R = 0 inside, +inf outside."""

    def __init__(self, dim: int = 2, weight: float = 0.0, conditions: int = 0, width: int = 128):
        super().__init__(_at_least(dim, 1, 'low_dimensional'), dim, 0, weight, conditions, width,
                         torch.cat([-torch.ones(dim), torch.ones(dim)]))

    @property
    def capacity_bits(self) -> float:
        return self.dim / 2 * math.log2(1 + 1 / RESOLUTION ** 2)

    def rough(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        outside = (code.detach().abs() > 1).any(-1)
        return code.new_zeros(code.shape[:-1]).masked_fill(outside, math.inf)

    def proximal(self, code: Tensor, rate: Tensor, prior: Tensor | None = None) -> Tensor:
        return code.clamp(-1, 1)

    def code(self, raw: Tensor, prior: Tensor | None = None) -> Tensor:
        return raw.tanh()

    def noise(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        return self._empty(shape).uniform_(-1, 1, generator=generator)

    def draw(self, noise: Tensor, prior: Tensor | None = None, beta: float = 1.0) -> Tensor:
        """Uniform in the box, or in the part that was in use: all z are equally probable at any β."""
        low, high = self.fitted.chunk(2)
        return low + (noise + 1) / 2 * (high - low)

    def mode(self, prior: Tensor | None = None) -> Tensor:
        """The middle of the part that was in use."""
        low, high = self.fitted.chunk(2)
        return (low + high) / 2

    def fit_prior(self, codes: Tensor) -> None:
        """The box from the 2nd to the 98th percentile."""
        used = codes.flatten(0, -2)[:FITTED].float()
        self.fitted.copy_(torch.cat([torch.quantile(used, 0.02, 0), torch.quantile(used, 0.98, 0)]))

    def bits(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        return resolved_bits(code, RESOLUTION)


@LATENTS.register('sparse')
class Sparse(Latent):
    """R = weight · Σ |z_i|: most z_i are exactly 0 (LeCun §4.5). Prior: Laplace; parameters: log scales.

    Of a prior that the state decides, R = weight · Σ |z_i|/scale_i + log(scale_i / RESOLUTION): never below 0, and 0
    for a dimension that is known to be 0.
    """

    def __init__(self, dim: int = 16, weight: float = 1e-2, conditions: int = 0, width: int = 128):
        super().__init__(_at_least(dim, 1, 'sparse'), dim, dim, weight, conditions, width, torch.zeros(dim))

    def _log_scale(self, prior: Tensor | None) -> Tensor:
        return self.zero if prior is None else prior.clamp(*LOG_SCALE)

    def rough(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        if prior is None:
            return self.weight * code.abs().sum(-1)
        log_scale = self._log_scale(prior)
        return self.weight * (code.abs() * torch.exp(-log_scale) + log_scale - LOG_SCALE[0]).sum(-1)

    def proximal(self, code: Tensor, rate: Tensor, prior: Tensor | None = None) -> Tensor:
        """Shrinkage: each z_i nearer to 0 by the step times its slope, and exactly 0 within it."""
        threshold = rate * self.weight * torch.exp(-self._log_scale(prior))
        return code.sign() * (code.abs() - threshold).clamp_min(0)

    def code(self, raw: Tensor, prior: Tensor | None = None) -> Tensor:
        """Shrunk like a step of length 1, so that zeros come out exactly (as LISTA, Gregor & LeCun 2010)."""
        return self.proximal(raw, torch.ones_like(raw[..., :1]), prior)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Laplace of scale 1: a difference of exponentials."""
        return (self._empty(shape).exponential_(generator=generator)
                - self._empty(shape).exponential_(generator=generator))

    def draw(self, noise: Tensor, prior: Tensor | None = None, beta: float = 1.0) -> Tensor:
        return noise * torch.exp(self._log_scale(self.fitted if prior is None else prior)) / beta

    def fit_prior(self, codes: Tensor) -> None:
        """Most probable scale of each dimension: its mean |z|."""
        self.fitted.copy_(codes.flatten(0, -2).abs().mean(0).log().clamp(*LOG_SCALE))

    def bits(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        return resolved_bits(code, RESOLUTION)


@LATENTS.register('gaussian')
class Gaussian(Latent):
    """Noisy z ~ N(μ, σ²), its code (μ, log σ), R = weight · KL(N(μ, σ²) ‖ prior) (Dawid §4.2.2; LeCun §4.5).

    Prior: N(0, 1); parameters: mean and log-deviation. Energies at a drawn z estimate Dawid's expected energy.
    """

    usual_inference = 'amortised'

    def __init__(self, dim: int = 8, weight: float = 1e-3, conditions: int = 0, width: int = 128):
        super().__init__(_at_least(dim, 1, 'gaussian'), 2 * dim, 2 * dim, weight, conditions, width,
                         torch.zeros(2 * dim))

    def smooth(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        return self.weight * gaussian_kl(*code.chunk(2, -1), *self.origin(prior).chunk(2, -1))

    def origin(self, prior: Tensor | None = None) -> Tensor:
        return self.zero if prior is None else self.code(prior)

    def proximal(self, code: Tensor, rate: Tensor, prior: Tensor | None = None) -> Tensor:
        return self.code(code)

    def code(self, raw: Tensor, prior: Tensor | None = None) -> Tensor:
        mean, log_std = raw.chunk(2, -1)
        return torch.cat([mean, log_std.clamp(*LOG_STD)], -1)

    def realise(self, code: Tensor, noise: Tensor | None = None) -> Tensor:
        mean, log_std = code.chunk(2, -1)
        return mean if noise is None else mean + log_std.exp() * noise

    def divergence(self, raw: Tensor, code: Tensor) -> Tensor:
        return gaussian_kl(*code.chunk(2, -1), *self.code(raw).chunk(2, -1))

    def noise(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        return self._empty(shape).normal_(generator=generator)

    def draw(self, noise: Tensor, prior: Tensor | None = None, beta: float = 1.0) -> Tensor:
        return self.realise(self.origin(self.fitted if prior is None else prior), noise / math.sqrt(beta))

    def fit_prior(self, codes: Tensor) -> None:
        """Mean and deviation of the z that the codes stand for together."""
        mean, log_std = codes.flatten(0, -2).chunk(2, -1)
        variance = mean.var(0, unbiased=False) + torch.exp(2 * log_std).mean(0)
        self.fitted.copy_(torch.cat([mean.mean(0), 0.5 * variance.log()]))

    def bits(self, code: Tensor, prior: Tensor | None = None) -> Tensor:
        """Rate ⟨KL(q ‖ p)⟩: an upper bound of I(z; s' | s)."""
        return gaussian_kl(*code.chunk(2, -1), *self.origin(prior).chunk(2, -1)).mean() * NAT


def _at_least(dim: int, least: int, kind: str) -> int:
    if dim < least:
        raise ConfigError(f'latent {kind} needs dim ≥ {least}, not {dim}')
    return dim
