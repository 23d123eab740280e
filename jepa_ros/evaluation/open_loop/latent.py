"""What the latent of a level does: information, collapse, and how near the best of n futures comes (LeCun §4.5)."""
from dataclasses import dataclass
import math

import torch
from torch import Tensor

from jepa_ros.energy.information import verdict
from jepa_ros.evaluation.open_loop.level import batched, Level
from jepa_ros.evaluation.open_loop.linear import Trial
from jepa_ros.evaluation.open_loop.prediction import Scale
from jepa_ros.evaluation.open_loop.statistics import Figure

SAMPLES = 32            # futures drawn for each pair
MOST_PAIRS = 1024


@dataclass(frozen=True)
class BestOf:
    """Energy D of the nearest of `samples` drawn futures one period ahead, in variances of s within episodes."""

    samples: int
    energy: Figure


@dataclass(frozen=True)
class Latent:
    """Usage of a latent over pairs of the judged episodes; see energy/information.py."""

    kind: str
    bits: float                     # information in the inferred codes
    capacity_bits: float | None     # most that it can carry; None: limited by its regulariser alone
    share: float | None             # bits / capacity
    gain: float                     # of the prediction error, what knowing z saves
    spread: float                   # variance of drawn futures over that of the targets
    contrast: float                 # how much more a wrong next state costs; 0 is a flat, collapsed energy
    most_probable: Figure           # error with the most probable z, what a planner reckons with
    mean_of_samples: Figure         # error of the mean of the drawn futures
    best_of: tuple[BestOf, ...]
    verdict: tuple[str, ...]        # a line for each way it has collapsed


def latent(level: Level, trial: Trial, seed: int = 0) -> Latent | None:
    """Figures of the level's latent, None where it has none."""
    model = level.jepa.latent
    if model is None:
        return None
    t, owner = level.windows(trial.judged, 0, level.period, MOST_PAIRS)
    if len(t) < 2:
        return None
    s, a, target = level.s[t], level.macro(t, 1)[:, 0], level.s[t + level.period]
    generator = torch.Generator(s.device).manual_seed(seed)
    shuffled = torch.randperm(len(t), generator=torch.Generator().manual_seed(seed)).to(s.device)   # see latent_usage
    usage = model.usage(level.jepa.predict, s[shuffled], a[shuffled], target[shuffled], generator=generator).numbers()
    capacity = model.latent.capacity_bits
    finite = math.isfinite(capacity)
    errors = _errors(level, s, a, target, generator)
    scale = Scale(level, trial)
    best = tuple(BestOf(n, scale.figure(expected_best(errors[:, 2:], n), owner)) for n in (1, 2, 4, 8, 16, 32))
    return Latent(model.config.kind, usage['bits'], capacity if finite else None,
                  usage['bits'] / capacity if finite and capacity else None, usage['gain'], usage['spread'],
                  usage['contrast'], scale.figure(errors[:, 0], owner),
                  scale.figure(errors[:, 1], owner), best,
                  tuple(verdict(usage, capacity)))


def expected_best(errors: Tensor, n: int) -> Tensor:
    """Expected least of n of the M errors (..., M), drawn without replacement: exact, no draw is made (...).

    Of the sorted errors the i-th is the least of the n with probability C(M − i, n − 1) / C(M, n), i = 1 … M.
    """
    total = errors.shape[-1]
    weights = torch.tensor([math.comb(total - i, n - 1) / math.comb(total, n) for i in range(1, total + 1)],
                           dtype=torch.float64, device=errors.device)
    return errors.double().sort(-1).values @ weights


@torch.no_grad()
def _errors(level: Level, s: Tensor, a: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squared errors (M, 2 + SAMPLES): with the most probable z, of the mean of all draws, of each draw."""
    def one(s: Tensor, a: Tensor, target: Tensor) -> Tensor:
        drawn = level.jepa.imagine(s, a[:, None], SAMPLES, generator)[:, :, 0]          # (m, SAMPLES, D)
        guesses = torch.cat([level.jepa.predict(s, a)[:, None], drawn.mean(1, keepdim=True), drawn], 1)
        return (guesses - target[:, None]).square().mean(-1)
    return batched(one, s, a, target)
