"""Watches a running training for collapse (LeCun §4.5, Fig. 13; Dawid §4.2): warns first, then stops with the reason.

The loss does not show it: a constant s predicts itself perfectly. Effective rank and standard deviations of s do, and
so does what s still says about the actions, and a latent that is ignored, or carries everything.
"""
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from jepa_ros.energy.information import verdict
from jepa_ros.training.losses.regularisers import effective_rank

DEAD = 0.01     # of the largest standard deviation: a dimension that varies less carries nothing


@dataclass(frozen=True)
class Figures:
    """What a probe has measured on its fixed batch; None: there is no such thing to measure."""

    effective_rank: float
    std_mean: float                     # of the dimensions' standard deviations
    std_min: float
    dead_share: float                   # of the dimensions
    inverse_error: float | None = None  # share of the actions' variance that inverse dynamics misses
    used_codes: float | None = None     # share of a discrete latent's values that are in use
    latent: dict[str, float] = field(default_factory=dict)      # numbers of energy.information.LatentUsage
    latent_faults: tuple[str, ...] = ()

    def numbers(self) -> dict[str, float]:
        own = {k: v for k, v in asdict(self).items() if isinstance(v, float)}
        return own | {f'latent_{k}': v for k, v in self.latent.items()}


@dataclass(frozen=True)
class Limits:
    """Beyond these a representation is taken to have collapsed."""

    min_effective_rank: float = 4.0
    min_std: float = 0.2                # of std_mean
    max_dead_share: float = 0.5
    max_inverse_error: float = 0.9      # a running training is given more room than a finished one
    min_used_codes: float = 0.1


@torch.no_grad()
def measure(s: Tensor, actions: Tensor | None = None, inferred: Tensor | None = None,
            latent: dict[str, float] | None = None, capacity_bits: float = 0.0,
            used_codes: float | None = None) -> Figures:
    """Figures of states s (..., D), of actions and inverse dynamics' guesses of them (..., A), and of a latent."""
    s = s.flatten(0, -2).float()
    std = s.std(0)
    wrong = None
    if actions is not None and inferred is not None:
        wrong = float((inferred.float() - actions).square().mean() / actions.var())
    return Figures(
        effective_rank(s), float(std.mean()), float(std.min()),
        float((std <= DEAD * std.max()).float().mean()), wrong, used_codes, latent or {},
        tuple(verdict(latent, capacity_bits)) if latent else ())


def faults(figures: Figures, limits: Limits) -> dict[str, str]:
    """One line for each figure beyond its limit: value, limit, what to raise. What is not a number is beyond."""
    lines = {}
    for name, value, limit, above, shown, remedy in (
            ('effective rank of s', figures.effective_rank, limits.min_effective_rank, True, '.2f',
             'raise the weight of covariance, variance or SIGReg'),
            ('mean standard deviation of s', figures.std_mean, limits.min_std, True, '.3g',
             'raise the weight of variance or SIGReg'),
            ('share of dead dimensions of s', figures.dead_share, limits.max_dead_share, False, '.2f',
             'raise the weight of variance or SIGReg, or lower dim'),
            ('share of the actions that inverse dynamics misses', figures.inverse_error, limits.max_inverse_error,
             False, '.2f', 'raise the weight of inverse or of the variance within episodes'),
            ("share of the latent's values in use", figures.used_codes, limits.min_used_codes, True, '.2f',
             "raise the weight of the latent's regulariser")):
        if value is not None and not (value >= limit if above else value <= limit):
            lines[name] = f'{name} is {value:{shown}}, {"under" if above else "over"} {limit:g}: {remedy}'
    return lines | {line.split(':')[0]: line for line in figures.latent_faults}


@dataclass
class Look:
    """One check: figures for the log, new warnings, and the reason to stop if there is one."""

    figures: dict[str, float]
    warnings: list[str] = field(default_factory=list)
    stop: str | None = None


class Monitor:
    """Every `every` updates from `grace` on; stops after `patience` bad checks in a row of the same cause.

    Before `grace` figures are only logged: every training begins with a poor representation.
    """

    def __init__(self, probe: Callable[[], Figures], limits: Limits | None = None, every: int = 200,
                 grace: int = 1000, patience: int = 3):
        self.limits, self.every, self.grace, self.patience = limits or Limits(), every, grace, patience
        self._probe = probe
        self.state: dict[str, dict[str, int]] = {'streaks': {}, 'warned': {}}   # kept in checkpoints

    def look(self, update: int) -> Look:
        """Measure and judge; the probe's random numbers are its own."""
        devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices):
            figures = self._probe()
        look = Look(figures.numbers())
        if update < self.grace:
            return look
        found = faults(figures, self.limits)
        streaks = self.state['streaks']
        self.state['streaks'] = {cause: streaks.get(cause, 0) + 1 for cause in found}
        for cause, line in found.items():
            if cause not in self.state['warned']:
                self.state['warned'][cause] = update
                look.warnings.append(line)
        lasting = [cause for cause, times in self.state['streaks'].items() if times >= self.patience]
        if lasting:
            look.stop = f'{"; ".join(found[cause] for cause in lasting)} ({self.patience} checks in a row)'
        return look
