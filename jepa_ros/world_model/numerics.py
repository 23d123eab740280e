"""How rollouts of a planner are computed: precision, compilation, threads."""
from dataclasses import dataclass
import os

import torch
from torch import nn

from jepa_ros.errors import ConfigError
from jepa_ros.registry import nearest

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16}
AUTO = 'auto'
# Numbers in a model's largest matrix from which on another thread gains more than handing over costs. On a busy machine
# each product waits for a thread that does not run: with two, a model of 384 × 384 planned for half a second.
_SHARED_FROM = 1 << 19


@dataclass(frozen=True)
class Numerics:
    """`precision`: fp32, bf16, or auto, which is bf16 where the processor has instructions for it.

    `compiled` rollouts go through torch.compile: slow at first use, and on a CPU it needs a C++ compiler.
    A predictor without a fast form computes as it is, whatever is asked for here.
    """

    precision: str = 'fp32'
    compiled: bool = False

    def __post_init__(self) -> None:
        known = (*PRECISIONS, AUTO)
        if self.precision not in known:
            raise ConfigError(f'precision {self.precision!r} is unknown{nearest(self.precision, known)}; known: '
                              f'{", ".join(known)}')

    def dtype(self, device: torch.device) -> torch.dtype:
        """The numbers that large products take on this device."""
        if self.precision == AUTO:
            return torch.bfloat16 if _quick_in_bf16(device) else torch.float32
        return PRECISIONS[self.precision]


EXACT = Numerics()


def _quick_in_bf16(device: torch.device) -> bool:
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # not in every version of torch, False on processors that are not x86
    checks = [getattr(torch.cpu, name, None) for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported')]
    return device.type == 'cpu' and any(check() for check in checks if check is not None)


def threads(model: nn.Module, cores: int | None = None) -> int:
    """CPU threads to plan with: all cores this process may use, or 1 where the matrices are too small to share."""
    largest = max((p.numel() for p in model.parameters() if p.dim() > 1), default=0)
    return (cores or len(os.sched_getaffinity(0))) if largest >= _SHARED_FROM else 1


def fingerprint(module: nn.Module) -> tuple[tuple[int, int], ...]:
    """Is another one when any parameter or buffer has been replaced or written to since."""
    return tuple((x.data_ptr(), 0 if x.is_inference() else x._version)
                 for x in (*module.parameters(), *module.buffers()))
