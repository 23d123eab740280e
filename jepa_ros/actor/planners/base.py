"""Mode-2: infer the actions that minimise the energy (LeCun §3.1.2, §5).

One optimisation loop; a method says only how the sampling distribution follows from the energies. Everything is
batched over B independent problems; on a robot B is 1. Lower energy is better; a candidate whose energy is not
finite counts as +inf.
"""
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
import time

import torch
from torch import Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.registry import Registry

EnergyFunction = Callable[[Tensor], Tensor]     # candidates (B, N, H, A) -> energies (B, N)


@dataclass(frozen=True)
class SearchSpace:
    """What actions may be: bounds and the Gaussian they are first drawn from, each (A,)."""

    low: Tensor
    high: Tensor
    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class Search:
    """Result of one optimisation: the best candidate of each problem."""

    actions: Tensor         # (B, H, A)
    energy: Tensor          # (B,), +inf when every candidate was refused
    iterations: int
    deadline_hit: bool      # the deadline ended it before the last iteration
    refused: int            # candidates whose energy was not finite


@dataclass(frozen=True)
class PlannerConfig:
    """Settings of a sampling planner; `correlation` is that of successive steps of the noise (0 is white)."""

    method: str = 'mppi'
    samples: int = 64
    iterations: int = 3
    horizon: int = 8
    elites: int = 8
    correlation: float = 0.7
    temperature: float = 0.5
    min_std: float = 0.1    # of the first standard deviation
    strangeness: float = 0.0    # weight of a macro-action's distance from those of training, per step

    def __post_init__(self):
        PLANNERS.get(self.method)
        for name in ('samples', 'iterations', 'horizon', 'elites'):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f'planner {self.method}: {name} is {value!r}: it must be a whole number from 1 up')
        if not 0 <= self.correlation < 1:
            raise ConfigError(f'planner {self.method}: correlation is {self.correlation}: it must lie in [0, 1)')
        if not (self.temperature > 0 and self.min_std >= 0 and self.strangeness >= 0):
            raise ConfigError(f'planner {self.method}: temperature must be positive, min_std and strangeness not '
                              f'negative, they are {self.temperature}, {self.min_std} and {self.strangeness}')


class Planner(ABC):
    """Sampling planner: draws candidates, evaluates, follows the low energies."""

    def __init__(self, config: PlannerConfig):
        self.config = config
        self._mixing: Tensor | None = None      # (H, H), makes white noise coloured

    @abstractmethod
    def refit(self, candidates: Tensor, energies: Tensor) -> tuple[Tensor, Tensor]:
        """candidates (B, N, H, A), energies (B, N) -> mean and standard deviation, each (B, H, A)."""

    def plan(self, energy: EnergyFunction, space: SearchSpace, batch: int = 1, warm_start: Tensor | None = None,
             proposals: Tensor | None = None, generator: torch.Generator | None = None,
             deadline: float | None = None) -> Search:
        """Anytime search.

        warm_start: (B, H, A) the distribution's first mean. proposals: (B, P, H, A) candidates tried without noise
        (Mode-1's, for one). Both are clamped to the bounds. deadline: `time.perf_counter()` after which no
        further iteration starts; the first one always runs.
        """
        c = self.config
        shape = (batch, c.samples, c.horizon, len(space.mean))
        mean = (space.mean.expand(batch, c.horizon, -1) if warm_start is None else warm_start).contiguous()
        mean = torch.clamp(mean, space.low, space.high)
        first_std = space.std.expand(batch, c.horizon, -1)
        std = first_std
        best = mean
        best_energy = torch.full((batch,), torch.inf, device=mean.device)
        done, refused, hit, spent = 0, 0, False, 0.0
        while done < c.iterations:
            began = time.perf_counter()
            if deadline is not None and done and began + spent > deadline:
                hit = True
                break
            candidates = mean[:, None] + std[:, None] * self._noise(shape, mean.device, generator)
            candidates[:, 0] = mean
            if proposals is not None and done == 0:
                candidates[:, 1:1 + proposals.shape[1]] = proposals
            candidates = torch.clamp(candidates, space.low, space.high)
            energies = energy(candidates)
            bad = ~torch.isfinite(energies)
            energies = energies.masked_fill(bad, torch.inf)
            refused += int(bad.sum())
            lowest, where = energies.min(1)
            better = lowest < best_energy
            best = torch.where(better[:, None, None], candidates[torch.arange(batch), where], best)
            best_energy = torch.where(better, lowest, best_energy)
            mean, std = self.refit(candidates, energies)
            std = torch.maximum(std, c.min_std * first_std)
            done += 1
            spent = time.perf_counter() - began
        return Search(best, best_energy, done, hit, refused)

    def _noise(self, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
        """Unit-variance noise (B, N, H, A), correlated from step to step: a robot cannot use white noise."""
        horizon = shape[2]
        if self._mixing is None or self._mixing.device != device:
            steps = torch.arange(horizon, device=device)
            covariance = self.config.correlation ** (steps[:, None] - steps[None]).abs().float()
            self._mixing = torch.linalg.cholesky(covariance + 1e-6 * torch.eye(horizon, device=device))
        return self._mixing @ torch.randn(shape, device=device, generator=generator)


PLANNERS: Registry[type[Planner]] = Registry('planner')
