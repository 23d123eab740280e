"""Planners that draw candidates from a Gaussian and move it to where energies are low."""
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_ros.actor.planners.base import Evaluation, Planner, Start
from jepa_ros.actor.planners.config import PlannerConfig
from jepa_ros.actor.planners.noise import Noise


@dataclass
class Gaussian:
    """The distribution during one search; mean and std (B, H, A)."""

    start: Start
    mean: Tensor
    std: Tensor
    elites: Tensor | None = None    # (B, E, H, A), tried again where the configuration keeps some


class SamplingPlanner(Planner[Gaussian]):
    """Draws candidates, evaluates, follows the low energies."""

    def __init__(self, config: PlannerConfig):
        super().__init__(config)
        self._noise = Noise(config)

    @abstractmethod
    def refit(self, candidates: Tensor, energies: Tensor) -> tuple[Tensor, Tensor]:
        """candidates (B, N, H, A), energies (B, N) -> mean and standard deviation, each (B, H, A)."""

    def begin(self, start: Start) -> Gaussian:
        return Gaussian(start, start.mean, start.std)

    def propose(self, state: Gaussian, iteration: int) -> Tensor:
        batch, horizon, dim = state.mean.shape
        count = max(self.config.elites, 2, round(self.config.samples * self.config.shrink ** iteration))
        count = min(count, self.config.samples)
        noise = self._noise((batch, count, horizon, dim), state.mean.device, state.start.generator)
        candidates = state.mean[:, None] + state.std[:, None] * noise
        candidates[:, 0] = state.mean
        if state.elites is None:
            return candidates
        kept = state.elites[:, :count - 1]
        return torch.cat([candidates[:, :count - kept.shape[1]], kept], 1)

    def learn(self, state: Gaussian, candidates: Tensor, energy: Tensor, evaluation: Evaluation) -> None:
        state.mean, std = self.refit(candidates, energy)
        state.std = torch.maximum(std, self.config.min_std * state.start.std)
        kept = int(self.config.keep_elites * self.config.elites)
        if kept:
            state.elites = self.best(candidates, energy, kept)[0]

    def best(self, candidates: Tensor, energies: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The `count` (default: the configured elites) lowest: candidates (B, E, H, A) and their energies (B, E)."""
        count = min(count or self.config.elites, energies.shape[1])
        lowest, index = energies.topk(count, largest=False)
        return torch.gather(candidates, 1, index[..., None, None].expand(-1, -1, *candidates.shape[2:])), lowest

    def settled(self, state: Gaussian) -> bool:
        return bool((state.std <= self.config.tolerance * state.start.std).all())


def moments(elites: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation (B, H, A) of elites (B, E, H, A); weight (B, E) sums to 1."""
    weight = weight[..., None, None]
    mean = (weight * elites).sum(1)
    return mean, (weight * (elites - mean[:, None]).square()).sum(1).sqrt()


def equal_weights(energies: Tensor) -> Tensor:
    """(B, E) that sum to 1; a refused candidate counts only where every one is refused."""
    counts = torch.isfinite(energies) | torch.isinf(energies[:, :1])
    return counts / counts.sum(1, keepdim=True)
