"""An independent reading of the shared recordings: sqlite3 and the CDR layout alone, nothing of jepa_ros or rosbags."""
from dataclasses import dataclass
from pathlib import Path
import sqlite3
import struct

import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data'
NEATO = ('drive_square', 'finite-state-controller', 'obstacle-avoider', 'person_follower', 'test-bag')
DONKEYCAR = ('seg_00', 'seg_01', 'seg_02', 'seg_03')
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason='the recordings of ../shared/data are not here')


@dataclass(frozen=True)
class Scans:
    """All scans of a bag: log times and stamps (N,) ns, ranges (N, beams), range limits."""

    logs: np.ndarray
    stamps: np.ndarray
    ranges: np.ndarray
    range_min: float
    range_max: float

    @property
    def valid(self) -> np.ndarray:
        """(N, beams) bool: a distance that was measured."""
        finite = np.where(np.isfinite(self.ranges), self.ranges, -1)
        return (finite > 0) & (finite >= self.range_min) & (finite <= self.range_max)


def counts(bag: Path) -> dict[str, tuple[int, int, int]]:
    """Topic -> (messages, first, last log time in ns)."""
    query = ('SELECT t.name, count(*), min(m.timestamp), max(m.timestamp) '
             'FROM messages m JOIN topics t ON m.topic_id = t.id GROUP BY t.name')
    return {name: (n, first, last) for name, n, first, last in _query(bag, query)}


def raw(bag: Path, topic: str) -> list[tuple[int, bytes]]:
    """(log time in ns, CDR) of a topic in the order of the log."""
    return _query(bag, 'SELECT m.timestamp, m.data FROM messages m JOIN topics t ON m.topic_id = t.id '
                  'WHERE t.name = ? ORDER BY m.timestamp', topic)


def header(data: bytes) -> tuple[int, int]:
    """Stamp in ns and where the body begins: behind the encapsulation (4), the stamp (8) and the frame's name."""
    assert data[1] == 1, 'little endian'
    sec, nanosec, length = struct.unpack_from('<iII', data, 4)
    return sec * 10**9 + nanosec, 16 + length


def scans(bag: Path) -> Scans:
    """/scan of a bag."""
    logs, stamps, rows = [], [], []
    for log_ns, data in raw(bag, '/scan'):
        stamp_ns, at = header(data)
        at = _align(at, 4)
        *_, low, high = struct.unpack_from('<7f', data, at)  # three angles, two times, two limits
        count, = struct.unpack_from('<I', data, at + 28)
        rows.append(np.frombuffer(data, '<f4', count, at + 32))
        logs.append(log_ns)
        stamps.append(stamp_ns)
    return Scans(np.array(logs), np.array(stamps), np.stack(rows), low, high)


def twists(bag: Path) -> tuple[np.ndarray, np.ndarray]:
    """/cmd_vel of a bag: log times (N,) ns and (N, 6) linear x y z, angular x y z."""
    messages = raw(bag, '/cmd_vel')
    return np.array([t for t, _ in messages]), np.array([struct.unpack_from('<6d', d, 4) for _, d in messages])


def stamps_of(bag: Path, topic: str) -> np.ndarray:
    """(N,) header stamps in ns of a topic."""
    return np.array([header(data)[0] for _, data in raw(bag, topic)])


def jpegs(bag: Path) -> list[tuple[int, bytes]]:
    """(header stamp in ns, JPEG) of the camera images."""
    found = []
    for _, data in raw(bag, '/camera/image/compressed'):
        stamp_ns, at = header(data)
        at = _align(at, 4)
        length, = struct.unpack_from('<I', data, at)            # of the format's name
        at = _align(at + 4 + length, 4)
        size, = struct.unpack_from('<I', data, at)
        found.append((stamp_ns, data[at + 4:at + 4 + size]))
    return found


def _align(at: int, size: int) -> int:
    """The next place that is a multiple of `size`, counted from behind the encapsulation."""
    return at + -(at - 4) % size


def _query(bag: Path, query: str, *values) -> list:
    file, = bag.glob('*.db3')
    connection = sqlite3.connect(f'file:{file}?mode=ro&immutable=1', uri=True)
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()
