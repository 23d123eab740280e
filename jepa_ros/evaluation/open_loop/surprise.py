"""Does the model notice that something is wrong? Its one-period energy on tampered steps against untouched ones.

The energy of a step is D(s', Pred(s, a)), with a latent the free energy min_z D + R (LeCun eq. 5, §8.2.2): what some
probable z explains is no surprise. Every step is judged twice, as it was and tampered with.
"""
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.open_loop.level import batched, Level
from jepa_ros.evaluation.open_loop.linear import Trial
from jepa_ros.evaluation.open_loop.statistics import Bootstrap, Figure
from jepa_ros.evaluation.open_loop.tampering import Kind, kinds, Windows, windows

LEAST_STEPS = 100       # fewer, and one false alarm is more than 1 %
MOST_STEPS = 2048
AT_REST = 0.1           # of the mean change of s: a step that changes it less is none in motion


@dataclass(frozen=True)
class Tampered:
    """How well one kind of tampering is told from untouched steps."""

    kind: str
    auroc: Figure           # 0.5 by chance, 1 without fail
    detected: Figure        # share found at 1 % false alarms
    auroc_all: Figure       # with the steps at rest, where some kinds change nothing
    in_motion: bool         # `auroc` and `detected` are of the steps that change s most: half of them, if so many move
    steps: int              # tampered steps that they are of, and as many untouched ones


@dataclass(frozen=True)
class Scores:
    """Energies over their mean on untouched steps, for a picture; of the moving half for kinds that need motion."""

    untouched: np.ndarray
    untouched_moving: np.ndarray
    tampered: dict[str, np.ndarray]


def surprise(level: Level, trial: Trial, s0: Tensor, seed: int = 0) -> tuple[list[Tampered], Scores | None, list[str]]:
    """Figures for each kind of tampering, from states s0 (N, D_0) of level 0; scores for a picture; notes.

    ConfigError for a model whose energies are not finite.
    """
    plain = windows(level, s0, trial.judged, MOST_STEPS)
    if len(plain.rows) < LEAST_STEPS:
        return [], None, [f'level {level.index}: surprise is not judged: {len(plain.rows)} steps can be tampered with, '
                          f'at least {LEAST_STEPS} are needed']
    generator = torch.Generator().manual_seed(seed)
    untouched, change = energies(plain)
    moving = (change >= change.median()) & (change > AT_REST * change.mean())
    if not bool(moving.any()):
        return [], None, [f'level {level.index}: surprise is not judged: s never changes']
    judge = _Judge(untouched, torch.searchsorted(trial.judged, plain.owner), moving, trial.bootstrap)
    found, scores = [], {}
    for kind in kinds(level):
        tampered, _ = energies(kind.tamper(plain, generator))
        found.append(judge(kind, tampered))
        scores[kind.name] = (tampered[judge.moving] if kind.in_motion else tampered).cpu().numpy()
    unit = max(float(untouched.mean()), 1e-30)
    before = untouched.cpu().numpy() / unit
    return found, Scores(before, before[judge.moving.cpu().numpy()], {k: v / unit for k, v in scores.items()}), []


def energies(w: Windows) -> tuple[Tensor, Tensor]:
    """Energy of the last period of each window (M,) float64, and how far s moves in it (M,), mean squared."""
    level, jepa = w.level, w.level.jepa

    def one(s: Tensor, actions: Tensor) -> Tensor:
        states = level.pooled(s)[:, ::level.period]                                     # (m, past + 2, D)
        a = jepa.action_encoder(actions[:, level.look_back:].unflatten(1, (level.past + 1, level.period)))
        now, then = states[:, -2], states[:, -1]
        if level.past and jepa.latent is None:
            memory = jepa.remember(states[:, :-2], a[:, :-1])
            energy = (jepa.predict(now, a[:, -1], memory=memory) - then).square().mean(-1)
        else:
            energy = jepa.energy(now, a[:, -1], then)
        return torch.stack([energy, (then - now).square().mean(-1)], -1)
    with torch.no_grad():
        energy, change = batched(one, w.s, w.actions).double().unbind(-1)
    if not bool(torch.isfinite(energy).all()):
        raise ConfigError(f'level {level.index}: its energies are not finite: the model is damaged, train it again')
    return energy, change


class _Judge:
    """Compares tampered with untouched energies (M,) of the same steps."""

    def __init__(self, untouched: Tensor, number: Tensor, moving: Tensor, bootstrap: Bootstrap):
        self.moving, self._moving, self._bootstrap = moving, moving.cpu().numpy(), bootstrap
        self._untouched, self._number = untouched.cpu().numpy(), number.cpu().numpy()
        self._everything = np.ones(len(untouched), bool)

    def __call__(self, kind: Kind, tampered: Tensor) -> Tampered:
        scores, every = tampered.cpu().numpy(), self._everything
        which = self._moving if kind.in_motion else every
        found = self._bootstrap.detected(scores[which], self._number[which], self._untouched[which],
                                         self._number[which])
        auroc = self._auroc(scores, which)
        return Tampered(kind.name, auroc, found, self._auroc(scores, every) if kind.in_motion else auroc,
                        kind.in_motion, int(which.sum()))

    def _auroc(self, scores: np.ndarray, which: np.ndarray) -> Figure:
        number = self._number[which]
        return self._bootstrap.auroc(scores[which], number, self._untouched[which], number)
