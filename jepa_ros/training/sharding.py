"""Weights that are split over the ranks (FSDP, PyTorch's fully_shard), and put together again."""
import torch
from torch import nn, Tensor

from jepa_ros.errors import TrainingError


def shard(module: nn.Module, mesh) -> nn.Module:
    """One unit: a module is called by methods of its own (`encode`, `rollout`), which know nothing of sharded weights,
    so all weights are gathered for an update; between updates, and for the optimiser, each rank keeps its share."""
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError:
        raise TrainingError(f'--strategy fsdp needs PyTorch 2.6 or newer, this is {torch.__version__}') from None
    return fully_shard(module, mesh=mesh['data_parallel'])


def whole(t: Tensor) -> Tensor:
    """A sharded tensor put together, on all ranks at once; any other as it is."""
    return t.full_tensor() if hasattr(t, 'full_tensor') else t


def sharded_like(t: Tensor, parameter: Tensor) -> Tensor:
    """This rank's share of t, if `parameter` is sharded."""
    t = t.to(parameter.device)
    if not hasattr(parameter, 'placements'):
        return t
    from torch.distributed.tensor import distribute_tensor
    return distribute_tensor(t, parameter.device_mesh, parameter.placements)
