"""The ego model: how the robot itself moves under an action, foreseen without the world (LeCun §4.8.1).

"The agent should possess a separate model of itself, perhaps without latent variables": small, deterministic, on the
robot's own vector (joints, speeds, odometry) as it is measured. Where it fails, something outside has acted on the
robot: wheels that turn on the spot, an arm that is held.
"""
from collections.abc import Sequence
import math

import torch
from torch import nn, Tensor

from jepa_ros.errors import ConfigError, TrainingError
from jepa_ros.world_model.predictors_base import mlp

_LEAST = 1e-3       # of a deviation: a number that never changes in the data is not divided by zero


def wrapped(angle: Tensor) -> Tensor:
    """The same angle within −π…π, in rad; its slope stays 1."""
    return angle - 2 * math.pi * torch.round(angle.detach() / (2 * math.pi))


class EgoModel(nn.Module):
    """x̂' = x + f(x, a) for the robot's vector x (..., n), in its own units, and its action a (..., A) in −1…1.

    `angles` are the indices of numbers in rad that wrap: f sees their sine and cosine, and differences are taken the
    short way round. f works in units of the data (`fit_statistics`): x in deviations from its mean, its output in
    deviations of one step's change. `depth` hidden layers of `width`. x is handled in float32 under autocast too.
    """

    def __init__(self, size: int, action_dim: int, width: int = 128, depth: int = 2, angles: Sequence[int] = ()):
        super().__init__()
        outside = [i for i in angles if not 0 <= i < size]
        if outside:
            raise ConfigError(f'ego: angle {outside[0]} is no index of a vector of {size} numbers')
        self.size = size
        self.register_buffer('is_angle', torch.tensor([i in angles for i in range(size)]), persistent=False)
        self.register_buffer('mean', torch.zeros(size))
        self.register_buffer('std', torch.ones(size))
        self.register_buffer('change_mean', torch.zeros(size))
        self.register_buffer('change_std', torch.ones(size))
        # mean one-step error in training: the unit of surprise
        self.register_buffer('typical_error', torch.ones(()))
        self.plain = [i for i in range(size) if i not in angles]
        self.angles = sorted(set(angles))
        self.net = mlp(len(self.plain) + 2 * len(self.angles) + action_dim, width, size, depth)

    def fit_statistics(self, x: Tensor, following: Tensor) -> None:
        """Units of the data: vectors x (N, n), and `following` (N, n) one step after them.

        `TrainingError` where there are none, or a number is not finite.
        """
        if not len(x):
            raise TrainingError('ego: no two vectors follow one another: record longer episodes')
        wrong = (~(torch.isfinite(x) & torch.isfinite(following))).any(0).nonzero().flatten().tolist()
        if wrong:
            raise TrainingError(f'ego: number {wrong[0]} of the vector is not finite somewhere in the data: leave such '
                                'episodes out')
        change = self.difference(following.double(), x.double())
        std = x.double().std(0, correction=0).clamp_min(_LEAST)
        self.mean.copy_(x.double().mean(0))
        self.std.copy_(std)
        self.change_mean.copy_(change.mean(0))
        self.change_std.copy_(torch.maximum(change.std(0, correction=0), _LEAST * std))

    def difference(self, x: Tensor, other: Tensor) -> Tensor:
        """x − other (..., n), of angles the short way round."""
        change = x - other
        return torch.where(self.is_angle, wrapped(change), change) if self.angles else change

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        """One control step: x (..., n), a (..., A) -> x̂' (..., n) float; angles within −π…π."""
        x = x.to(self.mean.dtype)
        inputs = ((x - self.mean) / self.std)[..., self.plain]
        if self.angles:
            angles = x[..., self.angles]
            inputs = torch.cat([inputs, angles.sin(), angles.cos()], -1)
        change = self.net(torch.cat([inputs, a.to(inputs.dtype)], -1)).to(x.dtype)
        following = x + self.change_mean + self.change_std * change
        return torch.where(self.is_angle, wrapped(following), following) if self.angles else following

    def rollout(self, x: Tensor, a: Tensor) -> Tensor:
        """Start x (..., n), actions a (..., H, A) -> vectors (..., H, n), the start excluded."""
        vectors = []
        for step in range(a.shape[-2]):
            x = self(x, a[..., step, :])
            vectors.append(x)
        return torch.stack(vectors, -2)

    def error(self, predicted: Tensor, actual: Tensor) -> Tensor:
        """Mean squared difference of vectors (..., n) in units of one step's change: (...). 1 is about persistence."""
        return (self.difference(predicted, actual) / self.change_std).square().mean(-1)

    def loss(self, x: Tensor, a: Tensor) -> Tensor:
        """Multi-step prediction error of recorded vectors x (..., T + 1, n) under actions a (..., T, A): a scalar.

        The first vector is rolled out over all actions, as planning will use it.
        """
        return self.error(self.rollout(x[..., 0, :], a), x[..., 1:, :]).mean()

    def fit_typical_error(self, x: Tensor, a: Tensor, following: Tensor) -> None:
        """The mean one-step error on pairs x, following (N, n) under a (N, A), after training."""
        with torch.no_grad():
            self.typical_error.copy_(self.error(self(x, a), following).mean())

    def surprise(self, x: Tensor, a: Tensor, following: Tensor) -> Tensor:
        """Error (...) of what came after x (..., n) and a (..., A), over its mean in training: 1 is usual."""
        return self.error(self(x, a), following) / self.typical_error
