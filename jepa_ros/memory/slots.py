"""LeCun's equations 15–20 for many memories at once: what a predictor is trained through (§4.9).

`AssociativeMemory` is one memory that grows; here a batch of sequences, robots or candidates has one each, of a fixed
number of slots, so that whole windows can be written and read within one computation graph.
"""
from typing import NamedTuple

import torch
from torch import Tensor

from jepa_ros.energy.distance import squared

EMPTY = 1e9         # writes ago, of a slot that was never written


class Slots(NamedTuple):
    """n slots with any leading dimensions. What `write` returns are new tensors: a memory is never changed."""

    keys: Tensor        # (..., n, K)
    values: Tensor      # (..., n, V)
    held: Tensor        # (..., n) how much of a match a slot counts: 0 while it is empty, up to 1
    age: Tensor         # (..., n) writes since it was written

    @classmethod
    def empty(cls, leading: tuple[int, ...], count: int, key: int, value: int, like: Tensor) -> 'Slots':
        """`count` empty slots, of the type of `like`."""
        return cls(like.new_zeros(*leading, count, key), like.new_zeros(*leading, count, value),
                   like.new_zeros(*leading, count), like.new_full((*leading, count), EMPTY))


def match(slots: Slots, query: Tensor, beta: Tensor | float) -> Tensor:
    """c̃ (..., n) of queries (..., K): the Gibbs factor of the distance (eq. 16), 0 for empty slots."""
    return slots.held * torch.exp(-beta * squared(slots.keys, query.unsqueeze(-2)))


def read(slots: Slots, query: Tensor, beta: Tensor | float, gamma: Tensor | float) -> tuple[Tensor, Tensor]:
    """Mem(q) = Σ c_j v_j (..., V) of queries (..., K), and how sure it is, Σ c_j (...) (eq. 15–17)."""
    c = _normalised(match(slots, query, beta), gamma)
    return torch.einsum('...n,...nv->...v', c, slots.values), c.sum(-1)


def write(slots: Slots, key: Tensor, value: Tensor, beta: Tensor | float, gamma: Tensor | float,
          worth: Tensor | None = None) -> Slots:
    """v_j = c_j r + (1 − c_j) v_j, or a slot of its own for a key (..., K) that is far from all (eq. 18–20).

    value (..., V). worth (...), 0…1: how much the value is worth remembering; c_j is scaled by it, and a slot of its
    own counts as much. None: 1. The slot that was written longest ago is used again when none is empty.
    """
    worth = torch.ones_like(slots.held[..., 0]) if worth is None else worth
    found = match(slots, key, beta)
    new = (found < gamma).all(-1, keepdim=True)                             # (..., 1)
    c = _normalised(found, gamma) * worth.unsqueeze(-1)
    places = torch.arange(found.shape[-1], device=found.device)
    oldest = places == slots.age.argmax(-1, keepdim=True)
    nearest = places == c.argmax(-1, keepdim=True)
    own = new & oldest                                                      # (..., n) bool
    c = torch.where(own, torch.ones_like(c), torch.where(new, torch.zeros_like(c), c)).unsqueeze(-1)
    return Slots(
        torch.where(own.unsqueeze(-1), key.unsqueeze(-2), slots.keys),
        c * value.unsqueeze(-2) + (1 - c) * slots.values,
        torch.where(own, worth.unsqueeze(-1), slots.held),
        torch.where(torch.where(new, own, nearest), torch.zeros_like(slots.age), slots.age + 1))


def _normalised(match: Tensor, gamma: Tensor | float) -> Tensor:
    return match / (gamma + match.sum(-1, keepdim=True))
