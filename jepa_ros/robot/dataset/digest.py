"""Hashes and sums of tensors. Both are the same whatever the chunks and whoever computes them."""
import hashlib
import json

import numpy as np

from ..contract import RobotContract
from ..episode import Episode
from .layout import DIGEST_BYTES, Stream, streams


def row_digests(rows: np.ndarray) -> np.ndarray:
    """(n, …) -> sha256 of each row's bytes, (n, 32) uint8."""
    rows = np.ascontiguousarray(rows)
    joined = b''.join(hashlib.sha256(row).digest() for row in rows)
    return np.frombuffer(joined, np.uint8).reshape(len(rows), DIGEST_BYTES)


def episode_sha256(contract: RobotContract, tensors: dict[str, np.ndarray]) -> str:
    """Hash over all tensors of one episode: array name -> (T, …), for large streams the rows' digests (T, 32)."""
    digest = hashlib.sha256(contract.sha256().encode())
    for stream in streams(contract):
        rows = tensors[stream.name]
        head = [stream.name, stream.dtype.str, list(stream.shape), len(rows)]
        digest.update(json.dumps(head).encode())
        digest.update(np.ascontiguousarray(rows).data)
    return digest.hexdigest()


def tensors_of(episode: Episode, contract: RobotContract) -> dict[str, np.ndarray]:
    """Array name -> rows of an episode in memory, ready for `episode_sha256`."""
    found = {'stamps_ns': episode.stamps_ns, 'actions': episode.actions, 'readouts': episode.readouts}
    found |= {f'valid/{key}': rows for key, rows in episode.valid.items()}
    for stream in streams(contract):
        if stream.name.startswith('observations/'):
            rows = episode.percepts[stream.key]
            found[stream.name] = row_digests(rows) if stream.large else rows
    return found


class Sums:
    """Running count, sum, sum of squares, minimum and maximum, per component.

    Components: channels of an image, all valid beams of a range image or scan together, the numbers of a vector.
    Sums of uint8 are exact; sums of floats are in float64, taken chunk after chunk in the order of the rows.
    """

    def __init__(self) -> None:
        self.rows = 0                   # rows seen, valid or not
        self.valid_rows = 0
        self.beams = 0                  # pixels or beams of range streams, valid or not
        self.count: int = 0             # values per component
        self.total = self.squares = self.low = self.high = np.zeros(0)

    def add(self, stream: Stream, rows: np.ndarray, valid: np.ndarray) -> None:
        """Take rows (n, …) in, of which only those count that are `valid` (n,)."""
        self.rows, self.valid_rows = self.rows + len(rows), self.valid_rows + int(valid.sum())
        if not valid.all():
            rows = rows[valid]
        if not len(rows):
            return
        if stream.dtype == np.uint8 and len(stream.shape) == 3:
            self._merge(*_image_sums(rows))
        elif ranged(stream):
            self.beams += rows[:, 1].size
            values = rows[:, 0][rows[:, 1] > 0].astype(np.float64)[:, None]
            self._merge(*_float_sums(values))
        else:
            self._merge(*_float_sums(rows.reshape(len(rows), -1).astype(np.float64)))

    def _merge(self, count: int, total, squares, low, high) -> None:
        if not count:
            return
        if not self.count:
            self.count, self.total, self.squares, self.low, self.high = count, total, squares, low, high
            return
        self.count, self.total, self.squares = self.count + count, self.total + total, self.squares + squares
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)

    def merge(self, other: 'Sums') -> None:
        """Add the sums of later rows."""
        self.rows, self.valid_rows = self.rows + other.rows, self.valid_rows + other.valid_rows
        self.beams += other.beams
        self._merge(other.count, other.total, other.squares, other.low, other.high)

    def to_json(self) -> list:
        return [self.rows, self.valid_rows, self.beams, self.count,
                *[v.tolist() for v in (self.total, self.squares, self.low, self.high)]]

    @classmethod
    def from_json(cls, values: list) -> 'Sums':
        made = cls()
        made.rows, made.valid_rows, made.beams, made.count = values[:4]
        made.total, made.squares, made.low, made.high = [np.array(v, np.float64) for v in values[4:]]
        return made

    def statistics(self) -> dict:
        """mean, std, min, max per component, the share of valid rows, and of valid beams where there are beams."""
        found: dict = {'valid_share': self.valid_rows / self.rows if self.rows else 0.0}
        if self.beams:
            found['valid_beams_share'] = self.count / self.beams
        if self.count:
            mean = self.total / self.count
            variance = np.maximum(self.squares / self.count - mean ** 2, 0.0)
            found |= {'mean': mean.tolist(), 'std': np.sqrt(variance).tolist(), 'min': self.low.tolist(),
                      'max': self.high.tolist(), 'count': self.count}
        return found


def ranged(stream: Stream) -> bool:
    """Whether a stream's tensor is (2, …) metres and validity: scans, depth, point clouds."""
    return stream.dtype == np.float32 and len(stream.shape) >= 2 and stream.shape[0] == 2


def _image_sums(rows: np.ndarray) -> tuple:
    """uint8 (n, H, W, C) -> exact sums per channel; OpenCV takes 0.03 ms for 160×120 where numpy takes 1 ms."""
    import cv2
    channels = rows.shape[-1]
    flat = np.ascontiguousarray(rows).reshape(-1, rows.shape[-2], channels)
    count = flat.shape[0] * flat.shape[1]
    mean, std = (v.reshape(channels) for v in cv2.meanStdDev(flat))
    total, squares = np.rint(mean * count), np.rint((std ** 2 + mean ** 2) * count)
    extent = np.full(channels, float(flat.min())), np.full(channels, float(flat.max()))
    return count, total, squares, *extent


def _float_sums(values: np.ndarray) -> tuple:
    """float64 (n, C) -> sums per component."""
    if not len(values):
        return 0, None, None, None, None
    return len(values), values.sum(0), (values ** 2).sum(0), values.min(0), values.max(0)
