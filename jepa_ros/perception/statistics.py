"""Mean and standard deviation of a sensor's training data, for `set_statistics` of its encoder."""
import torch
from torch import Tensor

from jepa_ros.perception.base import IMAGE, kind_of, VECTOR


def measure(values: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rows (N, *shape) of one sensor, `valid` (N,) bool of them -> mean and standard deviation.

    Images: (C,) on a 0…1 scale. Distances: (1,) in m, of what was measured only. Vectors: (n,). Where nothing valid is
    in them, 0 and 1: the encoder then takes its sensor as it is.
    """
    kind = kind_of(tuple(values.shape[1:]), not values.is_floating_point())
    if valid is not None:
        values = values[valid]
    if kind == IMAGE:
        columns = values.flatten(0, 2).double() / 255
    elif kind == VECTOR:
        columns = values.double()
    else:
        columns = values[:, 0][values[:, 1] > 0.5].double()[:, None]
    if not len(columns):
        return torch.zeros(columns.shape[1]), torch.ones(columns.shape[1])
    return columns.mean(0).float(), columns.std(0, correction=0).float()
