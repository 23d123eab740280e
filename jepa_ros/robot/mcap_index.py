"""The end of an .mcap file written anew: indexes, statistics, footer. Used by `mcap_repair.py`."""
import json
import os
from pathlib import Path
import struct
import zlib

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    AttachmentIndex,
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Message,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
)
from mcap.records import Chunk as ChunkRecord
import yaml
import zstandard

from .bag_file import DESCRIPTION
from .bag_metadata import as_yaml, AUDIT, FileSpan, metadata, Topic
from .mcap_records import chunk_head, RECORD, unpacked
from .mcap_scan import Chunk, MAGIC, Scan
from .repair_files import Contents


def contents_of(scan: Scan, name: str) -> Contents:
    """What a file of this name holds by a scan of it."""
    spans = [c.head.span_ns for c in scan.chunks if c.counts]
    if scan.loose:
        spans.append(scan.loose_span_ns)
    counts: dict[str, int] = {}
    for channel in scan.channels.values():
        counts[channel.topic] = counts.get(channel.topic, 0) + scan.count(channel.id)
    span = FileSpan(name, counts, min((s for s, _ in spans), default=0), max((e for _, e in spans), default=0))
    return Contents(span, _topics(scan.schemas, scan.channels), *_told([note for _, _, note in scan.notes]))


def write_index(path: Path, scan: Scan, contents: Contents) -> None:
    """Write the index behind `scan.end` in place of what is there. OSError when the disk has no room for it."""
    with path.open('r+b') as file:
        if scan.chunks and scan.end <= scan.chunks[-1].indexes_end:  # no record behind it that would be written over
            scan.end = _complete_last_index(file, scan.chunks[-1])
        file.truncate(scan.end)
        file.seek(0, os.SEEK_END)
        file.write(_summary(scan, contents, file.tell()))
        file.flush()
        os.fsync(file.fileno())


def append_chunk(path: Path, scan: Scan, messages: list[Message]) -> None:
    """Put messages into a chunk of their own at `scan.end`, with the channels they need, and note it in the scan."""
    out, counts = RecordBuilder(), dict[int, int]()
    channels = [scan.channels[key] for key in dict.fromkeys(m.channel_id for m in messages)]
    schemas = [scan.schemas[key] for key in dict.fromkeys(c.schema_id for c in channels) if key in scan.schemas]
    for record in (*schemas, *channels, *messages):
        record.write(out)
    for message in messages:
        counts[message.channel_id] = counts.get(message.channel_id, 0) + 1
    content, times = out.end(), [m.log_time for m in messages]
    packed = RecordBuilder()
    ChunkRecord('zstd', zstandard.compress(content), max(times), min(times), zlib.crc32(content),
                len(content)).write(packed)
    chunk = packed.end()
    with path.open('r+b') as file:
        file.seek(scan.end)
        file.write(chunk)
    head = chunk_head(chunk, 0)
    assert head is not None
    end = scan.end + len(chunk)
    scan.chunks.append(Chunk(scan.end, len(chunk), head, counts, indexes_end=end))
    scan.end = end


def _complete_last_index(file, chunk: Chunk) -> int:
    """The last chunk may lack some of its message indexes: write them anew; returns where they end."""
    if set(chunk.indexes) == set(chunk.counts):
        return chunk.indexes_end
    file.seek(chunk.offset)
    raw = file.read(chunk.length)
    head = chunk_head(raw, 0)
    assert head is not None     # the scan found it whole
    content, position = unpacked(head, raw, len(raw)), 0
    records: dict[int, list[tuple[int, int]]] = {}
    while position < len(content):
        opcode, length = RECORD.unpack_from(content, position)
        if opcode == Opcode.MESSAGE:
            channel, _, log_time = struct.unpack_from('<HIQ', content, position + RECORD.size)
            records.setdefault(channel, []).append((log_time, position))
        position += RECORD.size + length
    chunk.indexes.clear()
    position = chunk.offset + chunk.length
    file.seek(position)
    for channel, entries in records.items():
        builder = RecordBuilder()
        MessageIndex(channel, entries).write(builder)
        chunk.indexes[channel] = position
        position += file.write(builder.end())
    chunk.indexes_end = position
    return position


def _summary(scan: Scan, contents: Contents, start: int) -> bytes:
    """Everything behind the last record: rosbag2's metadata, schemas, channels, chunk indexes, statistics, footer."""
    out = RecordBuilder()
    own = metadata([contents.span], contents.topics, contents.custom)['rosbag2_bagfile_information']
    Metadata('rosbag2', {'serialized_metadata': as_yaml(own)}).write(out)
    notes = [*((offset, length, note.name) for offset, length, note in scan.notes), (start, out.count, 'rosbag2')]
    DataEnd(0).write(out)
    summary_start = start + out.count
    for record in (*scan.schemas.values(), *scan.channels.values()):
        record.write(out)
    for chunk in scan.chunks:
        head = chunk.head
        ChunkIndex(chunk.length, chunk.offset, head.compression, head.data_end - head.data_at, head.span_ns[1],
                   chunk.indexes_end - chunk.offset - chunk.length, chunk.indexes, head.span_ns[0],
                   head.size).write(out)
    for offset, length, a in scan.attachments:
        AttachmentIndex(offset, length, a.log_time, a.create_time, len(a.data), a.name, a.media_type).write(out)
    for offset, length, name in notes:
        MetadataIndex(offset, length, name).write(out)
    counts = {channel: scan.count(channel) for channel in scan.channels}
    Statistics(len(scan.attachments), len(scan.channels), counts, len(scan.chunks), sum(counts.values()),
               contents.span.end_ns, contents.span.start_ns, len(notes), len(scan.schemas)).write(out)
    Footer(summary_start, 0, 0).write(out)
    out.write(MAGIC)
    return out.end()


def _topics(schemas: dict[int, Schema], channels: dict[int, Channel]) -> list[Topic]:
    found: dict[str, Topic] = {}
    for channel in channels.values():
        kind = schemas[channel.schema_id].name if channel.schema_id in schemas else '__schemaless__'
        found.setdefault(channel.topic, Topic(channel.topic, kind, channel.metadata.get('offered_qos_profiles') or '[]',
                                              channel.metadata.get('topic_type_hash', '')))
    return list(found.values())


def _told(notes: list[Metadata]) -> tuple[dict[str, str], list[dict]]:
    """(custom data of the bag, audits of episodes) among the metadata records of a file."""
    custom: dict[str, str] = {}
    for note in notes:
        if note.name == DESCRIPTION:
            custom = dict(note.metadata)
        elif note.name == 'rosbag2' and not custom:
            custom = _foreign_custom(note.metadata.get('serialized_metadata', ''))
    return custom, [json.loads(note.metadata['audit']) for note in notes if note.name == AUDIT]


def _foreign_custom(text: str) -> dict[str, str]:
    try:
        return yaml.safe_load(text).get('custom_data') or {}
    except (yaml.YAMLError, AttributeError):
        return {}
