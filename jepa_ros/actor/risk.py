"""Plans under uncertainty: several futures of each candidate, and one number for all of them (LeCun §4.8, Fig. 17).

A scenario is one future: the latents drawn at every step from their prior, the Gibbs distribution of the regulariser,
and one member of the ensemble. The same draws serve all candidates, so that candidates differ by their actions alone.
A discrete latent's futures are a tree; it is followed exactly, and pruned by chance where it outgrows the count. What
the world leaves open (latents) and what the model does not know (members) are weighed alike.
"""
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.world_model.ensemble import Ensemble
from jepa_ros.world_model.jepa import JEPA
from jepa_ros.world_model.latents import Discrete
from jepa_ros.world_model.predictors import expand_memory, Memory, Predictor


@dataclass(frozen=True)
class Futures:
    """S scenarios of each candidate, with their probabilities."""

    states: Tensor      # (B, N, S, H, D)
    weights: Tensor     # (B, N, S), sum to 1


class Scenarios:
    """Draws futures of one level; the draws are made once per plan and shared by all candidates and iterations."""

    def __init__(self, jepa: JEPA, count: int, generator: torch.Generator | None = None):
        self._jepa, self._generator = jepa, generator
        predictor = jepa.predictor
        self._members: list[Predictor] = [predictor]
        if isinstance(predictor, Ensemble):
            self._members = list(predictor.predictors)[:count]
        self._each = -(-count // len(self._members))        # futures of each member, rounded up
        if jepa.latent is None:
            self._each = 1      # nothing but the members is open
        self._noise: list[Tensor | None] | None = None

    def futures(self, s: Tensor, candidates: Tensor, memory: Memory | None = None,
                task: Tensor | None = None) -> Futures:
        """Start s (B, D), candidates (B, N, H, A), what the predictor remembers, task token -> their futures."""
        self._draw(candidates.shape[-2], s.device)
        memories = self._memories(memory)
        parts = [self._follow(member, own, noise, s, candidates, task)
                 for member, own, noise in zip(self._members, memories, self._noise)]
        states, weights = zip(*parts)
        return Futures(torch.cat(states, 2), torch.cat(weights, 2) / len(parts))

    def _draw(self, horizon: int, device: torch.device) -> None:
        """Noise (S, H, Z) of each member, of a discrete latent (1, H, 1) in 0…1; None where nothing is drawn."""
        if self._noise is not None and (self._noise[0] is None or self._noise[0].shape[1] == horizon):
            return
        latent = None if self._jepa.latent is None else self._jepa.latent.latent
        if latent is None:
            self._noise = [None] * len(self._members)
            return
        with torch.inference_mode(False):       # gradients may go through what is made of it
            self._noise = [
                torch.rand((1, horizon, 1), device=device, generator=self._generator) if isinstance(latent, Discrete)
                else latent.noise((self._each, horizon), self._generator).to(device) for _ in self._members]

    def _memories(self, memory: Memory | None) -> list[Memory | None]:
        predictor = self._jepa.predictor
        if memory is None or not isinstance(predictor, Ensemble):
            return [memory] * len(self._members)
        return predictor.memories_of(memory)[:len(self._members)]

    def _follow(self, predictor: Predictor, memory: Memory | None, noise: Tensor | None, s: Tensor,
                candidates: Tensor, task: Tensor | None) -> tuple[Tensor, Tensor]:
        """Futures of one member: states (B, N, S, H, D), weights (B, N, S)."""
        batch, count, horizon, _ = candidates.shape
        tree = self._jepa.latent is not None and isinstance(self._jepa.latent.latent, Discrete)
        branches = self._each if not tree else 1
        now = s[:, None, None].expand(batch, count, branches, -1)
        memory = expand_memory(expand_memory(memory, count), branches, 2)
        log_weights = now.new_zeros(batch, count, branches)
        past: list[Tensor] = []
        for step in range(horizon):
            action = candidates[:, :, None, step].expand(-1, -1, now.shape[2], -1)
            if tree:
                z, log_weights, kept = self._branch(now, action, log_weights, noise[0, step])
                now, action, past = _pick(now, kept), _pick(action, kept), [_pick(x, kept) for x in past]
                memory = None if memory is None else tuple(_pick(m, kept) for m in memory)
            else:
                z = self._drawn(now, action, noise, step)
            now, memory = predictor.step(now, self._jepa.condition(now, action, z, task), memory)
            past.append(now)
        return torch.stack(past, -2), torch.softmax(log_weights, -1)

    def _drawn(self, s: Tensor, a: Tensor, noise: Tensor | None, step: int) -> Tensor | None:
        if noise is None:
            return None
        latent = self._jepa.latent.latent
        return latent.draw(noise[:, step].expand(*s.shape[:-1], -1), latent.prior(s, a))

    def _branch(self, s: Tensor, a: Tensor, log_weights: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Every value of z from every branch, S' of them kept: z (B, N, S', Z), log weights, parents (B, N, S').

        Where they are too many, systematic resampling: each survives as often as its probability says, on average over
        `offset` (1,) in 0…1. The most probable ones alone would tell nothing of rare events, which risk is about.
        """
        latent = self._jepa.latent.latent
        prior = latent.prior(s, a)
        log_p = latent.log_prior(latent.fitted if prior is None else prior)     # (…, S, K) or (K,)
        total = (log_weights[..., None] + log_p).flatten(-2)                    # (B, N, S·K)
        most = total.shape[-1]
        if most <= self._each:
            kept = torch.arange(most, device=s.device).expand(total.shape)
        else:
            ranks = (torch.arange(self._each, device=s.device) + offset) / self._each
            reached = torch.softmax(total, -1).cumsum(-1)
            kept = torch.searchsorted(reached, ranks.expand(*total.shape[:-1], -1).contiguous()).clamp_max(most - 1)
            total = torch.zeros_like(total)
        return latent.candidates()[kept % latent.dim], total.take_along_dim(kept, -1), kept // latent.dim


def _pick(x: Tensor, index: Tensor) -> Tensor:
    """Of x (B, N, S, …) the branches `index` (B, N, S')."""
    shape = index.shape + (1,) * (x.dim() - 3)
    return x.take_along_dim(index.reshape(shape), 2)


def measure(energies: Tensor, weights: Tensor, config: PlannerConfig) -> Tensor:
    """Energies (…, S) of scenarios with probabilities (…, S) -> one number (…) that a plan is judged by."""
    mean = (weights * energies).sum(-1)
    if config.risk == 'mean':
        return mean
    if config.risk == 'mean_std':
        variance = (weights * (energies - mean[..., None]).square()).sum(-1)
        return mean + config.risk_weight * variance.clamp_min(1e-12).sqrt()
    worst, order = energies.sort(-1, descending=True)
    weights = weights.take_along_dim(order, -1)
    before = weights.cumsum(-1) - weights
    counted = torch.minimum(weights, (config.risk_share - before).clamp_min(0))
    return (counted * worst).sum(-1) / config.risk_share


def chance_violation(violations: Tensor, weights: Tensor, chance: float) -> Tensor:
    """Violations (…, S) -> the largest (…) when the worst `chance` of the scenarios, by probability, are forgiven."""
    worst, order = violations.sort(-1, descending=True)
    reached = weights.take_along_dim(order, -1).cumsum(-1) > chance + 1e-6
    # the first scenario at which more than the forgiven share would be violated
    return worst.take_along_dim(reached.float().argmax(-1, keepdim=True), -1).squeeze(-1)
