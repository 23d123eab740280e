"""Linear maps for planning: folded into one another in float64, then laid out for the processor's own routine.

Nearly all of a plan on a CPU is products of some hundred rows with matrices that do not change. oneDNN lays such a
matrix out once; on an AMD EPYC it then multiplies 2.4 times as fast as MKL, in bf16 4.5 times (300 × 192 × 3072 on one
core: 97, 235 and 450 GFLOP/s). int8 is left out: with what it costs to quantise the inputs and to activate the outputs
it is 1.3 times as fast as bf16, and far less exact.
"""
import torch
from torch import nn, Tensor
from torch.nn.functional import gelu, linear

Affine = tuple[Tensor, Tensor]      # weight (outputs, inputs) and bias (outputs,) in float64


def affine(layer: nn.Module) -> Affine:
    """A Linear; of a LayerNorm, or a BatchNorm1d as it evaluates, what it does to numbers it has normalised."""
    if isinstance(layer, nn.Linear):
        weight = layer.weight.double()
        return weight, weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.double()
    scale, shift = layer.weight.double(), layer.bias.double()
    if isinstance(layer, nn.BatchNorm1d):       # its mean and variance are those of training: part of the map
        scale = scale * torch.rsqrt(layer.running_var.double() + layer.eps)
        shift = shift - scale * layer.running_mean.double()
    return torch.diag(scale), shift


def chain(*maps: Affine) -> Affine:
    """One map for several, the first applied first."""
    weight, bias = maps[0]
    for following in maps[1:]:
        weight, bias = following[0] @ weight, following[0] @ bias + following[1]
    return weight, bias


class Map:
    """x (..., inputs) -> x Wᵀ + b (..., outputs), computed and given in `dtype`; then GELU where it is asked for."""

    def __init__(self, made: Affine, dtype: torch.dtype = torch.float32, activated: bool = False):
        self._dtype, self._activated = dtype, activated
        self._weight, self._bias = (t.to(dtype).contiguous() for t in made)
        self._packed = _packs(self._weight)
        if self._packed:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(self._weight)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self._dtype)
        if self._packed:
            kind, algorithm = ('gelu', 'none') if self._activated else ('none', '')     # gelu: none is the exact one
            return torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, kind, [], algorithm)
        y = linear(x, self._weight, self._bias)
        return gelu(y) if self._activated else y


def _packs(weight: Tensor) -> bool:
    """Whether oneDNN takes such a matrix (torch on x86 has it, elsewhere it may be missing)."""
    return weight.device.type == 'cpu' and torch.backends.mkldnn.is_available() \
        and hasattr(torch.ops.mkldnn, '_linear_pointwise') \
        and (weight.dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported())
