"""How fast a stage runs and what it needs: samples/s, share of the time spent waiting for data, memory, GPU load."""
from collections.abc import Iterator
from contextlib import contextmanager, suppress
import resource
import sys
import time

import torch

GIB = 2 ** 30


class Meter:
    """Times of the host: work that a GPU still has queued counts where the host waits for it."""

    def __init__(self, device: torch.device):
        self._device = device
        self._began = self._marked = time.perf_counter()
        self._waited, self._samples, self._samples_marked = 0.0, 0, 0
        self._utilisation: list[int] = []
        if device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(device)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what fetches a batch."""
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    def count(self, samples: int) -> None:
        """Samples of all ranks."""
        self._samples += samples

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def recent(self) -> float:
        """Samples/s since the last call."""
        now = time.perf_counter()
        rate = (self._samples - self._samples_marked) / max(now - self._marked, 1e-9)
        self._marked, self._samples_marked = now, self._samples
        if self._device.type == 'cuda':
            self._utilisation += _utilisation(self._device)
        return rate

    def figures(self) -> dict[str, float]:
        """Since the beginning: samples_per_s, data_wait (share of the time), memory_gib (peak), gpu_utilisation."""
        seconds = max(self.seconds, 1e-9)
        figures = {'samples_per_s': self._samples / seconds, 'data_wait': self._waited / seconds,
                   'memory_gib': peak_memory(self._device) / GIB}
        if self._utilisation:
            figures['gpu_utilisation'] = sum(self._utilisation) / len(self._utilisation) / 100
        return figures


def peak_memory(device: torch.device) -> int:
    """Bytes: of tensors on the GPU, or of the whole process."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else 1024 * peak


def _utilisation(device: torch.device) -> list[int]:
    """Percent of the last moments in which the GPU worked; nothing without NVIDIA's library."""
    with suppress(Exception):       # it has errors of its own kind, and no figure is worth a training
        return [torch.cuda.utilization(device)]
    return []


def described(figures: dict[str, float]) -> str:
    load = f', GPU {figures["gpu_utilisation"]:.0%} busy' if 'gpu_utilisation' in figures else ''
    return (f'{figures["samples_per_s"]:,.0f} samples/s, {figures["data_wait"]:.0%} of the time for data, '
            f'{figures["memory_gib"]:.2f} GiB at most{load}')
