"""Rows of rosbag2's table `messages` read from the pages of a damaged .db3 file. Used by `db3_repair.py`.

sqlite finds rows through a tree whose inner pages are written late: a file that was cut off has lost some of them and
sqlite gives up, though most leaves are there. Each leaf stands on a page of its own and is read here without the tree
(https://www.sqlite.org/fileformat2.html, sections 1.3 to 2.1).
"""
from collections.abc import Iterator
from pathlib import Path

MAGIC = b'SQLite format 3\0'
LEAF = 0x0D                         # of a table
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}   # serial type -> size; 8 and 9 are 0 and 1


class _Cut(Exception):
    """A row goes on where the file has no more."""


def message_rows(path: Path) -> Iterator[tuple[int, int, int, bytes]]:
    """(id, topic_id, timestamp, data) of all rows that are whole, in the order of their pages."""
    with path.open('rb') as file:
        head = file.read(100)
        if len(head) < 100 or not head.startswith(MAGIC):
            return
        size = int.from_bytes(head[16:18], 'big')
        pages = _Pages(file, 65536 if size == 1 else size, head[20])
        for number in range(2, path.stat().st_size // pages.size + 1):   # page 1 is the schema
            page = pages.read(number)
            if page[0] != LEAF:
                continue
            for cell in range(int.from_bytes(page[3:5], 'big')):
                try:
                    row = _row(pages, page, int.from_bytes(page[8 + 2 * cell:10 + 2 * cell], 'big'))
                except (_Cut, IndexError):
                    continue
                if row is not None:
                    yield row


class _Pages:
    """Pages of a file by number, from 1; `usable` is the size of one without its reserved end."""

    def __init__(self, file, size: int, reserved: int):
        self.size, self.usable = size, size - reserved
        self._file = file

    def read(self, number: int) -> bytes:
        self._file.seek((number - 1) * self.size)
        page = self._file.read(self.size)
        if number < 1 or len(page) < self.size:
            raise _Cut
        return page


def _row(pages: _Pages, page: bytes, at: int) -> tuple[int, int, int, bytes] | None:
    length, at = _varint(page, at)
    row_id, at = _varint(page, at)
    payload = _payload(pages, page, at, length)
    header, position = _varint(payload, 0)
    types = []
    while position < header:
        kind, position = _varint(payload, position)
        types.append(kind)
    # id is the row's own number and stored as NULL; data is a blob. No other table of a bag looks like this.
    if len(types) != 4 or types[0] != 0 or types[3] < 12 or types[3] % 2 or not {*types[1:3]} <= {*_INTEGER_BYTES}:
        return None
    topic, position = _integer(payload, header, types[1])
    stamp, position = _integer(payload, position, types[2])
    data = payload[position:position + (types[3] - 12) // 2]
    return (row_id, topic, stamp, data) if len(data) == (types[3] - 12) // 2 else None


def _payload(pages: _Pages, page: bytes, at: int, length: int) -> bytes:
    """A record, gathered from its overflow pages where it does not fit into one."""
    most = pages.usable - 35
    if length <= most:
        return page[at:at + length]
    least = (pages.usable - 12) * 32 // 255 - 23
    local = least + (length - least) % (pages.usable - 4)
    local = local if local <= most else least
    parts, have = [page[at:at + local]], local
    overflow = int.from_bytes(page[at + local:at + local + 4], 'big')
    while have < length:
        following = pages.read(overflow)
        part = following[4:pages.usable][:length - have]
        parts.append(part)
        have += len(part)
        overflow = int.from_bytes(following[:4], 'big')
    return b''.join(parts)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, position behind it): 7 bits a byte, the ninth byte whole."""
    value = 0
    for index in range(9):
        byte = data[at + index]
        if index == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    raise AssertionError('unreachable')


def _integer(data: bytes, at: int, kind: int) -> tuple[int, int]:
    size = _INTEGER_BYTES[kind]
    return (int.from_bytes(data[at:at + size], 'big', signed=True) if size else kind - 8), at + size
