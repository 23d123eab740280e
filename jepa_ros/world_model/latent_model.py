"""A predictor with a latent, and how the latent is inferred in training and drawn in planning.

Pred(s, a, z) (LeCun eq. 10), the amortising encoder z̃ = Enc(s, a, s') (Appendix, Fig. 19–20), the loss of a batch of
pairs. The kinds of latents are in `latents`, the inference methods in energy/latent_inference.py.
"""
from collections.abc import Callable
from dataclasses import dataclass, field
import math
from typing import Any

import torch
from torch import nn, Tensor

from jepa_ros.energy.distance import Distance, DISTANCES
from jepa_ros.energy.free_energy import marginalise
from jepa_ros.energy.information import latent_usage, LatentUsage
from jepa_ros.energy.latent_energy import LatentEnergy
from jepa_ros.energy.latent_inference import best_of, descend, InferenceConfig, INFERENCES, Inferred
from jepa_ros.errors import ConfigError
from jepa_ros.world_model.latents import Latent, LATENTS
from jepa_ros.world_model.predictors import mlp

THOROUGH = 100      # steps to an energy that is to be compared with that of another s'
Predict = Callable[[Tensor, Tensor, Tensor], Tensor]        # s (..., D), a (..., A), z (..., Z) -> ŝ (..., D)


@dataclass(frozen=True)
class LatentConfig:
    """One level's latent."""

    kind: str = 'none'              # none, discrete, low_dimensional, sparse, gaussian
    dim: int | None = None          # K values or Z dimensions; None: the kind's own
    weight: float | None = None     # of R, in units of the distance; None: the kind's own
    state_prior: bool = False       # the state and action say which z are probable
    inference: str = ''             # exact, gradient, amortised, refined; '': the kind's usual one
    search: InferenceConfig = field(default_factory=InferenceConfig)
    beta: float | None = None       # discrete: train on F_β over all values; None: on the best value
    width: int = 128                # of encoder and prior
    distance: str = 'squared'

    def __post_init__(self) -> None:
        LATENTS.get(self.kind)
        DISTANCES.get(self.distance)
        if self.inference:
            INFERENCES.get(self.inference)
        if self.weight is not None and not 0 <= self.weight < math.inf:
            raise ConfigError(f'latent weight is {self.weight}: it must be a number ≥ 0')
        if self.beta is not None and (self.kind != 'discrete' or not 0 < self.beta < math.inf):
            raise ConfigError(f'latent beta is {self.beta} with kind {self.kind}: it must be > 0, and only a discrete '
                              'latent can be summed over')
        if self.kind not in ('none', 'discrete') and self.inference == 'exact':
            raise ConfigError(f'latent {self.kind} has no list of values: exact inference needs discrete')
        if self.kind in ('none', 'discrete') and self.inference == 'gradient':
            raise ConfigError(f'latent {self.kind} has no slope: use exact, amortised or refined inference')


@dataclass(frozen=True)
class LatentLoss:
    """Of one batch of pairs, each (...) and differentiable unless said otherwise."""

    energy: Tensor          # F: D + R at the inferred z, or F_β; what trains Pred, the prior and the encoders of s
    amortisation: Tensor    # H(ž, z̃): what trains the latent's encoder; 0 where it has none or is trained by `energy`
    misfit: Tensor          # D alone, detached
    code: Tensor            # (..., C), detached: for `Latent.bits`


class LatentModel(nn.Module):
    """A latent, its encoder where its inference has one, and what training and planning ask of them."""

    def __init__(self, config: LatentConfig, dim: int, action_dim: int):
        super().__init__()
        self.config = config
        own: dict[str, Any] = {key: value for key, value in (('dim', config.dim), ('weight', config.weight))
                               if value is not None}
        kind = LATENTS.get(config.kind)
        self.latent: Latent = kind(**own, conditions=dim + action_dim if config.state_prior else 0, width=config.width)
        self.method = config.inference or kind.usual_inference
        self.encoder = None
        if self.method in ('amortised', 'refined') and self.latent.code_dim:
            self.encoder = mlp(2 * dim + action_dim, config.width, self.latent.code_dim)
        self.distance: Distance = DISTANCES.get(config.distance)

    def energy(self, predict: Predict, s: Tensor, a: Tensor, target: Tensor,
               generator: torch.Generator | None = None) -> LatentEnergy:
        """E(z) of pairs s, target (..., D) under actions a (..., A), with reading noise for a continuous latent."""
        noise = self.latent.reading_noise(tuple(s.shape[:-1]), generator)
        return LatentEnergy(predict, self.latent, s, a, target, self.latent.prior(s, a), noise, self.distance)

    def raw(self, energy: LatentEnergy) -> Tensor:
        """The encoder's output for these pairs, (..., C)."""
        if self.encoder is None:
            return energy.s.new_zeros(*energy.s.shape[:-1], self.latent.code_dim)
        return self.encoder(torch.cat([energy.s, energy.a, energy.target], -1))

    def infer(self, energy: LatentEnergy) -> Inferred:
        """ž by the configured method, detached."""
        return self._search(energy, self.raw(energy))

    def least(self, energy: LatentEnergy) -> Inferred:
        """The least energy that any z reaches, as near as THOROUGH steps come to it from the encoder's proposal."""
        if self.latent.candidates() is not None:
            return best_of(energy, self.latent.candidates())
        start = energy.start() if self.encoder is None else self.latent.code(self.raw(energy), energy.prior)
        return descend(energy, start, THOROUGH, self.config.search.rate)

    def _search(self, energy: LatentEnergy, raw: Tensor) -> Inferred:
        search = self.config.search
        proposals = self.latent.proposals(raw.detach(), search.shortlist, energy.prior)
        return INFERENCES.get(self.method)(energy, proposals, search)

    def read(self, code: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Codes (..., C) -> z (..., Z) as Pred is given them in training, with one draw of reading noise."""
        noise = self.latent.reading_noise(tuple(code.shape[:-1]), generator)
        return self.latent.realise(code, None if noise is None else noise[..., 0, :])

    def loss(self, predict: Predict, s: Tensor, a: Tensor, target: Tensor,
             generator: torch.Generator | None = None) -> LatentLoss:
        """What one batch of pairs s, target (..., D), a (..., A) teaches Pred, prior and encoder.

        Of a continuous latent, `amortised` trains the encoder through E itself (as Kingma & Welling 2013), `refined`
        trains Pred at the refined ž and the encoder to propose it. A discrete one is trained on its exact ž always.
        """
        energy = self.energy(predict, s, a, target, generator)
        raw = self.raw(energy)
        if self.latent.candidates() is not None:
            return self._exact_loss(energy, raw)
        if self.method == 'amortised':
            code = self.latent.code(raw, energy.prior)
            return self._at(energy, code, target.new_zeros(target.shape[:-1]))
        code = self._search(energy, raw).code
        return self._at(energy, code, self._amortisation(raw, code))

    def _exact_loss(self, energy: LatentEnergy, raw: Tensor) -> LatentLoss:
        values = self.latent.candidates()
        if self.config.beta is None:
            code = best_of(energy, values).code
            return self._at(energy, code, self._amortisation(raw, code))
        energies = energy.over(values)
        code = values[energies.argmin(-1)]
        regulariser = self.latent.regulariser(code, energy.prior)
        return LatentLoss(marginalise(energies, self.config.beta), self._amortisation(raw, code),
                          (energies.amin(-1) - regulariser).detach(), code)

    def _amortisation(self, raw: Tensor, code: Tensor) -> Tensor:
        return raw.new_zeros(raw.shape[:-1]) if self.encoder is None else self.latent.divergence(raw, code)

    def _at(self, energy: LatentEnergy, code: Tensor, amortisation: Tensor) -> LatentLoss:
        misfit = energy.misfit(code)
        return LatentLoss(misfit + self.latent.regulariser(code, energy.prior), amortisation, misfit.detach(),
                          code.detach())

    def sample(self, s: Tensor, a: Tensor, count: int, beta: float = 1.0,
               generator: torch.Generator | None = None) -> Tensor:
        """`count` draws of z for each state (..., D) and action (..., A): (..., count, Z) (LeCun §4.8, Fig. 17)."""
        prior = self.latent.prior(s, a)
        prior = None if prior is None else prior.unsqueeze(-2)
        return self.latent.sample((*s.shape[:-1], count), prior, beta, generator)

    def fit(self, predict: Predict, s: Tensor, a: Tensor, target: Tensor) -> None:
        """Set the prior that draws follow from the latents of recorded pairs s, target (N, D), a (N, A)."""
        generator = torch.Generator(s.device).manual_seed(0)        # the same prior for the same weights
        self.latent.fit_prior(self.infer(self.energy(predict, s, a, target, generator)).code)

    def most_probable(self, s: Tensor, a: Tensor) -> Tensor:
        """z (..., Z) at the mode of its prior for states (..., D) and actions (..., A): what a planner reckons with."""
        return self.latent.mode(self.latent.prior(s, a)).expand(*s.shape[:-1], -1)

    @torch.no_grad()
    def usage(self, predict: Predict, s: Tensor, a: Tensor, target: Tensor, samples: int = 8,
              generator: torch.Generator | None = None) -> LatentUsage:
        """Information and collapse of the latent over N pairs s, target (N, D), a (N, A)."""
        energy = self.energy(predict, s, a, target, generator)
        return latent_usage(energy, self.infer, self.sample(s, a, samples, generator=generator),
                            lambda code: self.latent.bits(code, energy.prior), self.least)
