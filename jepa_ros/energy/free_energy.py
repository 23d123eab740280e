"""From the energies of many candidates (latents, actions) to one number or one distribution.

LeCun §4.1–4.2, eq. 4–5, 23; Dawid §3.1–3.2, eq. 2 and Appendix A. `energies` are (..., N): N candidates in the last
dimension. β is the inverse temperature. Nothing here waits for the device.
"""
import math

import torch
from torch import Tensor


def minimise(energies: Tensor) -> tuple[Tensor, Tensor]:
    """Zero-temperature free energy F = min_z E(z) and its argmin, each (...) (LeCun eq. 4–5)."""
    return energies.min(-1)


def marginalise(energies: Tensor, beta: float, log_weights: Tensor | None = None) -> Tensor:
    """F_β = −1/β log (1/N Σ_z exp(−β E(z))), (...): min for β → ∞, mean for β → 0 (Dawid §3.2).

    `log_weights` (..., N) put another measure than 1/N on the candidates: log p(z) of a prior, log dz of a grid over a
    continuous z (Dawid's ∫ dz), or log p(z) − log q(z) − log N of N draws from a proposal q.
    """
    if log_weights is None:
        return -(torch.logsumexp(-beta * energies, -1) - math.log(energies.shape[-1])) / beta
    return -torch.logsumexp(log_weights - beta * energies, -1) / beta


def gibbs(energies: Tensor, beta: float | Tensor) -> Tensor:
    """Gibbs distribution P(z) ∝ exp(−β E(z)), (..., N). A candidate of energy +inf gets probability 0."""
    return torch.softmax(-beta * energies, -1)


def gibbs_density(energies: Tensor, beta: float, volume: float) -> Tensor:
    """Gibbs density (..., N) of a continuous variable on a grid whose cells measure `volume`: Σ p · volume = 1.

    Dawid eq. 2: its denominator, the partition function, is the sum over the grid, so only few dimensions are feasible.
    """
    return gibbs(energies, beta) / volume


def energy_of(probabilities: Tensor, beta: float) -> Tensor:
    """The way back, E = −1/β log P (Dawid §3.1): `gibbs` of it gives P again; P = 0 becomes +inf."""
    return -probabilities.log() / beta


def draw(energies: Tensor, beta: float, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Indices (..., count) of candidates drawn from the Gibbs distribution, independently and with repetition.

    Gumbel's trick: the largest of log P + noise; torch.multinomial would wait for the device to check its input.
    """
    waiting = torch.empty(*energies.shape[:-1], count, energies.shape[-1], dtype=energies.dtype,
                          device=energies.device).exponential_(generator=generator)
    return (-beta * energies.unsqueeze(-2) - waiting.log()).argmax(-1)


def variational(energies: Tensor, q: Tensor, beta: float, log_prior: Tensor | None = None) -> Tensor:
    """⟨E⟩_q + KL(q ‖ p)/β, (...): never below F_β, and equal to it where q is the Gibbs distribution (Dawid §4.2.2).

    q (..., N) sums to 1; `log_prior` (..., N) is log p(z), uniform by default. q may be 0 where E is +inf.
    """
    if log_prior is None:
        log_prior = torch.full_like(energies, -math.log(energies.shape[-1]))
    per_candidate = energies + (q.log() - log_prior) / beta
    return torch.where(q > 0, q * per_candidate, torch.zeros_like(q)).sum(-1)
