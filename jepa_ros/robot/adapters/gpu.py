"""Images on an NVIDIA GPU with cupy (optional): what `images.py` does on the CPU, and normalisation, in one kernel.

The picture is uploaded once, as it came. One kernel averages it down to the tensor's size, puts its channels in order
and normalises it; torch gets the result through DLPack, without a copy back. JPEG and PNG are decoded on the CPU, at
reduced size. Sums are exact integers, so a pixel differs from the CPU's by rounding only: at most 1 of 255.
"""
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from .images import compressed_pixels, fit, Pixels, raw_pixels

COMPRESSED = 'sensor_msgs/msg/CompressedImage'
IMAGES = ('sensor_msgs/msg/Image', COMPRESSED)
_ORDERS = {'rgb8': (0, 1, 2), 'bgr8': (2, 1, 0), 'rgba8': (0, 1, 2), 'bgra8': (2, 1, 0), 'mono8': (0, 0, 0)}
_BLOCK = 16     # threads a side: 256 a block

# One thread for each pixel of the tensor. It averages the box of source pixels under it: source row y covers
# [y*H, (y+1)*H) and the tensor's row i covers [i*h, (i+1)*h) of the same integer scale, and columns likewise.
SOURCE = r"""
extern "C" __global__ void ingest(
    const unsigned char* source, float* target, int h, int w, long long row, int channels, int r, int g, int b,
    int H, int W, int grey, float mean0, float mean1, float mean2, float scale0, float scale1, float scale2)
{
    const int j = blockIdx.x * blockDim.x + threadIdx.x, i = blockIdx.y * blockDim.y + threadIdx.y;
    if (i >= H || j >= W) return;
    const long long top = (long long)i * h, bottom = top + h, left = (long long)j * w, right = left + w;
    const int at[3] = {r, g, b};
    unsigned long long sum[3] = {0, 0, 0};
    for (long long y = top / H; y * H < bottom; ++y) {
        const long long above = y * H > top ? y * H : top, below = (y + 1) * H < bottom ? (y + 1) * H : bottom;
        for (long long x = left / W; x * W < right; ++x) {
            const long long from = x * W > left ? x * W : left, to = (x + 1) * W < right ? (x + 1) * W : right;
            const unsigned long long weight = (below - above) * (to - from);
            const unsigned char* pixel = source + y * row + x * channels;
            for (int c = 0; c < 3; ++c) sum[c] += weight * pixel[at[c]];
        }
    }
    const unsigned long long area = (unsigned long long)h * w;
    float value[3];
    for (int c = 0; c < 3; ++c) value[c] = (float)((sum[c] + area / 2) / area);   /* rounded, as on the CPU */
    const float mean[3] = {mean0, mean1, mean2}, scale[3] = {scale0, scale1, scale2};
    if (grey) {
        if (r != b) value[0] = floorf(0.299f * value[0] + 0.587f * value[1] + 0.114f * value[2] + 0.5f);
        target[i * W + j] = (value[0] / 255 - mean[0]) * scale[0];
        return;
    }
    for (int c = 0; c < 3; ++c) target[((long long)c * H + i) * W + j] = (value[c] / 255 - mean[c]) * scale[c];
}
"""


@cache
def unavailable() -> str:
    """Why images are not taken in on a GPU; empty when they can be."""
    try:
        import cupy
    except ImportError as error:
        return f'cupy is not installed ({error})'
    import torch
    try:
        if not torch.cuda.is_available() or cupy.cuda.runtime.getDeviceCount() == 0:
            return 'there is no CUDA device'
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f'CUDA does not work ({error})'
    return ''


class GpuImages:
    """Adapter of image observations whose tensors stay on a CUDA device.

    `mean` and `std` are of the channels on a 0…1 scale, one value or one for each channel.
    """

    def __init__(self, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,), device: int = 0):
        import cupy
        import torch
        self._cupy, self._torch, self._device = cupy, torch, device
        self._mean, self._std = mean, std
        self._kernel = cupy.RawKernel(SOURCE, 'ingest')

    def __call__(self, observation, message) -> Any:
        """Image or CompressedImage -> torch float32 (3 or 1, H, W) on the device; `ContractError` as on the CPU."""
        pixels, shape = picture(observation, message), target_shape(observation)
        with self._cupy.cuda.Device(self._device):
            source = self._cupy.asarray(flat(pixels.data))
            target = self._cupy.empty(shape, np.float32)
            grid = (-(-shape[2] // _BLOCK), -(-shape[1] // _BLOCK))
            self._kernel(grid, (_BLOCK, _BLOCK), (source, target, *arguments(pixels, shape, self._mean, self._std)))
            return self._torch.from_dlpack(target)


def target_shape(observation) -> tuple[int, int, int]:
    """(channels, H, W) of an observation's tensor on the GPU."""
    return 1 if observation.encoding == 'mono8' else 3, observation.height, observation.width


def picture(observation, message) -> Pixels:
    """What is uploaded: the message's own bytes, or its decoded file."""
    if observation.type == COMPRESSED:
        pixels = compressed_pixels(observation, message)
    else:
        pixels = raw_pixels(observation.topic, message)
    if pixels.data.shape[0] < observation.height or pixels.data.shape[1] < observation.width:
        # Enlarging is interpolation, not averaging: as the CPU does it, before the upload.
        return Pixels(fit(observation, pixels), 'mono8' if observation.encoding == 'mono8' else 'rgb8')
    return pixels


def flat(pixels: np.ndarray) -> np.ndarray:
    """The bytes of an (h, w, c) picture from the first to the last, padding between rows included, without a copy."""
    height, width, channels = pixels.shape
    if pixels.strides[1:] != (channels, 1):
        pixels = np.ascontiguousarray(pixels)
    size = (height - 1) * pixels.strides[0] + width * channels
    return np.lib.stride_tricks.as_strided(pixels, (size,), (1,), writeable=False)


def arguments(pixels: Pixels, shape: tuple[int, int, int], mean: Sequence[float], std: Sequence[float]) -> tuple:
    """The kernel's arguments behind its two arrays, in the types of its signature."""
    height, width, channels = pixels.data.shape
    scale = 1 / np.broadcast_to(np.asarray(std, float), 3)
    return (np.int32(height), np.int32(width), np.int64(pixels.data.strides[0]), np.int32(channels),
            *map(np.int32, _ORDERS[pixels.order]), np.int32(shape[1]), np.int32(shape[2]), np.int32(shape[0] == 1),
            *map(np.float32, np.broadcast_to(mean, 3)), *map(np.float32, scale))


def gpu_or(convert: Callable, mean: Sequence[float], std: Sequence[float], device: int = 0) -> Callable:
    """`convert(stream, message)` that leaves colour and grey images to the GPU where there is one."""
    if unavailable():
        return convert
    images = GpuImages(mean, std, device)

    def convert_there(stream, message) -> Any:
        on_gpu = stream.role == 'observation' and stream.type in IMAGES and stream.encoding != 'depth'
        return images(stream, message) if on_gpu else convert(stream, message)
    return convert_there
