"""From the energies of many candidates (latents, actions) to one number or one distribution.

LeCun §4.1–4.2, eq. 4–5; Dawid §3.2. `energies` are (..., N): N candidates in the last dimension.
"""
import math

import torch
from torch import Tensor


def minimise(energies: Tensor) -> tuple[Tensor, Tensor]:
    """Zero-temperature free energy F = min_z E(z) and its argmin, each (...) (LeCun eq. 4–5)."""
    return energies.min(-1)


def marginalise(energies: Tensor, beta: float) -> Tensor:
    """F_β = −1/β log (1/N Σ_z exp(−β E(z))), (...): min for β → ∞, mean for β → 0 (Dawid §3.2)."""
    return -(torch.logsumexp(-beta * energies, -1) - math.log(energies.shape[-1])) / beta


def gibbs(energies: Tensor, beta: float | Tensor) -> Tensor:
    """Gibbs distribution P(z) ∝ exp(−β E(z)), (..., N). A candidate of energy +inf gets probability 0."""
    return torch.softmax(-beta * energies, -1)
