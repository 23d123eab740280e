"""Probes: how much of what a robot's readouts say a linear map reads off the states, perceived and foreseen.

A readout may miss (NaN) at some steps; those are left out. Angles are probed as sine and cosine: they jump at ±π.
"""
from collections.abc import Collection
from dataclasses import dataclass
import math

import numpy as np
import torch
from torch import Tensor

from jepa_ros.evaluation.open_loop.level import Level, per_judged
from jepa_ros.evaluation.open_loop.linear import fit, MOST_FITTED, Trial
from jepa_ros.evaluation.open_loop.prediction import Foreseen
from jepa_ros.evaluation.open_loop.statistics import Figure

LEAST_VARIANCE = 1e-12      # of a readout; less, and there is nothing to explain


@dataclass(frozen=True)
class ProbedAhead:
    """R² of a readout read off states foreseen `periods` periods ahead."""

    periods: int
    seconds: float
    r2: Figure


@dataclass(frozen=True)
class Probe:
    """One readout: 1 is read off perfectly, 0 is no better than its mean over the judged episodes."""

    readout: str
    angle: bool
    r2: Figure              # read off perceived states
    rmse: Figure            # in the readout's own unit
    ahead: tuple[ProbedAhead, ...]


@dataclass(frozen=True)
class Scatter:
    """What a probe read off (M,) against what was so (M,), for a picture; `foreseen` is the longest horizon."""

    readout: str
    truth: np.ndarray
    perceived: np.ndarray
    foreseen: np.ndarray
    foreseen_truth: np.ndarray
    foreseen_s: float


def probes(level: Level, trial: Trial, foreseen: Foreseen, periods: list[int],
           angles: Collection[str] = ()) -> tuple[list[Probe], list[Scatter], list[str]]:
    """A probe for each readout that can be judged, their scatters, and a note for each that cannot."""
    found: list[Probe] = []
    scatters, notes = [], []
    for column, name in enumerate(level.data.readout_names):
        one = _Readout(level, trial, name, level.data.readouts[:, column], name in angles)
        problem = one.problem()
        if problem:
            notes.append(f'level {level.index}: readout {name} is not probed: {problem}')
            continue
        probe, scatter = one.judge(foreseen, periods)
        found.append(probe)
        scatters.append(scatter)
    return found, scatters, notes


class _Readout:
    """One readout of a level: what it is fitted on, and what it is judged on."""

    def __init__(self, level: Level, trial: Trial, name: str, values: Tensor, angle: bool):
        self.level, self.trial, self.name, self.angle = level, trial, name, angle
        values = values.to(level.s.device).double()
        self.y = torch.stack([values.cos(), values.sin()], -1) if angle else values[:, None]     # (N, 1 or 2)
        self.known = torch.isfinite(values)

    def problem(self) -> str:
        """Why it cannot be probed; empty where it can."""
        t, _ = self._steps(self.trial.judged)
        if len(t) < 2:
            return 'hardly a value of it is finite'
        if float(self.y[t].var(0).sum()) <= LEAST_VARIANCE:
            return 'it never changes'
        if any(len(self._steps(fold.fit)[0]) < 2 for fold in self.trial.folds):
            return 'the episodes it would be fitted on have no value of it'
        return ''

    def judge(self, foreseen: Foreseen, periods: list[int]) -> tuple[Probe, Scatter]:
        """Fit on the other episodes of each fold, read off perceived and foreseen states of its own."""
        t, owner = self._steps(self.trial.judged)
        now = torch.full((len(t), self.y.shape[1]), math.nan, dtype=torch.float64, device=t.device)
        later = now.new_full((*foreseen.states.shape[:2], self.y.shape[1]), math.nan)
        for fold in self.trial.folds:
            rows, episodes = self._steps(fold.fit)
            ridge = fit(self.level.s[rows], self.y[rows], episodes)
            mine, ahead = torch.isin(owner, fold.test), torch.isin(foreseen.owner, fold.test)
            now[mine], later[ahead] = ridge(self.level.s[t[mine]]), ridge(foreseen.states[ahead])
        errors = per_judged(self._error(now, self.y[t]).square(), owner, self.trial.judged)
        count = per_judged(torch.ones(len(t)), owner, self.trial.judged)
        further = tuple(ProbedAhead(k, k * self.level.step_s, self._r2_ahead(foreseen, later, k)) for k in periods)
        return (Probe(self.name, self.angle, self._r2(now, self.y[t], owner),
                      self.trial.bootstrap.ratio(errors, count, np.sqrt), further),
                self._scatter(t, now, foreseen, later, periods[-1]))

    def _steps(self, episodes: Tensor) -> tuple[Tensor, Tensor]:
        """Steps of these episodes at which the readout has a value, and their episodes."""
        t, owner = self.level.windows(episodes, 0, 0, MOST_FITTED)
        return t[self.known[t]], owner[self.known[t]]

    def _error(self, estimate: Tensor, truth: Tensor) -> Tensor:
        """(M,) in the readout's unit; of angles the shorter way round."""
        if not self.angle:
            return (estimate - truth).squeeze(-1)
        turn = torch.atan2(estimate[:, 1], estimate[:, 0]) - torch.atan2(truth[:, 1], truth[:, 0])
        return torch.remainder(turn + math.pi, 2 * math.pi) - math.pi

    def _r2_ahead(self, foreseen: Foreseen, later: Tensor, k: int) -> Figure:
        then = foreseen.t + k * self.level.period
        known = self.known[then]
        return self._r2(later[known, k - 1], self.y[then[known]], foreseen.owner[known])

    def _r2(self, estimate: Tensor, truth: Tensor, owner: Tensor) -> Figure:
        """1 − Σ error² / Σ (truth − mean truth)², over all columns; the mean is that of the episodes drawn."""
        judged = self.trial.judged
        errors = per_judged((estimate - truth).square().sum(-1), owner, judged)
        squares = per_judged(truth.square().sum(-1), owner, judged)
        sums, count = per_judged(truth, owner, judged), per_judged(torch.ones(len(truth)), owner, judged)

        def r2(w: np.ndarray) -> np.ndarray:
            spread = w @ squares - ((w @ sums) ** 2).sum(-1) / (w @ count)
            return 1 - (w @ errors) / np.where(spread > LEAST_VARIANCE, spread, np.nan)
        with np.errstate(divide='ignore', invalid='ignore'):
            value = float(r2(np.ones(len(judged))))
        return self.trial.bootstrap.figure(value, r2)

    def _scatter(self, t: Tensor, now: Tensor, foreseen: Foreseen, later: Tensor, k: int) -> Scatter:
        then = foreseen.t + k * self.level.period

        def plain(y: Tensor) -> np.ndarray:
            return (torch.atan2(y[:, 1], y[:, 0]) if self.angle else y[:, 0]).cpu().numpy()
        return Scatter(self.name, plain(self.y[t]), plain(now), plain(later[:, k - 1]), plain(self.y[then]),
                       k * self.level.step_s)
