"""Noise that is alike from step to step: a robot cannot use white noise (Pinneri et al. 2020, iCEM, §3.1)."""
import torch
from torch import Tensor

from jepa_ros.actor.planners.config import PlannerConfig


class Noise:
    """Unit-variance Gaussian noise (B, N, H, A), AR(1) or with power falling as 1/f^colour over the horizon."""

    def __init__(self, config: PlannerConfig):
        self._correlation, self._colour = config.correlation, config.colour
        self._mixing: Tensor | None = None      # (H, H), makes white noise coloured

    def __call__(self, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
        horizon = shape[2]
        if self._mixing is None or self._mixing.device != device or len(self._mixing) != horizon:
            covariance = self._autocovariance(horizon, device)
            eye = torch.eye(horizon, device=device, dtype=covariance.dtype)
            self._mixing = torch.linalg.cholesky(covariance + 1e-6 * eye).float()
        return self._mixing @ torch.randn(shape, device=device, generator=generator)

    def _autocovariance(self, horizon: int, device: torch.device) -> Tensor:
        """(H, H), 1 on the diagonal."""
        steps = torch.arange(horizon, device=device)
        lags = (steps[:, None] - steps[None]).abs()
        if not self._colour:
            return self._correlation ** lags.float()
        # twice the horizon: the transform is periodic, the first step need not be like the last
        frequencies = torch.fft.rfftfreq(2 * horizon, device=device, dtype=torch.float64)
        frequencies[0] = frequencies[1]
        covariance = torch.fft.irfft(frequencies ** -self._colour, n=2 * horizon)
        return (covariance / covariance[0])[lags]
