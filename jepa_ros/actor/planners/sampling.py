"""Planners that draw candidates from a Gaussian, most of which then move it to where energies are low."""
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_ros.actor.planners.base import Outcome, Planner, Start
from jepa_ros.actor.planners.config import PlannerConfig
from jepa_ros.actor.planners.descent import Descent
from jepa_ros.actor.planners.noise import Noise


@dataclass
class Gaussian:
    """The distribution during one search; mean and std (B, H, A)."""

    start: Start
    mean: Tensor
    std: Tensor
    elites: Tensor | None = None    # (B, E, H, A), tried again where the configuration keeps some
    descent: Descent | None = None  # candidates that go on by gradient, where the method says so

    def descend(self, tried: Tensor, outcome: Outcome, learning_rate: float) -> None:
        """One gradient step from the candidates (B, N, H, A) as they were tried."""
        if self.descent is None:
            self.descent = Descent.begin(tried)
        self.descent.step(tried, outcome, learning_rate * self.start.std)

    def arrived(self, tolerance: float) -> bool:
        """Whether no candidate moved, in its last gradient step, by more than this share of the first std."""
        return self.descent is not None and bool((self.descent.moved <= tolerance * self.start.std[:, None]).all())


class DrawingPlanner(Planner[Gaussian]):
    """Draws candidates; what it makes of their energies is up to the method."""

    def __init__(self, config: PlannerConfig):
        super().__init__(config)
        self._noise = Noise(config)

    def begin(self, start: Start) -> Gaussian:
        return Gaussian(start, start.mean, start.std)

    def propose(self, state: Gaussian, iteration: int) -> Tensor:
        return self.draw(state, self.config.samples)

    def draw(self, state: Gaussian, count: int) -> Tensor:
        """Candidates (B, N, H, A); the mean itself is the first."""
        batch, horizon, dim = state.mean.shape
        noise = self._noise((batch, count, horizon, dim), state.mean.device, state.start.generator)
        candidates = state.mean[:, None] + state.std[:, None] * noise
        candidates[:, 0] = state.mean
        return candidates


class SamplingPlanner(DrawingPlanner):
    """Draws candidates, evaluates, follows the low energies."""

    @abstractmethod
    def refit(self, candidates: Tensor, energies: Tensor) -> tuple[Tensor, Tensor]:
        """candidates (B, N, H, A), energies (B, N) -> mean and standard deviation, each (B, H, A)."""

    def propose(self, state: Gaussian, iteration: int) -> Tensor:
        c = self.config
        # iCEM (Pinneri et al. 2020, alg. 1): never fewer than two elites' worth
        count = min(max(2 * c.elites, round(c.samples * c.shrink ** iteration)), c.samples)
        candidates = self.draw(state, count)
        if state.elites is None:
            return candidates
        kept = state.elites[:, :count - 1]
        return torch.cat([candidates[:, :count - kept.shape[1]], kept], 1)

    def learn(self, state: Gaussian, candidates: Tensor, outcome: Outcome) -> None:
        state.mean, std = self.refit(candidates, outcome.ranks)
        state.std = torch.maximum(std, self.config.min_std * state.start.std)
        kept = int(self.config.keep_elites * self.config.elites)
        if kept:
            state.elites = lowest(candidates, outcome.ranks, kept)[0]

    def settled(self, state: Gaussian) -> bool:
        return bool((state.std <= self.config.tolerance * state.start.std).all())


def lowest(candidates: Tensor, energies: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` candidates (B, E, H, A) of lowest energy, or all if there are fewer, and their energies (B, E)."""
    energies, index = energies.topk(min(count, energies.shape[1]), largest=False)
    return torch.gather(candidates, 1, index[..., None, None].expand(-1, -1, *candidates.shape[2:])), energies


def moments(elites: Tensor, weight: Tensor, unbiased: bool = False) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation (B, H, A) of elites (B, E, H, A); weight (B, E) sums to 1."""
    wide = weight[..., None, None]
    mean = (wide * elites).sum(1)
    variance = (wide * (elites - mean[:, None]).square()).sum(1)
    if unbiased:
        left = 1 - weight.square().sum(1)       # 1 − 1/E where all weigh the same; 0 for a single elite
        variance = variance / torch.where(left > 1e-6, left, 1.0)[:, None, None]
    return mean, variance.sqrt()


def equal_weights(energies: Tensor) -> Tensor:
    """(B, E) that sum to 1; a refused candidate counts only where every one is refused."""
    counts = torch.isfinite(energies) | torch.isinf(energies[:, :1])
    return counts / counts.sum(1, keepdim=True)
