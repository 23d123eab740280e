"""Distances D between states: the energy of a pair (LeCun §4.4, eq. 10; Dawid §3.1).

An energy is low when its arguments are compatible. Every function maps (..., D), (..., D) -> (...).
"""
from collections.abc import Callable

import torch
from torch import Tensor

from jepa_ros.registry import Registry

Distance = Callable[[Tensor, Tensor], Tensor]
DISTANCES: Registry[Distance] = Registry('distance')


@DISTANCES.register('squared')
def squared(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference, so that its size does not depend on D."""
    return (a - b).square().mean(-1)


@DISTANCES.register('euclidean')
def euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Root of `squared`: keeps a slope far from the goal, where a square would drown the other terms."""
    return (squared(a, b) + 1e-12).sqrt()


@DISTANCES.register('cosine')
def cosine(a: Tensor, b: Tensor) -> Tensor:
    """1 − cos of the angle between both."""
    return 1 - torch.nn.functional.cosine_similarity(a, b, dim=-1)


@DISTANCES.register('manhattan')
def manhattan(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference: a single dimension that is far off counts once, not squared."""
    return (a - b).abs().mean(-1)


@DISTANCES.register('huber')
def huber(a: Tensor, b: Tensor) -> Tensor:
    """Mean of √(1 + difference²) − 1: half of `squared` near 0, `manhattan` far away, smooth everywhere."""
    return ((1 + (a - b).square()).sqrt() - 1).mean(-1)
