"""All that is in one .mcap file, sound or damaged, found without its index. Used by `mcap_repair.py`."""
from dataclasses import dataclass, field
from io import BytesIO
import mmap
from pathlib import Path
import re
import struct

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    ChunkIndex,
    McapRecord,
    Message,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
)
from mcap.stream_reader import StreamReader

from ..errors import BagError
from .mcap_records import (
    chunk_head,
    chunk_records,
    ChunkHead,
    FOREIGN,
    next_record,
    RECORD,
    salvage,
    sound_record,
    unpacked,
)

MAGIC = b'\x89MCAP0\r\n'
_LOOSE = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE)    # outside of any chunk
_DATA = (Opcode.HEADER, Opcode.CHUNK, Opcode.MESSAGE_INDEX, Opcode.METADATA, Opcode.ATTACHMENT, *_LOOSE)
_INDEX = (Opcode.FOOTER, Opcode.CHUNK_INDEX, Opcode.ATTACHMENT_INDEX, Opcode.STATISTICS, Opcode.METADATA_INDEX,
          Opcode.SUMMARY_OFFSET, Opcode.DATA_END)
_FOOTER_BYTES = 37      # with the magic behind it
_LIKE_CHUNK = re.compile(rb'(?=\x06.{5}\x00{3}.{28}(?:\x00{4}|\x04\x00{3}zstd|\x03\x00{3}lz4))', re.DOTALL)


@dataclass
class Chunk:
    """A sound chunk."""

    offset: int
    length: int
    head: ChunkHead
    counts: dict[int, int]                                  # channel -> messages
    indexes: dict[int, int] = field(default_factory=dict)   # channel -> offset of its MessageIndex
    indexed: dict[int, int] = field(default_factory=dict)   # channel -> messages its MessageIndex knows
    indexes_end: int = 0


@dataclass
class Scan:
    """What a file holds. `end` is behind the last data; what follows is index, or damaged."""

    size: int
    end: int = 0
    chunks: list[Chunk] = field(default_factory=list)
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    notes: list[tuple[int, int, Metadata]] = field(default_factory=list)            # offset, length, record
    attachments: list[tuple[int, int, Attachment]] = field(default_factory=list)
    damaged: list[tuple[int, int]] = field(default_factory=list)                    # [from, to)
    loose: dict[int, int] = field(default_factory=dict)     # channel -> messages outside of chunks
    loose_span_ns: tuple[int, int] = (0, 0)
    unchunked: bool = False
    ordered: bool = True                                    # the loose messages, by log time

    def count(self, channel: int) -> int:
        """Sound messages of a channel."""
        return self.loose.get(channel, 0) + sum(chunk.counts.get(channel, 0) for chunk in self.chunks)

    @property
    def messages(self) -> int:
        return sum(self.count(channel) for channel in self.channels)

    @property
    def damaged_bytes(self) -> int:
        return sum(end - start for start, end in self.damaged)


class Scanner:
    """Walks once through a file. What its index still tells is used: channels, and where records begin."""

    def __init__(self, data: mmap.mmap):
        self.data, self.scan = data, Scan(len(data))
        self._hints: list[int] = []
        self._last_ns = 0
        self._indexing: Chunk | None = None     # the chunk that message indexes belong to; None behind a damaged one
        self._held: tuple[int, int] | None = None   # start and channel of the last record, if it is a loose message
        self._told_schemas: dict[int, Schema] = {}
        self._told_channels: dict[int, Channel] = {}
        self.told_messages = 0      # by the index
        self.told_whole = False     # the index can be read to its end
        self._read_index()

    def walk(self) -> Scan:
        """Find everything."""
        data, scan = self.data, self.scan
        position = len(MAGIC) if data[:len(MAGIC)] == MAGIC else 0
        while position < scan.size:
            end = self._frame_end(position)
            if end is not None and data[position] in _INDEX:
                break
            if end is None or not self._take(position, end):
                following = end if end is not None and self._frame_end(end) is not None else None
                end = following or self._next(position + 1) or scan.size
                scan.damaged.append((self._back_to(position), end))
                self._indexing = self._held = None
                if not scan.unchunked:
                    self.found_in(position, end)    # for the channels: a later chunk may need them
            else:
                scan.end = end
            position = end
        self._compare_indexes()
        return scan

    def found_in(self, start: int, end: int) -> list[Message]:
        """Messages that can still be read within a damaged part; the channels there become known."""
        messages = []
        head, known = chunk_head(self.data, start), self._known()
        if head is None:
            found = salvage(self.data, start, end, known)
        else:
            content = unpacked(head, self.data, end)
            found = salvage(content, 0, len(content), known, head.plausible_ns)
        for record in found:
            self._learn(record)
            if isinstance(record, Message):
                messages.append(record)
        return messages

    def doubtful(self, start: int) -> bool:
        """Whether messages found in the damaged part at `start` may hold wrong bytes, though their records are sound.

        So in a whole chunk that is compressed or has a checksum; behind a cut, what was unpacked is right.
        """
        head = chunk_head(self.data, start)
        return head is not None and bool(head.compression or head.crc) and head.data_end <= self.scan.size

    def _back_to(self, position: int) -> int:
        """Where a damage at `position` begins: in the loose message in front of it, which counts no more."""
        if self._held is None:
            return position
        start, channel = self._held
        self.scan.loose[channel] -= 1
        return start

    def _known(self) -> set[int]:
        return {*self.scan.channels, *self._told_channels}

    def _read_index(self) -> None:
        """Take what the index at the end tells, as far as it is sound."""
        try:
            (start,) = struct.unpack('<Q', self.data[-_FOOTER_BYTES:][RECORD.size:RECORD.size + 8])
            for record in StreamReader(BytesIO(self.data[start or self.scan.size:]), skip_magic=True).records:
                if isinstance(record, Schema):
                    self._told_schemas[record.id] = record
                elif isinstance(record, Channel):
                    self._told_channels[record.id] = record
                elif isinstance(record, Statistics):
                    self.told_messages = record.message_count
                elif isinstance(record, ChunkIndex):
                    self._hints.append(record.chunk_start_offset)
                elif isinstance(record, AttachmentIndex | MetadataIndex):
                    self._hints.append(record.offset)
            self.told_whole = True
        except Exception:  # noqa: BLE001, S110  damaged in as many ways as it has bytes: what was read so far counts
            pass
        self._hints.sort()

    def _frame_end(self, at: int) -> int | None:
        """Where the record at `at` ends; None when there is no record."""
        if at == self.scan.size:
            return at
        if at + RECORD.size > self.scan.size:
            return None
        opcode, length = RECORD.unpack_from(self.data, at)
        end = at + RECORD.size + length
        # where the index says a chunk, an attachment or metadata begins, any other record is a damaged one of these
        foreign = opcode >= FOREIGN and at not in self._hints
        known = opcode in _DATA or opcode in _INDEX or foreign
        return end if known and end <= self.scan.size else None

    def _next(self, at: int) -> int | None:
        """Where the next record is, behind a damage."""
        candidates = [next((hint for hint in self._hints if hint >= at), None)]
        if self.scan.unchunked:
            candidates.append(next_record(self.data, at, self.scan.size, self._known()))
        else:
            chunks = (match.start() for match in _LIKE_CHUNK.finditer(self.data, at))
            candidates.append(next((c for c in chunks if chunk_head(self.data, c)), None))
        return min((c for c in candidates if c is not None and c < self.scan.size), default=None)

    def _take(self, start: int, end: int) -> bool:
        """Note one record; False when it is damaged."""
        opcode, self._held = self.data[start], None
        if opcode == Opcode.CHUNK:
            return self._take_chunk(start, end)
        if opcode in _LOOSE:
            return self._take_loose(start, end)
        body = self.data[start + RECORD.size:end]
        try:
            if opcode == Opcode.METADATA:
                self.scan.notes.append((start, end - start, Metadata.read(ReadDataStream(BytesIO(body)))))
            elif opcode == Opcode.ATTACHMENT:
                self.scan.attachments.append((start, end - start, Attachment.read(ReadDataStream(BytesIO(body)))))
            elif opcode == Opcode.MESSAGE_INDEX and (chunk := self._indexing) is not None:
                channel, length = struct.unpack_from('<HI', body)
                chunk.indexes[channel], chunk.indexed[channel] = start, length // 16
                chunk.indexes_end = end
        except Exception:  # noqa: BLE001  a damaged record fails in as many ways as it has bytes
            return False
        return True

    def _take_chunk(self, start: int, end: int) -> bool:
        head = chunk_head(self.data, start)
        if head is None:
            return False
        found = chunk_records(head, unpacked(head, self.data, end), self._known())
        if found is None:
            return False
        counts: dict[int, int] = {}
        for record in found:
            self._learn(record)
            if isinstance(record, Message):
                counts[record.channel_id] = counts.get(record.channel_id, 0) + 1
        self._indexing = Chunk(start, end - start, head, counts, indexes_end=end)
        self.scan.chunks.append(self._indexing)
        return True

    def _take_loose(self, start: int, end: int) -> bool:
        self.scan.unchunked = True
        record = sound_record(self.data, start, end, self._known())
        if record is None:
            return False
        self._learn(record)
        if isinstance(record, Message):
            self.scan.loose[record.channel_id] = self.scan.loose.get(record.channel_id, 0) + 1
            any_yet = sum(self.scan.loose.values()) > 1
            first, last = self.scan.loose_span_ns if any_yet else (record.log_time, record.log_time)
            self.scan.loose_span_ns = min(first, record.log_time), max(last, record.log_time)
            self.scan.ordered &= record.log_time >= self._last_ns
            self._last_ns = record.log_time
            self._held = start, record.channel_id
        return True

    def _learn(self, record: McapRecord) -> None:
        if isinstance(record, Schema):
            self.scan.schemas[record.id] = record
        elif isinstance(record, Channel):
            self.scan.channels[record.id] = record
        elif isinstance(record, Message) and record.channel_id not in self.scan.channels:
            # its own record is damaged; the index has a copy
            channel = self._told_channels[record.channel_id]
            self.scan.channels[channel.id] = channel
            if channel.schema_id in self._told_schemas:
                self.scan.schemas.setdefault(channel.schema_id, self._told_schemas[channel.schema_id])

    def _compare_indexes(self) -> None:
        """A chunk without checksum that holds less than its own index says is damaged too."""
        for chunk in list(self.scan.chunks):
            if any(chunk.counts.get(channel) != count for channel, count in chunk.indexed.items() if count):
                self.scan.chunks.remove(chunk)
                self.scan.damaged.append((chunk.offset, chunk.offset + chunk.length))
        self.scan.damaged.sort()


class Mapped:
    """A file's bytes in memory as they are needed; `BagError` for an empty one."""

    def __init__(self, path: Path):
        if path.stat().st_size == 0:
            raise BagError(f'{path}: is empty, there is nothing to save')
        self._file = path.open('rb')
        self.data = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def __enter__(self):
        return self.data

    def __exit__(self, *_exception) -> None:
        self.data.close()
        self._file.close()
