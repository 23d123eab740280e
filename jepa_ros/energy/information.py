"""How much information a latent carries, and whether it has collapsed (LeCun §4.5 criterion 4, Fig. 13; Dawid §4.2).

A latent can fail in two ways: Pred ignores it (0 bits, one future only), or it carries all of y past s (the energy is
low for any y: LeCun's "totally flat and collapsed energy surface", §4.5). For training's monitor and for evaluation.
Everything stays on the device; codes are (N, ...) with N pairs first.
"""
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
import math

import torch
from torch import Tensor

from jepa_ros.energy.latent_energy import LatentEnergy
from jepa_ros.energy.latent_inference import Inferred

NAT = 1 / math.log(2)       # bits in a nat
IGNORED_SPREAD = 0.01       # of the targets' variance: less than this, samples of z make no visible difference
IGNORED_BITS = 0.05         # less than one yes-or-no in twenty pairs
CONTRASTED = 256            # pairs whose contrast is looked at: the search for the least energy takes its time
FLAT_CONTRAST = 0.1         # of the distance between two targets: less, and a wrong y is as good as the right one
ACTIVE_VARIANCE = 0.01      # Burda, Grosse & Salakhutdinov 2016: a unit below it is inactive


def entropy_bits(probabilities: Tensor) -> Tensor:
    """H(p) in bits, (...), of p (..., K)."""
    return torch.special.entr(probabilities).sum(-1) * NAT


def discrete_bits(posteriors: Tensor) -> Tensor:
    """I(pair; z) = H(mean posterior) − mean H(posterior) in bits, of (N, K) probabilities or one-hot choices.

    0 where all pairs use z alike, log2 K where all values are used equally and surely.
    """
    return (entropy_bits(posteriors.mean(0)) - entropy_bits(posteriors).mean(0)).clamp_min(0)


def used_values(posteriors: Tensor) -> Tensor:
    """Effective number of values in use, 2^H(mean posterior): 1 … K."""
    return torch.exp2(entropy_bits(posteriors.mean(0)))


def gaussian_kl(mean: Tensor, log_std: Tensor, prior_mean: Tensor | float = 0.0,
                prior_log_std: Tensor | float = 0.0) -> Tensor:
    """KL(N(mean, std²) ‖ N(prior_mean, prior_std²)) in nats, (...), summed over Z (Kingma & Welling 2013, App. B)."""
    gap = log_std - prior_log_std
    distance = (mean - prior_mean) * torch.exp(-torch.as_tensor(prior_log_std))
    return (0.5 * (torch.exp(2 * gap) + distance.square() - 1) - gap).sum(-1)


def gaussian_bits(mean: Tensor, log_std: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """I(pair; z) in bits of noisy codes q = N(mean, std²), each (N, Z): ⟨log q(z|pair) − log mean_n q(z|pair n)⟩.

    The aggregate posterior is that of the N pairs given (Hoffman & Johnson 2016), so at most log2 N can be seen.
    """
    noise = torch.empty_like(mean).normal_(generator=generator)
    z = mean + log_std.exp() * noise
    offset = (z.unsqueeze(1) - mean) * torch.exp(-log_std)          # (N drawn, N pairs, Z)
    log_q = (-0.5 * offset.square() - log_std).sum(-1)              # (N, N), up to a constant common to all
    log_mean = torch.logsumexp(log_q, 1) - math.log(len(mean))
    return ((log_q.diagonal() - log_mean).mean() * NAT).clamp_min(0)


def resolved_bits(z: Tensor, resolution: float) -> Tensor:
    """Bits that noiseless codes (N, Z) carry when z is told apart to ± `resolution` only: ½ log2 det(I + Cov(z)/r²).

    Rate of a Gaussian channel of noise r² (Cover & Thomas, Elements of Information Theory, ch. 9): an upper bound for
    any code of that covariance, 0 for one that never varies. Cholesky without a check, which would wait.
    """
    if not z.shape[-1]:
        return z.new_zeros(())
    centred = (z - z.mean(0)) / resolution
    covariance = centred.T @ centred / len(z) + torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    factor = torch.linalg.cholesky_ex(covariance).L
    return factor.diagonal().log().sum() * NAT


def active_dimensions(z: Tensor, threshold: float = ACTIVE_VARIANCE) -> Tensor:
    """How many dimensions of codes (N, Z) vary over the pairs (for a noisy latent: of the means)."""
    return (z.var(0, unbiased=False) > threshold).sum()


@dataclass(frozen=True)
class LatentUsage:
    """What the latent does in a batch of pairs; scalars on the device until `numbers`."""

    bits: Tensor        # information in the inferred codes
    gain: Tensor        # 1 − D(inferred z) / D(z drawn from the prior): what knowing z saves of the prediction error
    spread: Tensor      # variance of predictions over drawn z, over the variance of the targets
    contrast: Tensor    # (F(s, another pair's s') − F(s, s')) / D(both s'): 0 for a flat energy, near 1 for a sharp one

    def numbers(self) -> dict[str, float]:
        """One transfer for all."""
        values = torch.stack([getattr(self, field.name).double() for field in fields(self)]).tolist()
        return {field.name: value for field, value in zip(fields(self), values)}


@torch.no_grad()
def latent_usage(energy: LatentEnergy, infer: Callable[[LatentEnergy], Inferred], samples: Tensor,
                 bits: Callable[[Tensor], Tensor], least: Callable[[LatentEnergy], Inferred] | None = None
                 ) -> LatentUsage:
    """Usage over pairs s (N, D), N ≥ 2: of several episodes one after the other, or in any order.

    `infer` finds codes; `samples` (N, M, Z) are z drawn from the prior (`Latent.sample`); `bits` measures codes.
    `least` finds the least energy of any z, by default `infer`: an encoder that never met a wrong s' proposes no z for
    it, and would let a flat energy look sharp.
    """
    least, some = (infer, energy) if least is None else (least, energy.some(CONTRASTED))
    found = infer(energy)
    # half of the batch away: the pair before is often the same episode one step earlier, and its s' this pair's own s
    wrong = replace(some, target=some.target.roll(len(some.target) // 2, 0))
    wide = energy.repeat(samples.shape[1])
    predictions = energy.predict(wide.s, wide.a, samples)           # (N, M, D)
    drawn = energy.distance(wide.target, predictions).mean()
    tiny = torch.finfo(drawn.dtype).tiny
    return LatentUsage(
        bits=bits(found.code),
        gain=1 - energy.misfit(found.code).mean() / drawn.clamp_min(tiny),
        spread=predictions.var(1, unbiased=False).mean() / energy.target.var(0, unbiased=False).mean().clamp_min(tiny),
        contrast=(least(wrong).energy - least(some).energy).mean()
        / energy.distance(wrong.target, some.target).mean().clamp_min(tiny))


def verdict(usage: dict[str, float], capacity_bits: float) -> list[str]:
    """One line for each way the latent has collapsed; empty where it has not. No capacity, nothing to ignore."""
    lines = []
    if capacity_bits > 0 and (usage['bits'] < IGNORED_BITS or usage['spread'] < IGNORED_SPREAD):
        lines.append(f'the latent is ignored: it carries {usage["bits"]:.2f} bits and its samples spread the '
                     f'predictions by {100 * usage["spread"]:.1f} % of the variance of the states; lower its weight')
    if usage['contrast'] < FLAT_CONTRAST:
        lines.append(f'the energy is flat: a wrong next state costs only {100 * usage["contrast"]:.1f} % of its '
                     'distance more than the right one; the latent carries the state past the predictor: raise its '
                     'weight or lower its dimension')
    return lines
