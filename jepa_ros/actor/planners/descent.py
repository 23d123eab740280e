"""Candidates that descend by gradient, each by its own Adam (Kingma & Ba 2015); for the planners that differentiate."""
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_ros.actor.planners.base import Outcome

# How much of the mean of the gradient, and of that of its square, lasts from step to step. Both are less than Adam's
# usual 0.9 and 0.999: a plan has a few tens of steps, in which a long memory would only overshoot.
MEAN_KEPT, SQUARE_KEPT = 0.5, 0.99
# Keeps 0 / 0 a zero; small, so that the unit of the energies does not matter.
LEAST = 1e-12


@dataclass
class Descent:
    """Where candidates (B, N, H, A) go next, and what is known of the way."""

    candidates: Tensor
    tried: Tensor           # where they were last, NaN before the first step
    moved: Tensor           # how far they had come by then, NaN before the second step
    mean: Tensor            # of the gradient so far
    square: Tensor          # mean of its square
    steps: Tensor           # (B, N, 1, 1), those taken

    @classmethod
    def begin(cls, candidates: Tensor) -> 'Descent':
        nothing, unknown = torch.zeros_like(candidates), torch.full_like(candidates, torch.nan)
        return cls(candidates, unknown, unknown, nothing, nothing, nothing[..., :1, :1])

    def step(self, tried: Tensor, outcome: Outcome, rate: Tensor) -> None:
        """One step of about `rate` (B, H, A) from the candidates as they were tried.

        The loop moves them back into bounds and rates before it tries them: a projected gradient. A candidate whose
        energy or gradient is not finite stays where it is, and knows as much as before.
        """
        usable = torch.isfinite(outcome.ranks) & torch.isfinite(outcome.gradient).all(-1).all(-1)
        usable = usable[..., None, None]
        gradient = torch.where(usable, outcome.gradient, 0.0)
        steps = self.steps + usable
        mean = torch.where(usable, torch.lerp(gradient, self.mean, MEAN_KEPT), self.mean)
        square = torch.where(usable, torch.lerp(gradient.square(), self.square, SQUARE_KEPT), self.square)
        # without a step so far this is 0 / 0, and not used
        direction = mean / (1 - MEAN_KEPT ** steps) / ((square / (1 - SQUARE_KEPT ** steps)).sqrt() + LEAST)
        self.candidates = torch.where(usable, tried - rate[:, None] * direction, tried)
        self.moved = (tried - self.tried).abs()
        self.tried, self.mean, self.square, self.steps = tried, mean, square, steps
