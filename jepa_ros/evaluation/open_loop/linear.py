"""Ridge regression whose strength is chosen on episodes it was not fitted on: the linear baseline and the probes.

A baseline that overfits would flatter the model, so the strength is that which predicts left-out episodes best, one for
all outputs: chosen for each on its own it would follow chance. float64 throughout; N rows, P inputs, Q outputs.
"""
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from jepa_ros.evaluation.open_loop.level import Level
from jepa_ros.evaluation.open_loop.statistics import Bootstrap

STRENGTHS = tuple(10.0 ** e for e in range(-7, 4))      # of ridge, per row and in units of the inputs' variance
ROUNDS = 3              # of choosing a strength: each leaves out another third of the episodes
FOLDS = 5
MOST_FITTED = 20_000    # rows of one fit


@dataclass(frozen=True)
class Fold:
    """Episodes that baselines and probes are fitted on, and those they are tested on; numbers of episodes."""

    fit: Tensor         # (F,) int64
    test: Tensor        # (T,) int64


def folds(judged: Tensor, others: Tensor, count: int = FOLDS) -> list[Fold]:
    """Each of the judged episodes (T,) is tested once, by what was fitted on all else: `others` (O,) and other folds.

    Episodes that were recorded after each other go to different folds. Empty where there is nothing to fit on.
    """
    if not len(others) and len(judged) < 2:
        return []
    number = torch.arange(len(judged), device=judged.device) % min(count, len(judged))
    return [Fold(torch.cat([others, judged[number != n]]), judged[number == n]) for n in range(int(number.max()) + 1)]


@dataclass(frozen=True)
class Trial:
    """Which episodes are judged (numbers, ascending), what is fitted for which of them, and the resamples of them."""

    judged: Tensor          # (T,) int64
    folds: list[Fold]
    bootstrap: Bootstrap


@dataclass(frozen=True)
class Ridge:
    """y = (x − mean) / scale · weights + offset."""

    mean: Tensor        # (P,)
    scale: Tensor       # (P,)
    weights: Tensor     # (P, Q)
    offset: Tensor      # (Q,)

    def __call__(self, x: Tensor) -> Tensor:
        """x (..., P) -> (..., Q) float64."""
        return (x.double() - self.mean) / self.scale @ self.weights + self.offset


def fit(x: Tensor, y: Tensor, episodes: Tensor, strengths: tuple[float, ...] = STRENGTHS) -> Ridge:
    """Ridge from x (N, P) to y (N, Q); episodes (N,) says whose row it is (Hastie et al. 2009, §3.4.1 and §7.10)."""
    x, y = x.double(), y.double()
    errors = torch.zeros(len(strengths), dtype=torch.float64, device=x.device)
    for left_out in _left_out(episodes):
        tried = _Decomposed(x[~left_out], y[~left_out])
        inputs, truth = (x[left_out] - tried.mean) / tried.scale, y[left_out]
        errors += torch.stack([(inputs @ tried.weights(strength) + tried.offset - truth).square().sum()
                               for strength in strengths])
    whole = _Decomposed(x, y)
    return Ridge(whole.mean, whole.scale, whole.weights(strengths[int(errors.argmin())]), whole.offset)


def _left_out(episodes: Tensor) -> Iterator[Tensor]:
    """For each round the rows (N,) bool of the episodes that are left out; of a single episode, stretches of it."""
    known, number = torch.unique(episodes, return_inverse=True)
    if len(known) == 1:
        number = torch.arange(len(episodes), device=episodes.device) * ROUNDS // len(episodes)
    for n in range(min(ROUNDS, int(number.max()) + 1)):
        yield number % ROUNDS == n


class _Decomposed:
    """Second moments of standardised rows, decomposed once for all strengths."""

    def __init__(self, x: Tensor, y: Tensor):
        self.mean, self.offset = x.mean(0), y.mean(0)
        centred = x - self.mean
        scale = centred.square().mean(0).sqrt()
        self.scale = torch.where(scale > 1e-9 * self.mean.abs().clamp_min(1e-3), scale, torch.inf)  # constant: no use
        inputs = centred / self.scale
        self._values, self._vectors = torch.linalg.eigh(inputs.T @ inputs / len(x))
        self._projected = self._vectors.T @ (inputs.T @ (y - self.offset)) / len(x)     # (P, Q)

    def weights(self, strength: float) -> Tensor:
        """(P, Q) with a strength > 0."""
        return self._vectors @ (self._projected / (self._values.clamp_min(0)[:, None] + strength))


def fitted_elsewhere(level: Level, parts: list[Fold], owner: Tensor, after: int, inputs: Callable[[Tensor], Tensor],
                     outputs: Callable[[Tensor], Tensor]) -> Iterator[tuple[Ridge, Tensor]]:
    """For each fold a ridge from inputs(t) to outputs(t) of its steps t (N,), and which of `owner` (M,) it is for.

    Steps have `after` more in their episode. Folds without any, or that nothing is asked of, are left out.
    """
    for part in parts:
        asked = torch.isin(owner, part.test)
        t, episodes = level.windows(part.fit, 0, after, MOST_FITTED)
        if len(t) > 1 and bool(asked.any()):
            yield fit(inputs(t), outputs(t), episodes), asked
