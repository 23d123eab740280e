"""Pictures that are converted only when they are written.

Every worker of a bag reads the whole bag, which is quick, and finds the same grid; each then decodes its own share of
the pictures, which is the work. `Converter` stands in for `adapters.to_array` while the grid is found. What is put off
waits in memory up to SPOOL_BYTES, then in a temporary file: a bag may be larger than the memory.
"""
from copy import copy
from dataclasses import dataclass
import tempfile
from typing import Any

import numpy as np

from ...errors import ContractError
from ..adapters import to_array
from .layout import Stream

COMPRESSED = 'sensor_msgs/msg/CompressedImage'
SPOOL_BYTES = 256 << 20


class Undecodable(Exception):
    """A compressed image turned out damaged only after the grid was found: the bag has to be read with care."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """A compressed image, not decoded yet: the message without its data, and where that is."""

    stream: Any
    message: Any
    offset: int
    size: int


@dataclass(frozen=True, eq=False)
class Spooled:
    """A tensor that was converted already: where it is."""

    offset: int


class Converter:
    """Converts what is small, puts off what is large; as a context manager, for the life of one task."""

    def __init__(self, large: dict[str, Stream], careful: bool, folder: str):
        self._large, self._careful = large, careful
        self._spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES, dir=folder)
        self._end = 0

    def __enter__(self) -> 'Converter':
        return self

    def __exit__(self, *_error) -> None:
        self._spool.close()

    def __call__(self, stream, message) -> Any:
        """As `to_array`; a large observation gives a 0-d object array that `tensor` turns into its tensor."""
        if getattr(stream, 'key', None) not in self._large or not hasattr(stream, 'align') or hasattr(stream, 'safe'):
            return to_array(stream, message)
        if stream.type == COMPRESSED and not self._careful:
            offset, size, message.data = self._keep(message.data), len(message.data), None
            return _boxed(Encoded(stream, message, offset, size))
        return _boxed(Spooled(self._keep(to_array(stream, message))))

    def _keep(self, array: Any) -> int:
        """Write an array to the spool; returns where it is."""
        offset = self._end
        self._spool.seek(offset)
        self._spool.write(np.ascontiguousarray(array).tobytes())
        self._end += array.nbytes
        return offset

    def _bytes(self, offset: int, size: int) -> bytes:
        self._spool.seek(offset)
        return self._spool.read(size)

    def tensor(self, kept, stream: Stream) -> np.ndarray:
        """The tensor behind what was put off; `Undecodable` when there is none."""
        if isinstance(kept, Encoded):
            message = copy(kept.message)
            message.data = np.frombuffer(self._bytes(kept.offset, kept.size), np.uint8)
            try:
                return np.asarray(to_array(kept.stream, message))
            except ContractError as error:
                raise Undecodable(str(error)) from error
        if isinstance(kept, np.ndarray):    # the zeros of a tick without a sample
            return kept
        return np.frombuffer(self._bytes(kept.offset, stream.row_bytes), stream.dtype).reshape(stream.shape)


def _boxed(value) -> np.ndarray:
    box = np.empty((), object)
    box[()] = value
    return box
