"""Inference of the latent: ž = argmin_z E(x, y, z), and the free energy of a pair (LeCun eq. 4–5, 11–13; Dawid §3.2).

Four methods, chosen by name: `exact` tries every value of a discrete latent, `gradient` descends from the latent's
origin, `amortised` trusts an encoder z̃ = Enc(s, s') (LeCun Appendix, Fig. 19–20), `refined` improves its proposal.
Every pair of the batch takes its own steps, none waits for another and nothing waits for the device. What comes back is
detached: by the envelope theorem the gradient of F in the weights is that of E at the fixed ž.
"""
from collections.abc import Callable
from dataclasses import dataclass
import math

import torch
from torch import Tensor

from jepa_ros.energy.free_energy import marginalise, minimise
from jepa_ros.energy.latent_energy import LatentEnergy
from jepa_ros.errors import ConfigError
from jepa_ros.registry import Registry

MEMORY = 5          # energies that a step may not exceed: the curvature's own steps are long now and then (SpaRSA's M)
SHRINK = 0.25       # of the step, after one that did
GROW = 2.0          # of the step, where the energy curves down and so promises more
LEAP = 10.0         # most that the curvature may change the step at once: it is measured on one step only


@dataclass(frozen=True)
class InferenceConfig:
    """How far an inference goes."""

    steps: int = 20         # of `gradient` and `refined`
    rate: float = 1.0       # first step length; it then follows the curvature
    shortlist: int = 4      # most probable values that `refined` tries of a discrete latent

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.rate < math.inf or self.shortlist < 1:
            raise ConfigError(f'inference takes steps ≥ 1, rate > 0 and shortlist ≥ 1, not steps {self.steps}, '
                              f'rate {self.rate}, shortlist {self.shortlist}')


@dataclass(frozen=True)
class Inferred:
    """Codes found for a batch of pairs, detached."""

    code: Tensor            # (..., C)
    energy: Tensor          # (...): E there
    start_energy: Tensor    # (...): E of the proposal; never lower than `energy`


Inference = Callable[[LatentEnergy, Tensor | None, InferenceConfig], Inferred]
INFERENCES: Registry[Inference] = Registry('inference')


def marginal(energy: LatentEnergy, codes: Tensor, beta: float, log_weights: Tensor | None = None) -> Tensor:
    """Free energy F_β (...) over codes (N, C) or (..., N, C), differentiable (Dawid §3.2).

    All values of a discrete latent make it exact; draws from a proposal need their `log_weights` (see `marginalise`).
    """
    return marginalise(energy.over(codes), beta, log_weights)


@torch.no_grad()
def best_of(energy: LatentEnergy, codes: Tensor) -> Inferred:
    """The best of N codes, (N, C) for all pairs or (..., N, C) for each; `start_energy` is that of the first."""
    energies = energy.over(codes)
    free, index = minimise(energies)
    codes = codes.expand(*energies.shape, codes.shape[-1])
    chosen = codes.take_along_dim(index[..., None, None], -2).squeeze(-2)
    return Inferred(chosen, free, energies[..., 0])


def descend(energy: LatentEnergy, start: Tensor, steps: int, rate: float) -> Inferred:
    """Proximal gradient descent from `start` (..., C); returns the best code on the way, so never a worse one.

    SpaRSA (Wright, Nowak & Figueiredo 2009, §II): the step of each pair follows the curvature met on its way, may raise
    the energy for a moment, and is taken back and shortened where that would be above all of the last MEMORY.
    """
    with torch.inference_mode(False), torch.enable_grad():
        energy = energy.differentiable()
        start = start.clone() if start.is_inference() else start.detach()
        rates = torch.full_like(start[..., :1], rate)
        code = energy.latent.proximal(start, torch.zeros_like(rates), energy.prior)     # inside the latent's bounds
        first, slope = _value_and_slope(energy, code)
        best, best_value, recent = code, first, first.expand(MEMORY, *first.shape).clone()
        for step in range(steps):
            trial = energy.latent.proximal(code - rates * slope, rates, energy.prior)
            value, trial_slope = _value_and_slope(energy, trial)
            accepted = value < recent.amax(0)      # false for NaN too
            recent[step % MEMORY] = torch.where(accepted, value, recent[(step - 1) % MEMORY])
            best = torch.where((value < best_value).unsqueeze(-1), trial, best)
            best_value = torch.where(value < best_value, value, best_value)
            accepted = accepted.unsqueeze(-1)
            rates = torch.where(accepted, _next_rate(rates, trial - code, trial_slope - slope), SHRINK * rates)
            code, slope = torch.where(accepted, trial, code), torch.where(accepted, trial_slope, slope)
    return Inferred(best, best_value, first)


def _value_and_slope(energy: LatentEnergy, code: Tensor) -> tuple[Tensor, Tensor]:
    """E (...) and the gradient (..., C) of its smooth part. Pairs share no z: the slope of the sum is that of each."""
    code = code.detach().requires_grad_()
    smooth = energy.smooth(code)
    if not smooth.requires_grad:        # a frozen predictor that does not look at z
        return smooth + energy.rough(code).detach(), torch.zeros_like(code)
    slope, = torch.autograd.grad(smooth.sum(), code, allow_unused=True, materialize_grads=True)
    return smooth.detach() + energy.rough(code).detach(), slope


def _next_rate(rates: Tensor, step: Tensor, bend: Tensor) -> Tensor:
    """|Δz|² / Δz·Δg, (..., 1); where the energy curves down or nothing moved, the present rate grows or stays."""
    length = step.square().sum(-1, keepdim=True)
    curvature = (step * bend).sum(-1, keepdim=True)
    secant = torch.where(curvature > 0, length / curvature, GROW * rates)
    return torch.where(length > 0, torch.minimum(torch.maximum(secant, rates / LEAP), rates * LEAP), rates)


@INFERENCES.register('exact')
def exact(energy: LatentEnergy, proposal: Tensor | None, config: InferenceConfig) -> Inferred:
    """Tries every value of a discrete latent (LeCun eq. 4). ConfigError where the latent has no list of values."""
    return best_of(energy, _values(energy))


@INFERENCES.register('gradient')
def gradient(energy: LatentEnergy, proposal: Tensor | None, config: InferenceConfig) -> Inferred:
    """Descends from the latent's origin (LeCun Appendix: "backpropagating gradients through the model down to z")."""
    return descend(energy, _continuous(energy), config.steps, config.rate)


@INFERENCES.register('amortised')
@torch.no_grad()
def amortised(energy: LatentEnergy, proposal: Tensor | None, config: InferenceConfig) -> Inferred:
    """Takes the encoder's code as it is (LeCun Fig. 19); of several per pair, (..., N, C), the first."""
    code = _proposed(proposal, energy)[..., 0, :].detach()
    value = energy(code)
    return Inferred(code, value, value)


@INFERENCES.register('refined')
def refined(energy: LatentEnergy, proposal: Tensor | None, config: InferenceConfig) -> Inferred:
    """Improves the encoder's code (LeCun Appendix: "an initial value for the inference optimization").

    A continuous code descends, each of several per pair, and the best remains. Of a discrete latent the encoder's
    `shortlist` most probable values, (..., N, C) most probable first, are tried. Never worse than `amortised`.
    """
    codes = _proposed(proposal, energy)
    if energy.latent.candidates() is not None:
        return best_of(energy, codes[..., :config.shortlist, :].detach())
    found = descend(energy.repeat(codes.shape[-2]), codes, config.steps, config.rate)
    value, index = minimise(found.energy)
    code = found.code.take_along_dim(index[..., None, None], -2).squeeze(-2)
    return Inferred(code, value, found.start_energy[..., 0])


def _values(energy: LatentEnergy) -> Tensor:
    values = energy.latent.candidates()
    if values is None:
        raise ConfigError('exact inference needs a discrete latent: a continuous one has no list of values to try; '
                          'use gradient, amortised or refined')
    return values


def _continuous(energy: LatentEnergy) -> Tensor:
    if energy.latent.candidates() is not None:
        raise ConfigError('gradient inference needs a continuous latent: a discrete one has no slope; '
                          'use exact, amortised or refined')
    return energy.start()


def _proposed(proposal: Tensor | None, energy: LatentEnergy) -> Tensor:
    """Proposals as (..., N, C)."""
    if proposal is None:
        raise ConfigError('amortised and refined inference need the proposal of a latent encoder: '
                          'build one, or use exact (discrete latents) or gradient')
    return proposal if proposal.dim() > energy.s.dim() else proposal.unsqueeze(-2)
