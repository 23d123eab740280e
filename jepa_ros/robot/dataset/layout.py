"""What arrays a store has for a robot contract, and how they are cut into chunks.

All arrays of a store run along the same N rows. A chunk holds whole rows, so that a training window (some ten steps)
reads one to a few chunks. Streams of large rows (images) are written by the workers, each its own chunks; all others
by one process at the end.
"""
from dataclasses import dataclass

from numcodecs import Blosc
import numpy as np

from .. import adapters
from ..contract import RobotContract

# Measured on 160×120 and 640×480 pictures from a real camera, of which sensor noise leaves little to compress: lz4
# writes 0.6 GB/s at 82–90 % of the size, zstd at level 1 0.13 GB/s at 65–71 %; shuffling helps neither. Reading is
# three to six times faster with lz4, and training reads each chunk many times. Disk is cheaper than that.
IMAGES = Blosc('lz4', clevel=5, shuffle=Blosc.NOSHUFFLE)
NUMBERS = Blosc('zstd', clevel=5, shuffle=Blosc.SHUFFLE)

LARGE_ROW_BYTES = 4096      # rows from here on are written by the workers
CHUNK_BYTES = 4 << 20       # at most, before compression; one row where a row is larger
ALIGN = 32                  # most rows of a large chunk, and what the first row of each bag is a multiple of
SMALL_CHUNK_BYTES = 1 << 20
SMALL_CHUNK_ROWS = 65_536
DIGEST_BYTES = 32           # sha256 of one row


@dataclass(frozen=True)
class Stream:
    """One array of a store, (N, *shape)."""

    name: str                   # path in the store: observations/front
    shape: tuple[int, ...]
    dtype: np.dtype
    large: bool = False

    @property
    def key(self) -> str:
        return self.name.rpartition('/')[2]

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def chunk_rows(self) -> int:
        """Rows of a chunk, a power of two."""
        most, budget = (ALIGN, CHUNK_BYTES) if self.large else (SMALL_CHUNK_ROWS, SMALL_CHUNK_BYTES)
        rows = max(1, min(most, budget // max(self.row_bytes, 1)))
        return 1 << (rows.bit_length() - 1)

    @property
    def compressor(self) -> Blosc:
        return IMAGES if self.dtype == np.uint8 else NUMBERS


def observations(contract: RobotContract) -> dict[str, Stream]:
    """Observation key -> its array."""
    found = {}
    for observation in contract.observations:
        spec = adapters.tensor_spec(observation)
        large = int(np.prod(spec.shape)) * spec.dtype.itemsize >= LARGE_ROW_BYTES
        found[observation.key] = Stream(f'observations/{observation.key}', tuple(spec.shape), spec.dtype, large)
    return found


def streams(contract: RobotContract) -> list[Stream]:
    """All arrays along the N rows, in the order in which they enter an episode's hash."""
    seen = observations(contract)
    return [
        Stream('stamps_ns', (), np.dtype(np.int64)),
        Stream('actions', (len(contract.action_names),), np.dtype(np.float32)),
        Stream('readouts', (len(contract.readout_names),), np.dtype(np.float32)),
        *seen.values(),
        *[Stream(f'valid/{key}', (), np.dtype(np.bool_)) for key in seen],
    ]


def digests(stream: Stream) -> Stream:
    """Array of the hashes of a large stream's rows."""
    return Stream(f'digests/{stream.key}', (DIGEST_BYTES,), np.dtype(np.uint8))
