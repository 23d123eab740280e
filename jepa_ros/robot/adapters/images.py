"""Images: sensor_msgs/Image and CompressedImage as uint8 (H, W, 3) RGB or (H, W, 1) grey, or float32 (2, H, W) depth.

Depth is like a scan: channel 0 in metres, 0.0 where invalid, channel 1 its validity. OpenCV is loaded with the first
image, so that what handles none (the command gate) starts without it. Names that say no colours are taken as
cv_bridge's `passthrough` writes them: 8UC1 as mono8, 8UC3 as bgr8. mono16 is scaled to mono8, 65535 to 255; where it
is depth, as some cameras call it, its publisher has to say 16UC1. A JPEG that is at least twice as large as its
tensor is decoded at a half, quarter or eighth of its size: cheaper, and the same live and from bags.
"""
from typing import NamedTuple

import numpy as np

from ...errors import ContractError
from .compressed import decode_colour, decode_depth
from .ranges import check_limits, masked
from .spec import Adapter, TensorSpec

CHANNELS = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}
# OpenCV calls a mosaic by the colours of its second row and column onwards.
BAYER = {'bayer_rggb8': 'BayerBG', 'bayer_bggr8': 'BayerRG', 'bayer_gbrg8': 'BayerGR', 'bayer_grbg8': 'BayerGB'}
PLAIN = {'8UC1': 'mono8', '8UC3': 'bgr8'}   # what OpenCV calls a picture -> what it is, if nothing else is said
PACKED = {'yuv422': 'UYVY', 'uyvy': 'UYVY', 'yuv422_yuy2': 'YUYV', 'yuyv': 'YUYV'}  # 2 bytes a pixel -> their order
DEEP_GREY = 'mono16'
COLOURS = (*CHANNELS, *PLAIN, *BAYER, *PACKED, DEEP_GREY)
DEPTHS = {'16UC1': ('u2', 0.001), '32FC1': ('f4', 1.0)}      # element, its size in m
SMALLEST = 8            # pixels a side: less is no image to an encoder
_SMALLEST_MOSAIC = 4    # OpenCV leaves the border of smaller ones black


class Pixels(NamedTuple):
    """A picture as it came: (h, w, channels) uint8, rows may be padded; `order` is a key of `CHANNELS`."""

    data: np.ndarray
    order: str


def image(observation, message) -> np.ndarray:
    """sensor_msgs/Image -> the observation's tensor, a new contiguous array."""
    if observation.encoding == 'depth':
        return depth(observation, _raw_depth(observation.topic, message))
    return fit(observation, raw_pixels(observation.topic, message))


def compressed_image(observation, message) -> np.ndarray:
    """sensor_msgs/CompressedImage with JPEG or PNG data -> the observation's tensor, a new contiguous array."""
    if observation.encoding == 'depth':
        return depth(observation, decode_depth(observation.topic, message))
    return fit(observation, compressed_pixels(observation, message))


def image_spec(observation) -> TensorSpec:
    """(H, W, 3) or (H, W, 1) uint8, or (2, H, W) float32 for depth."""
    height, width, encoding = observation.height, observation.width, observation.encoding
    if min(height, width) < SMALLEST:
        raise ContractError(f'an image of {width}×{height} is too small, at least {SMALLEST}×{SMALLEST} are needed')
    if encoding == 'depth':
        check_limits(observation)
        return TensorSpec((2, height, width), np.dtype(np.float32))
    if observation.range_min_m is not None or observation.range_max_m is not None:
        raise ContractError(f'range_min_m and range_max_m belong to encoding depth, not to {encoding}')
    return TensorSpec((height, width, 1 if encoding == 'mono8' else 3), np.dtype(np.uint8))


def compressed_pixels(observation, message) -> Pixels:
    """Decoded picture, at reduced size where the tensor is smaller still."""
    return Pixels(*decode_colour(observation, message))


def raw_pixels(topic: str, message) -> Pixels:
    """The message's own bytes as a picture, without a copy; a mosaic or YUV becomes colours, 16 bits become 8."""
    encoding = PLAIN.get(message.encoding, message.encoding)
    if encoding in PACKED:
        return _packed(topic, message)
    if encoding == DEEP_GREY:
        deep = _view(topic, message, 1, ('>' if message.is_bigendian else '<') + 'u2')
        return Pixels(((deep.astype(np.uint32) + 128) // 257).astype(np.uint8), 'mono8')    # rounded
    if encoding in BAYER:
        mosaic = _view(topic, message, 1, 'u1')[:, :, 0]
        if min(mosaic.shape) < _SMALLEST_MOSAIC:
            raise ContractError(f'{topic}: {message.width}×{message.height} is too small for {encoding}')
        import cv2
        return Pixels(cv2.cvtColor(mosaic, getattr(cv2, f'COLOR_{BAYER[encoding]}2RGB')), 'rgb8')
    if encoding not in CHANNELS:
        hint = 'set encoding: depth in the robot contract' if encoding in DEPTHS else \
            f'{", ".join(COLOURS)} are'
        raise ContractError(f'{topic}: encoding {encoding!r} is not supported; {hint}')
    return Pixels(_view(topic, message, CHANNELS[encoding], 'u1'), encoding)


def _packed(topic: str, message) -> Pixels:
    """YUV 4:2:2, whose pixels share their colour two by two, as RGB."""
    if message.width % 2:
        raise ContractError(f'{topic}: {message.encoding} needs an even width, not {message.width}')
    import cv2
    pixels = _view(topic, message, 2, 'u1')
    return Pixels(cv2.cvtColor(pixels, getattr(cv2, f'COLOR_YUV2RGB_{PACKED[message.encoding]}')), 'rgb8')


def fit(observation, pixels: Pixels) -> np.ndarray:
    """uint8 (H, W, 3) RGB or (H, W, 1) grey of the observation's size, averaged over areas; always a new array."""
    import cv2
    height, width, grey = observation.height, observation.width, observation.encoding == 'mono8'
    data, order = pixels
    if data.shape[:2] != (height, width):
        data = cv2.resize(data, (width, height), interpolation=cv2.INTER_AREA)
    target, source = 'GRAY' if grey else 'RGB', 'GRAY' if order == 'mono8' else order[:-1].upper()
    if source != target:    # after the resize: fewer pixels
        data = cv2.cvtColor(data, getattr(cv2, f'COLOR_{source}2{target}'))
    data = data.reshape(height, width, 1 if grey else 3)
    owned = data.flags.c_contiguous and not np.may_share_memory(data, pixels.data)
    return data if owned else np.array(data, order='C')


def depth(observation, metres: np.ndarray) -> np.ndarray:
    """(h, w) float32 in m -> (2, H, W), each cell the pixel at its centre: averages would invent distances at edges."""
    rows, columns = (_centres(have, want) for have, want in zip(metres.shape, (observation.height, observation.width)))
    high = np.inf if observation.range_max_m is None else observation.range_max_m
    return masked(metres[rows[:, None], columns], observation.range_min_m or 0.0, high)


def _centres(have: int, want: int) -> np.ndarray:
    return ((2 * np.arange(want) + 1) * have // (2 * want)).astype(np.intp)


def _raw_depth(topic: str, message) -> np.ndarray:
    if message.encoding not in DEPTHS:
        raise ContractError(f'{topic}: encoding {message.encoding!r} is no depth; {", ".join(DEPTHS)} are')
    element, unit_m = DEPTHS[message.encoding]
    raw = _view(topic, message, 1, ('>' if message.is_bigendian else '<') + element)[:, :, 0]
    return raw * np.float32(unit_m) if element == 'u2' else raw.astype(np.float32)


def _view(topic: str, message, channels: int, element: str) -> np.ndarray:
    """(h, w, channels) of the message's bytes without padding; `ContractError` where they contradict the header."""
    height, width, size = message.height, message.width, len(message.data)
    item = np.dtype(element).itemsize
    row = message.step or width * channels * item
    if width > 0 and row < width * channels * item:
        raise ContractError(f'{topic}: step {row} is less than the {width * channels * item} bytes of a row of '
                            f'{width} pixels {message.encoding}')
    if height < 1 or width < 1 or size != row * height:
        raise ContractError(f'{topic}: data has {size} bytes, {width}×{height} {message.encoding} with step {row} '
                            f'needs {row * height}')
    return np.ndarray((height, width, channels), element, memoryview(message.data).cast('B'),
                      strides=(row, channels * item, item))


_MAY = ('encoding', 'range_min_m', 'range_max_m')
IMAGE = Adapter(image, image_spec, needs=('height', 'width'), may=_MAY)
COMPRESSED_IMAGE = Adapter(compressed_image, image_spec, needs=('height', 'width'), may=_MAY)
