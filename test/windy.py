"""A world in which what is needed was seen earlier: wind from a side that only a lookout shows.

A point goes to and fro along x, 24 steps there and back. Where x > 0.3 wind blows it aside, in each episode from one of
two sides; where x < −0.3 the side can be seen. One state never tells both.
"""
import torch
from torch import Tensor

TURN = 12           # steps from one end to the other: any so many steps see the lookout, or nearly
SIDEWAYS = 2        # number of the state that the wind moves
DIM = 4             # x, direction, y, side where it is seen


def episodes(count: int, steps: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """States (count, steps, 4) and actions (count, steps − 1, 1), which push sideways too."""
    generator = torch.Generator().manual_seed(seed)
    side = torch.randint(0, 2, (count,), generator=generator) * 2.0 - 1
    phase = torch.randint(0, 2 * TURN, (count,), generator=generator)
    actions = 0.2 * torch.randn(count, steps, 1, generator=generator)
    y, states = torch.zeros(count), []
    for t in range(steps):
        at = (phase + t) % (2 * TURN)
        there = at < TURN
        x = torch.where(there, at / 6 - 1, 3 - at / 6)
        states.append(torch.stack([x, there * 2.0 - 1, y, torch.where(x < -0.3, side, 0 * side)], -1))
        y = 0.8 * y + actions[:, t, 0] + torch.where(x > 0.3, 0.5 * side, 0 * side)
    return torch.stack(states, 1), actions[:, :-1]
