"""Images compressed on their way into a bag, as image_transport publishes them: `<topic>/compressed`.

Compressing takes longer than writing, so a few threads do it side by side (OpenCV leaves them to run in parallel).
The contract kept in the bag names the compressed topics: reading gives the tensors of what is in the bag. With JPEG
they differ a little from those of the raw live images; a robot whose contract reads the compressed topic of its camera
driver has the same in both.
"""
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
import os

import numpy as np

from ..errors import BagError, ConfigError, ContractError
from .adapters.images import DEEP_GREY, raw_pixels
from .bag_types import typestore, unpack
from .contract import RobotContract

RAW, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
FORMATS = ('jpeg', 'png', 'none')
PNG_EFFORT = 1              # of 0 … 9: more takes several times longer for a tenth of the size
_TO_BGR = {'rgb8': 'COLOR_RGB2BGR', 'rgba8': 'COLOR_RGBA2BGR', 'bgra8': 'COLOR_BGRA2BGR'}   # OpenCV's order


def chosen(text: str, contract: RobotContract) -> dict[str, str]:
    """Format per topic from `jpeg`, `png`, `none`, or `key=format` for single observations, separated by commas.

    Depth images stay raw unless they are named: JPEG would invent distances. ConfigError in one line.
    """
    images = {o.key: o for o in contract.observations if o.type == RAW}
    formats: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(','))):
        key, equals, form = entry.rpartition('=')
        if form not in FORMATS:
            raise ConfigError(f'compress_images: {form!r} is unknown; give {", ".join(FORMATS)}, or key=format')
        if not equals:
            formats |= {o.topic: form for o in images.values() if o.encoding != 'depth'}
        elif key not in images:
            raise ConfigError(f'compress_images: {key!r} is no raw image of contract {contract.name} '
                              f'({", ".join(images) or "it has none"})')
        elif images[key].encoding == 'depth' and form != 'none':
            raise ConfigError(f'compress_images: {key} holds distances, they are recorded raw')
        else:
            formats[images[key].topic] = form
    return {topic: form for topic, form in formats.items() if form != 'none'}


def compressed_contract(contract: RobotContract, formats: Mapping[str, str]) -> RobotContract:
    """The contract of a bag in which the images on these topics are compressed."""
    if not formats:
        return contract
    content = contract.model_dump(mode='json', exclude_unset=True)   # as the file had it
    for observation in content['observations']:
        if observation['topic'] in formats:
            observation |= {'topic': f'{observation["topic"]}/compressed', 'type': COMPRESSED}
    try:
        return RobotContract.model_validate(content)
    except ValueError as error:
        raise ContractError(f'contract {contract.name} cannot be recorded with compressed images: '
                            f'{str(error).splitlines()[-2].strip()}') from error


class Compressor:
    """Compresses messages in the background. `formats` are by recorded topic: jpeg or png; `quality` is JPEG's."""

    def __init__(self, formats: Mapping[str, str], quality: int = 95):
        self.formats = dict(formats)
        self._quality = quality
        # One core is left to take messages and to write.
        self._pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 2) - 1), 'compress') if formats else None

    def submit(self, topic: str, raw: bytes) -> 'Future[bytes]':
        """Begin with one serialised Image; the result is a serialised CompressedImage or a BagError."""
        assert self._pool is not None
        return self._pool.submit(compress, topic, raw, self.formats[topic], self._quality)

    def close(self) -> None:
        """End the threads once all is done."""
        if self._pool is not None:
            self._pool.shutdown()


def compress(topic: str, raw: bytes, form: str, quality: int) -> bytes:
    """Serialised sensor_msgs/Image -> serialised sensor_msgs/CompressedImage. `BagError` names topic and remedy."""
    import cv2
    store = typestore()
    image = unpack(store, raw, RAW)
    if image.encoding == DEEP_GREY:
        raise BagError(f'{topic}: {DEEP_GREY} would lose half of its bits; record it raw: --compress-images none or '
                       '<key>=none')
    try:
        pixels, order = raw_pixels(topic, image)
    except ContractError as error:
        raise BagError(f'{error}; or record it raw: --compress-images none or <key>=none') from error
    if order in _TO_BGR:
        pixels = cv2.cvtColor(pixels, getattr(cv2, _TO_BGR[order]))
    args = [cv2.IMWRITE_JPEG_QUALITY, quality] if form == 'jpeg' else [cv2.IMWRITE_PNG_COMPRESSION, PNG_EFFORT]
    done, data = cv2.imencode('.jpg' if form == 'jpeg' else '.png', np.ascontiguousarray(pixels), args)
    if not done:
        raise BagError(f'{topic}: an image of {image.width}×{image.height} cannot be compressed as {form}')
    stored = 'mono8' if order == 'mono8' else 'bgr8'
    message = store.types[COMPRESSED](
        header=image.header, format=f'{image.encoding}; {form} compressed {stored}', data=data.reshape(-1))
    return bytes(store.serialize_cdr(message, COMPRESSED))
