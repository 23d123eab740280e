"""Decoding JPEG and PNG of sensor_msgs/CompressedImage.

What the bytes are decides, not what `format` calls them ('jpeg', 'png', 'bgr8; jpeg compressed bgr8', nothing at all).
Of `format` only two things are believed: that colours were compressed in the order R, G, B ('… compressed rgb8': the
decoder, which takes them for B, G, R, swaps them), and 'compressedDepth', whose PNG follows 12 bytes of parameters.
"""
import struct

import numpy as np

from ...errors import ContractError

JPEG, PNG = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'
_JPEG_END, _PNG_END = b'\xff\xd9', b'IEND'
_SCALES = (8, 4, 2)
# Start-of-frame markers: 0xC0…0xCF without the tables DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DEPTH_HEADER = struct.Struct('<iff')   # of compressed_depth_image_transport: format, quantisation a and b


def decode_colour(observation, message) -> tuple[np.ndarray, str]:
    """(h, w, channels) uint8 and its channel order: at least the observation's size, but for a smaller original."""
    topic, data = observation.topic, _bytes(message)
    if bytes(data[:2]) == JPEG:
        pixels = _jpeg(observation, data)
    else:
        pixels = _png(topic, message, data)
        if pixels.dtype != np.uint8:
            raise ContractError(f'{topic}: the PNG has {8 * pixels.itemsize} bits a channel; if it is depth, set '
                                'encoding: depth in the robot contract')
    if message.format.startswith('bayer') and pixels.shape[2] == 1:
        raise ContractError(f'{topic}: format {message.format!r} is a Bayer mosaic, which compression blurs; record '
                            'colours')
    order = {1: 'mono8', 3: 'bgr8', 4: 'bgra8'}[pixels.shape[2]]
    return pixels, order.replace('bgr', 'rgb') if 'compressed rgb' in message.format else order


def decode_depth(topic: str, message) -> np.ndarray:
    """(h, w) float32 in m of a 16-bit PNG in mm, plain or as 'compressedDepth'; NaN where nothing was measured."""
    data = _bytes(message)
    if bytes(data[:2]) == JPEG:
        raise ContractError(f'{topic}: a JPEG cannot hold depth, it needs a PNG of 16 bits')
    packed = 'compressedDepth' in message.format
    pixels = _png(topic, message, data[_DEPTH_HEADER.size:] if packed else data)
    if pixels.dtype != np.uint16 or pixels.shape[2] != 1:
        raise ContractError(f'{topic}: the PNG has {pixels.shape[2]} channels of {8 * pixels.itemsize} bits; depth '
                            'needs one of 16')
    raw = pixels[:, :, 0]
    if packed and message.format.startswith('32FC1'):
        _, a, b = _DEPTH_HEADER.unpack(data[:_DEPTH_HEADER.size])
        with np.errstate(divide='ignore', invalid='ignore'):
            metres = np.float32(a) / (raw.astype(np.float32) - np.float32(b))
        return np.where(raw == 0, np.float32(np.nan), metres)
    return raw * np.float32(0.001)


def _bytes(message) -> memoryview:
    # an empty array has no memory that could be cast
    return memoryview(message.data).cast('B') if len(message.data) else memoryview(b'')


def _jpeg(observation, data: memoryview) -> np.ndarray:
    """(h, w, 1 or 3) uint8, BGR."""
    import cv2
    height, width, body = _jpeg_header(observation.topic, data)
    if bytes(data[-2:]) != _JPEG_END and bytes(data[body:]).rfind(_JPEG_END) < 0:   # some cameras pad behind the end
        raise ContractError(f'{observation.topic}: the JPEG of {len(data)} bytes is cut off: it has no end marker')
    scale = next((s for s in _SCALES if height >= s * observation.height and width >= s * observation.width), 1)
    colour = 'GRAYSCALE' if observation.encoding == 'mono8' else 'COLOR'
    flags = getattr(cv2, f'IMREAD_{colour}' if scale == 1 else f'IMREAD_REDUCED_{colour}_{scale}')
    return _decode(observation.topic, data, flags | cv2.IMREAD_IGNORE_ORIENTATION, 'JPEG')


def _jpeg_header(topic: str, data: memoryview) -> tuple[int, int, int]:
    """Height, width and where the compressed pixels begin."""
    at, height, width = 2, 0, 0
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:      # fill byte
            at += 1
            continue
        length = int.from_bytes(data[at + 2:at + 4], 'big')
        if marker in _FRAMES:
            height, width = struct.unpack('>HH', data[at + 5:at + 9])
        at += 2 + length
        if marker == 0xDA:      # start of scan
            break
    if height == 0 or width == 0:
        raise ContractError(f'{topic}: the JPEG of {len(data)} bytes has no header with its size; it is damaged')
    return height, width, at


def _png(topic: str, message, data: memoryview) -> np.ndarray:
    """(h, w, 1, 3 or 4), uint8 or uint16, BGR or BGRA."""
    import cv2
    if bytes(data[:8]) != PNG:
        raise ContractError(f'{topic}: format {message.format!r} with {len(data)} bytes that begin with '
                            f'{bytes(data[:4]).hex(" ") or "nothing"} is neither JPEG nor PNG')
    if _PNG_END not in bytes(data[-64:]):
        raise ContractError(f'{topic}: the PNG of {len(data)} bytes is cut off: it has no end')
    return _decode(topic, data, cv2.IMREAD_UNCHANGED, 'PNG')


def _decode(topic: str, data: memoryview, flags: int, kind: str) -> np.ndarray:
    import cv2
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ContractError(f'{topic}: the {kind} of {len(data)} bytes cannot be decoded: {error.err}') from None
    if pixels is None:
        raise ContractError(f'{topic}: the {kind} of {len(data)} bytes cannot be decoded; it is damaged')
    return pixels if pixels.ndim == 3 else pixels[:, :, None]
