"""Sound records in damaged MCAP data (https://mcap.dev/spec): what is whole is found, also behind a damage.

Used by `mcap_scan.py` and `mcap_rewrite.py`.
"""
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import BytesIO
import re
import struct
import zlib

import lz4.frame
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, McapRecord, Message, Schema
import zstandard

RECORD = struct.Struct('<BQ')                       # opcode, length of what follows
_MESSAGE = struct.Struct('<HIQQ')                   # channel, sequence, log time, publish time
_CHUNK = struct.Struct('<QQQII')                    # first and last log time, size, CRC, length of compression's name
_LIKE_RECORD = re.compile(rb'(?=[\x03\x04\x05].{4}\x00{4})', re.DOTALL)   # schema, channel, message
_STEP = 4096                                        # bytes given to a decompressor at once: it fails in one step only
FOREIGN = 0x80                                      # opcodes from here on are for anyone's own use
ALWAYS = (0, 2**64 - 1)


@dataclass(frozen=True)
class ChunkHead:
    """What a chunk says in front of its data, which are at [data_at, data_end)."""

    span_ns: tuple[int, int]
    size: int           # of the data, unpacked
    crc: int            # 0: none
    compression: str
    data_at: int
    data_end: int

    @property
    def plausible_ns(self) -> tuple[int, int]:
        """First and last log time its messages can have."""
        return self.span_ns if 0 < self.span_ns[1] >= self.span_ns[0] else ALWAYS


def chunk_head(data, at: int) -> ChunkHead | None:
    """Head of the chunk record at `at`; None when there is none. Its data may go on behind the end of `data`."""
    try:
        opcode, length = RECORD.unpack_from(data, at)
        start, end, size, crc, name = _CHUNK.unpack_from(data, at + RECORD.size)
        if opcode != Opcode.CHUNK or name > 4:
            return None
        position = at + RECORD.size + _CHUNK.size
        compression = bytes(data[position:position + name]).decode()
        (stored,) = struct.unpack_from('<Q', data, position + name)
    except (struct.error, UnicodeDecodeError):
        return None
    if compression not in ('', 'zstd', 'lz4') or length != _CHUNK.size + name + 8 + stored:
        return None
    return ChunkHead((start, end), size, crc, compression, position + name + 8, position + name + 8 + stored)


def unpacked(head: ChunkHead, data, end: int) -> bytes:
    """Content of a chunk as far as it can be unpacked; `end` is where the file or its sound part ends."""
    packed = data[head.data_at:min(head.data_end, end)]
    if not head.compression:
        return packed
    unpack = (zstandard.ZstdDecompressor().decompressobj() if head.compression == 'zstd'
              else lz4.frame.LZ4FrameDecompressor())
    parts = []
    try:
        for at in range(0, len(packed), _STEP):
            parts.append(unpack.decompress(packed[at:at + _STEP]))
    except (zstandard.ZstdError, RuntimeError, EOFError):   # of lz4: RuntimeError, and EOFError behind its frame
        pass
    return b''.join(parts)


def chunk_records(head: ChunkHead, content: bytes, channels: Collection[int]) -> list[McapRecord] | None:
    """All records of a whole chunk; None when anything in it is damaged. `channels` are those known before it."""
    if len(content) != head.size or head.crc and zlib.crc32(content) != head.crc:
        return None
    span_ns = ALWAYS if head.crc else head.plausible_ns     # readers leave out messages whose time a damage changed
    known, found, position = set(channels), [], 0
    while position < len(content):
        record = sound_record(content, position, len(content), known, span_ns)
        if record is not None:
            found.append(record)
            if isinstance(record, Channel):
                known.add(record.id)
        elif content[position] < FOREIGN or position + RECORD.size > len(content):
            return None
        position += RECORD.size + RECORD.unpack_from(content, position)[1]
    return found if position == len(content) else None


def sound_record(data, at: int, end: int, channels: Collection[int], span_ns: tuple[int, int] = ALWAYS,
                 ) -> McapRecord | None:
    """The schema, channel or message at `at` if it is whole and plausible."""
    if at + RECORD.size > end:
        return None
    opcode, length = RECORD.unpack_from(data, at)
    body = at + RECORD.size
    if body + length > end:
        return None
    if opcode == Opcode.MESSAGE:
        if length < _MESSAGE.size:
            return None
        channel, sequence, log_time, publish_time = _MESSAGE.unpack_from(data, body)
        if channel not in channels or not span_ns[0] <= log_time <= span_ns[1]:
            return None
        return Message(channel, log_time, data[body + _MESSAGE.size:body + length], publish_time, sequence)
    if opcode not in (Opcode.SCHEMA, Opcode.CHANNEL):
        return None
    stream = ReadDataStream(BytesIO(data[body:body + length]))
    try:
        record = Schema.read(stream) if opcode == Opcode.SCHEMA else Channel.read(stream)
    except Exception:  # noqa: BLE001  a damaged record fails in as many ways as it has bytes
        return None
    names = record.name if isinstance(record, Schema) else record.topic
    return record if stream.count == length and names else None


def next_record(data, at: int, end: int, channels: Collection[int], span_ns: tuple[int, int] = ALWAYS,
                ) -> int | None:
    """Where the next sound record is that another one or the end of the data follows."""
    for match in _LIKE_RECORD.finditer(data, at, end):
        found = match.start()
        record = sound_record(data, found, end, channels, span_ns)
        if record is None:
            continue
        channels = {*channels, record.id} if isinstance(record, Channel) else channels
        behind = found + RECORD.size + RECORD.unpack_from(data, found)[1]
        if behind == end or sound_record(data, behind, end, channels, span_ns) or _cut(data, behind, end):
            return found
    return None


def salvage(data, position: int, end: int, channels: Collection[int], span_ns: tuple[int, int] = ALWAYS,
            ) -> Iterator[McapRecord]:
    """All sound records of damaged data. The message in front of a damage is left out: the damage begins in it."""
    known = set(channels)
    held: McapRecord | None = None
    while position < end:
        record = sound_record(data, position, end, known, span_ns)
        if record is not None:
            if held is not None:
                yield held
            held = record
            if isinstance(record, Channel):
                known.add(record.id)
            position += RECORD.size + RECORD.unpack_from(data, position)[1]
            continue
        following = next_record(data, position + 1, end, known, span_ns)
        if held is not None and (not isinstance(held, Message) or following is None and _cut(data, position, end)):
            yield held
        held = None
        if following is None:
            return
        position = following
    if held is not None:
        yield held


def _cut(data, at: int, end: int) -> bool:
    """Whether a record begins here that goes on behind the end: the data are cut off, what is in front is whole."""
    if at + RECORD.size > end:
        return True
    opcode, length = RECORD.unpack_from(data, at)
    return opcode in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE) and end < at + RECORD.size + length < end + 2**32
