"""What all encoders share: the registry, the kinds of sensor tensors, normalisation (LeCun §4.4, Enc).

An encoder is `Enc(shape, dim, task_dim=0, **options)`; `forward(x, task=None)` makes x (B, *shape) a state (B, dim).
`KINDS` of the class says which tensors it takes, as `robot/adapters` shape them.
"""
from typing import ClassVar

import torch
from torch import nn, Tensor

from jepa_ros.errors import ContractError
from jepa_ros.registry import Registry

ENCODERS: Registry[type[nn.Module]] = Registry('encoder')

IMAGE = 'image'              # (H, W, C) uint8
RANGE_IMAGE = 'range image'  # (2, H, W) float32: metres and validity of depth images and point clouds
SCAN = 'scan'                # (2, beams) float32: metres and validity
VECTOR = 'vector'            # (n,) float32

_LEAST_STD = 1e-3            # a number that never changes in the data is not divided by zero


def kind_of(shape: tuple[int, ...], integers: bool) -> str:
    """Kind of a sensor's tensor by `adapters.tensor_spec`; `ContractError` where it is none of them.

    `integers`: the tensor is uint8.
    """
    if integers and len(shape) == 3:
        return IMAGE
    if not integers and len(shape) == 3 and shape[0] == 2:
        return RANGE_IMAGE
    if not integers and len(shape) == 2 and shape[0] == 2:
        return SCAN
    if not integers and len(shape) == 1:
        return VECTOR
    raise ContractError(f'no encoder takes a {"uint8" if integers else "float"} tensor of shape {shape}: images are '
                        'uint8 (H, W, C), distances float (2, beams) or (2, H, W) with their validity, all else (n,)')


class SensorEncoder(nn.Module):
    """Base of encoders: what they take, and the mean and standard deviation that normalise it.

    `statistics` is the shape of both buffers, broadcast against x as `forward` sees it.
    """

    KINDS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, shape: tuple[int, ...], dim: int, task_dim: int, statistics: tuple[int, ...],
                 mean: float = 0.0, std: float = 1.0):
        super().__init__()
        self.shape, self.dim, self.task_dim = tuple(shape), dim, task_dim
        self.register_buffer('mean', torch.full(statistics, mean))
        self.register_buffer('std', torch.full(statistics, std))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Mean and standard deviation of the training data, as `statistics.measure` gives them."""
        for values in (mean, std):
            if values.numel() != self.mean.numel():
                raise ContractError(f'statistics of {values.numel()} numbers for a sensor that has {self.mean.numel()}')
        self.mean.copy_(mean.view_as(self.mean))
        self.std.copy_(std.view_as(self.std).clamp_min(_LEAST_STD))

    def standardise(self, x: Tensor) -> Tensor:
        """(x − mean) / std in float32: bfloat16 would lose digits of a number whose mean exceeds its deviation."""
        return (x.float() - self.mean.float()) / self.std.float()


class ImageEncoder(SensorEncoder):
    """Base of image encoders: images (B, H, W, C) uint8, or (B, C, H, W) float that the GPU normalised at intake."""

    KINDS = (IMAGE,)

    def __init__(self, shape: tuple[int, int, int], dim: int, task_dim: int):
        super().__init__(shape, dim, task_dim, (1, shape[2], 1, 1), 0.5, 0.25)

    def pixels(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """Normalised (B, C, H, W) of type `dtype`."""
        if not images.is_floating_point():
            images = self.standardise(images.permute(0, 3, 1, 2).float() / 255)
        return images.to(dtype)
