"""k-step prediction error of a level against persistence and a linear model (LeCun §4.5–4.6).

Errors are shares of the variance of s within episodes: 1 is as bad as the episode's mean state, known in hindsight, and
neither the scale of s nor furniture that differs from episode to episode flatters. All baselines start where the
model starts; the linear one is fitted on other episodes.
"""
from dataclasses import dataclass
import math

import numpy as np
import torch
from torch import Tensor

from jepa_ros.evaluation.open_loop.level import Level, per_judged
from jepa_ros.evaluation.open_loop.linear import fitted_elsewhere, Fold, Trial
from jepa_ros.evaluation.open_loop.statistics import Figure

TINY_VARIANCE = 1e-12   # below it nothing of s changes within an episode


@dataclass(frozen=True)
class Horizon:
    """How well `periods` periods ahead are foreseen: errors in variances within episodes, skill 1 − error/baseline."""

    periods: int
    seconds: float
    windows: int
    prediction: Figure
    persistence: Figure
    linear: Figure | None               # None: there is no other episode to fit it on
    skill_persistence: Figure
    skill_linear: Figure | None


@dataclass(frozen=True)
class Foreseen:
    """Rollouts that figures are made of: from steps t (M,) of episodes (M,), states (M, k, D) for k = 1 … most."""

    t: Tensor
    owner: Tensor
    states: Tensor


def foresee(level: Level, judged: Tensor, most: int) -> Foreseen:
    """Roll out `most` periods from all over the judged episodes, of which one at least is long enough."""
    t, owner = level.windows(judged, level.past * level.period, most * level.period)
    return Foreseen(t, owner, level.rollout(t, most))


def horizons(level: Level, trial: Trial, foreseen: Foreseen, periods: list[int]) -> list[Horizon]:
    """Errors of model, persistence and linear model for each of `periods`; the windows are the same for all."""
    scale = Scale(level, trial)
    out = []
    for k in periods:
        now, then = level.s[foreseen.t], level.s[foreseen.t + k * level.period]
        linear = _linear(level, trial.folds, foreseen, k)
        errors = [(x - then).square().mean(-1) if x is not None else None
                  for x in (foreseen.states[:, k - 1], now, linear)]
        sums = [None if e is None else per_judged(e, foreseen.owner, trial.judged) for e in errors]
        figures = [None if e is None else scale.figure(e, foreseen.owner) for e in errors]
        skills = [None if x is None else trial.bootstrap.ratio(sums[0], x, lambda share: 1 - share) for x in sums[1:]]
        out.append(Horizon(k, k * level.step_s, len(foreseen.t), *figures, *skills))
    return out


class Scale:
    """The unit of errors: the variance of s about the mean of its episode, over the judged episodes."""

    def __init__(self, level: Level, trial: Trial):
        self._trial = trial
        sums, steps = [], []
        for e in trial.judged.tolist():
            first, length = int(level.data.starts[e]), int(level.data.lengths[e])
            states = level.s[first:first + length].double()
            sums.append(float((states - states.mean(0)).square().mean(-1).sum()))
            steps.append(length)
        self._sums, self._steps = np.array(sums), np.array(steps, float)

    @property
    def collapsed(self) -> bool:
        """Nothing of s changes within an episode."""
        return bool(self._sums.sum() / self._steps.sum() <= TINY_VARIANCE)

    def figure(self, errors: Tensor, owner: Tensor) -> Figure:
        """Mean of squared errors (M,) of windows of episodes (M,) in this unit; none where s has collapsed."""
        judged = self._trial.judged
        sums, count = per_judged(errors, owner, judged), per_judged(torch.ones(len(errors)), owner, judged)

        def share(w: np.ndarray) -> np.ndarray:
            return (w @ sums) / (w @ count) / ((w @ self._sums) / (w @ self._steps))
        if self.collapsed:
            return Figure(None)
        return self._trial.bootstrap.figure(float(share(np.ones(len(judged)))), share)


def _linear(level: Level, folds: list[Fold], foreseen: Foreseen, k: int) -> Tensor | None:
    """States (M, D) that the linear model foresees k periods ahead; None where nothing is left to fit it on.

    It is fitted to s_{t+k} − s_t, so that ridge shrinks towards persistence: as strong a baseline as can be.
    """
    def inputs(t: Tensor) -> Tensor:
        return torch.cat([level.s[t], level.raw_actions(t, k).flatten(1)], -1)

    def change(t: Tensor) -> Tensor:
        return level.s[t + k * level.period] - level.s[t]
    found = torch.full((len(foreseen.t), level.s.shape[1]), math.nan, dtype=torch.float64, device=level.s.device)
    for ridge, asked in fitted_elsewhere(level, folds, foreseen.owner, k * level.period, inputs, change):
        found[asked] = ridge(inputs(foreseen.t[asked])) + level.s[foreseen.t[asked]]
    return found if bool(torch.isfinite(found).all()) else None
