"""States of all recorded steps at every level, and the rows of the data that levels above the first are trained on."""
import torch
from torch import Tensor

from jepa_ros.training.data import EpisodeSet
from jepa_ros.world_model.hjepa import HJEPA


@torch.no_grad()
def encode_all(model: HJEPA, data: EpisodeSet, batch: int = 1024) -> Tensor:
    """States (N, D) float32 of all steps, at level 0."""
    parts = []
    for first in range(0, data.steps, batch):
        taken = data.take(torch.arange(first, min(first + batch, data.steps), device=data.device))
        parts.append(model.encode(taken.percepts, taken.valid).float())
    return torch.cat(parts)


@torch.no_grad()
def level_states(model: HJEPA, data: EpisodeSet, s: Tensor, level: int, batch: int = 8192) -> Tensor:
    """States (N, D_l) float32 of all steps at `level`, from those of level 0 (N, D).

    Before the first step of an episode the world is taken to have stood still.
    """
    for index in range(1, level + 1):
        n, spacing = model.windows[index], model.levels[index - 1].period
        if n > 1:
            rows = rows_before(data, torch.arange(len(s), device=s.device), n, spacing)
            s = torch.cat([model.pool(index, s[some]).float() for some in rows.split(batch)])
    return s


def rows_before(data: EpisodeSet, rows: Tensor, n: int, spacing: int) -> Tensor:
    """For each of `rows` (...): itself and the n − 1 rows before it, `spacing` apart, oldest first, (..., n).

    None is before the first of its episode.
    """
    first = torch.arange(data.steps, device=rows.device)
    for start, length in zip(data.starts.tolist(), data.lengths.tolist()):
        first[start:start + length] = start
    back = spacing * torch.arange(n - 1, -1, -1, device=rows.device)
    return torch.maximum(rows[..., None] - back, first[rows][..., None])
