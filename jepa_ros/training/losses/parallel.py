"""Sums, means and gatherings over the processes of a data-parallel run, exact in value and in gradient.

DDP and FSDP average parameter gradients over the ranks. The mean of the losses of parts of a batch is not the loss of
the batch: a variance, a covariance, a Gaussianity test or a contrastive loss needs statistics of the whole. So each
rank computes the loss of the *joined* batch. A gradient through a collective is the sum of what the losses of all W
ranks send back, W times that of one loss; the average over the ranks divides by W again. (The common faults: a
collective that autograd does not see loses the factor W, a mean of local losses weighs ranks of unequal batches alike.)

With one process, or none initialised, every function is the plain local one.
"""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed, Tensor

_alone = False


def world_size() -> int:
    """Processes whose batches are joined."""
    if _alone or not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size()


@contextmanager
def alone() -> Iterator[None]:
    """Losses of this rank's batch only, where the other ranks do not take part: an evaluation on one of them."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, sizes: list[int]) -> Tensor:
        padded = x.new_zeros(max(sizes), *x.shape[1:])      # collectives want equal shapes
        padded[:len(x)] = x
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        ctx.mine = slice(_first_row(sizes), _first_row(sizes) + len(x))
        return torch.cat([part[:size] for part, size in zip(parts, sizes)])

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradient)[ctx.mine], None


def _first_row(sizes: list[int]) -> int:
    return sum(sizes[:distributed.get_rank()])


def _sum(x: Tensor) -> Tensor:
    return _Sum.apply(x)


def _gather(x: Tensor) -> tuple[Tensor, int]:
    mine = torch.tensor([len(x)], device=x.device)
    counts = [torch.empty_like(mine) for _ in range(world_size())]
    distributed.all_gather(counts, mine)
    sizes = torch.cat(counts).tolist()
    return _Gather.apply(x, sizes), _first_row(sizes)


def sum_over_ranks(x: Tensor) -> Tensor:
    """Element-wise sum of the ranks' x (...), which have one shape."""
    return x if world_size() == 1 else _sum(x)


def mean_over_ranks(x: Tensor) -> Tensor:
    """Mean of all elements of all ranks' x, a scalar; the ranks may hold unequal numbers."""
    if world_size() == 1:
        return x.mean()
    total, count = _sum(torch.stack([x.sum(), x.new_tensor(x.numel())]))
    return total / count


def centre_over_ranks(x: Tensor) -> tuple[Tensor, Tensor | int]:
    """x (N, ...) minus its mean over the first dimension of all ranks, and the N of all ranks."""
    if world_size() == 1:
        return x - x.mean(0), len(x)
    count = _sum(x.new_tensor(len(x)))
    return x - _sum(x.sum(0)) / count, count


def variance_over_ranks(x: Tensor) -> Tensor:
    """Unbiased variance of x (N, ...) over the first dimension of all ranks, (...)."""
    if world_size() == 1:
        return x.var(0)
    centred, count = centre_over_ranks(x)
    return _sum(centred.square().sum(0)) / (count - 1)


def gather_over_ranks(x: Tensor) -> tuple[Tensor, int]:
    """All ranks' x (N_r, ...) one below the other, (N, ...), and the row at which this rank's begin."""
    return (x, 0) if world_size() == 1 else _gather(x)


def same_on_all_ranks(x: Tensor) -> Tensor:
    """Rank 0's x, for random numbers that all ranks must share; no gradient."""
    if world_size() > 1:
        x = x.contiguous()
        distributed.broadcast(x, 0)
    return x
