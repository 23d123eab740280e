"""What memory held in recorded states, for a Mode-1 that asks it (LeCun §4.9): the states of the episode until then.

A level that recalls is given at most `past` of them, as in its own training; where the episode had fewer, its first
state stands for the missing ones, which says the same thing again.
"""
import torch
from torch import Tensor

from jepa_ros.training.imagined import past_of
from jepa_ros.world_model.jepa import JEPA
from jepa_ros.world_model.predictors import Memory


def memory_at(jepa: JEPA, s: Tensor, rows: Tensor, first: Tensor) -> Memory | None:
    """Memory (B, …) of a robot in the states s (N, D) of `rows` (B,), whose episodes begin at `first` (B,).

    None for a level that does not recall.
    """
    past = past_of(jepa)
    if not past:
        return None
    back = torch.arange(past - 1, -1, -1, device=rows.device)
    seen = s[torch.maximum(rows[:, None] - back, first[:, None])]       # (B, past, D), oldest first
    return jepa.recollect(seen, seen)


def chosen(memory: Memory | None, which: Tensor) -> Memory | None:
    """Of a memory (B, …) that of the problems `which` (M,)."""
    return None if memory is None else tuple(part[which] for part in memory)
