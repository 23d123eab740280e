"""One level of a model over recorded episodes: its states, its periods, its rollouts. What all figures are made of.

N steps end to end, E episodes, M windows, D the level's dimension, K its period in control steps.
"""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepa_ros.training.data import EpisodeSet
from jepa_ros.world_model.hjepa import HJEPA
from jepa_ros.world_model.jepa import JEPA

MOST_PAST = 8           # periods before the present that a predictor with memory is shown
MOST_WINDOWS = 4096     # evenly taken from all there are: more would only cost time
BATCH = 1024            # windows that are rolled out at once


@dataclass(frozen=True)
class Level:
    """A level and its states s (N, D) at every control step of `data`."""

    model: HJEPA
    index: int
    data: EpisodeSet
    s: Tensor
    control_period_s: float = 1.0

    @property
    def jepa(self) -> JEPA:
        return self.model.levels[self.index]

    @property
    def period(self) -> int:
        """K, control steps of one prediction."""
        return self.jepa.period

    @property
    def step_s(self) -> float:
        """Seconds of one prediction."""
        return self.period * self.control_period_s

    @property
    def past(self) -> int:
        """Periods before the present that Pred is shown."""
        return min(self.jepa.context - 1, MOST_PAST)

    @property
    def look_back(self) -> int:
        """Control steps before t that s_t of this level is made of, beside t itself."""
        return sum((self.model.windows[above] - 1) * self.model.levels[above - 1].period
                   for above in range(1, self.index + 1))

    def windows(self, episodes: Tensor, before: int, after: int, most: int = MOST_WINDOWS) -> tuple[Tensor, Tensor]:
        """Steps t (M,) with `before` steps of their episode behind and `after` ahead, and their episodes (M,).

        None are there where no episode is long enough; `most` of them are taken, evenly.
        """
        steps, owners = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.int64)]
        for e in episodes.tolist():
            first, length = int(self.data.starts[e]), int(self.data.lengths[e])
            if length > before + after:
                steps.append(torch.arange(first + before, first + length - after))
                owners.append(torch.full((len(steps[-1]),), e))
        t, owner = (torch.cat(x).to(self.s.device) for x in (steps, owners))
        if len(t) > most:
            chosen = torch.linspace(0, len(t) - 1, most, device=t.device).round().long()
            t, owner = t[chosen], owner[chosen]
        return t, owner

    def macro(self, t: Tensor, periods: int) -> Tensor:
        """What Pred is conditioned on over the periods after steps t (M,): (M, periods, C)."""
        return self.jepa.action_encoder(self.raw_actions(t, periods))

    def raw_actions(self, t: Tensor, periods: int) -> Tensor:
        """Actions (M, periods, K, A) over the periods after steps t (M,)."""
        index = t[:, None] + torch.arange(periods * self.period, device=t.device)
        return self.data.actions[index].unflatten(1, (periods, self.period))

    @torch.no_grad()
    def rollout(self, t: Tensor, periods: int) -> Tensor:
        """States (M, periods, D) foreseen from steps t (M,) under the actions that were taken."""
        def one(t: Tensor) -> Tensor:
            memory = None
            if self.past:
                before = t[:, None] + self.period * torch.arange(-self.past, 0, device=t.device)     # (M, past)
                taken = self.jepa.action_encoder(self.data.actions[
                    before[..., None] + torch.arange(self.period, device=t.device)])
                memory = self.jepa.remember(self.s[before], taken)
            return self.jepa.rollout(self.s[t], self.macro(t, periods), memory=memory)
        return batched(one, t)

    def pooled(self, s: Tensor) -> Tensor:
        """Level-0 states (..., W, D_0) one control step apart -> this level's states (..., W − look_back, D)."""
        for level in range(1, self.index + 1):
            n, apart = self.model.windows[level], self.model.levels[level - 1].period
            if n > 1:
                last = torch.arange((n - 1) * apart, s.shape[-2], device=s.device)
                window = last[:, None] + apart * torch.arange(1 - n, 1, device=s.device)
                s = self.model.pool(level, s[..., window, :])
        return s


def batched(function: Callable[..., Tensor], *rows: Tensor, size: int = BATCH) -> Tensor:
    """`function` of M rows, `size` of them at a time."""
    return torch.cat([function(*(x[i:i + size] for x in rows)) for i in range(0, len(rows[0]), size)])


def per_judged(values: Tensor, owner: Tensor, judged: Tensor) -> np.ndarray:
    """Sums (T, ...) float64 of values (M, ...) over the windows of each judged episode (T,), in ascending order."""
    values = values.to(owner.device).double()
    sums = torch.zeros((len(judged), *values.shape[1:]), dtype=torch.float64, device=owner.device)
    return sums.index_add_(0, torch.searchsorted(judged, owner), values).cpu().numpy()
