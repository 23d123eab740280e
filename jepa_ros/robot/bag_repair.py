"""Making a bag whole again whose writing was cut off: a killed recorder, a full disk.

MCAP keeps messages in chunks and an index at the end. Here the file is cut behind its last whole chunk and the index
is written anew, in place: what reached the disk becomes readable, and no space for a copy is needed.
"""
from dataclasses import dataclass, field
from io import BytesIO
import os
from pathlib import Path
import struct

from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
)
from mcap.stream_reader import breakup_chunk, get_chunk_data_stream
from rosbags.rosbag2 import Reader
import yaml

from ..errors import BagError
from .bag_metadata import early_metadata, write_metadata

MAGIC = b'\x89MCAP0\r\n'
_RECORD = struct.Struct('<BQ')                       # opcode, length
_BEFORE_SUMMARY = (Opcode.HEADER, Opcode.CHUNK, Opcode.MESSAGE_INDEX)


@dataclass
class _Chunk:
    offset: int
    length: int
    record: Chunk
    counts: dict[int, int]
    indexes: dict[int, int] = field(default_factory=dict)  # channel -> offset of its MessageIndex
    indexes_end: int = 0


@dataclass
class _Scan:
    header_end: int = 0
    chunks: list[_Chunk] = field(default_factory=list)
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)


def rebuild_index(bag: Path) -> int:
    """Finish a bag folder in place; returns how many messages it holds. `BagError` when there is nothing to save."""
    files = sorted(bag.glob('*.mcap'))
    if not files:
        raise BagError(f'{bag}: there is no .mcap file in it to repair')
    if len(files) > 1:
        raise BagError(f'{bag}: only bags of one .mcap file can be repaired, this one has {len(files)}')
    scan = _scan(files[0])
    custom = _custom_data(bag)
    while True:
        metadata = _metadata(scan, files[0].name, custom)
        try:
            _finish(files[0], scan, metadata)
            write_metadata(bag, metadata)
            return metadata['rosbag2_bagfile_information']['message_count']
        except OSError as error:  # no room even for the index: give up a chunk for it
            if not scan.chunks:
                raise BagError(f'{bag}: cannot be repaired: {error.strerror or error}') from error
            scan.chunks.pop()


def repair(bag: Path | str) -> int:
    """Make a bag readable that was cut off; a whole one is left as it is. Returns the number of messages."""
    bag = Path(bag)
    if not bag.is_dir():
        raise BagError(f'{bag}: there is no such bag folder')
    try:
        with Reader(bag) as reader:
            if reader.message_count or not any(bag.glob('*.mcap')):
                return reader.message_count
    except Exception:  # noqa: S110  rosbags raises many types for damaged files: all mean that it needs repair
        pass
    (bag / '.reserve').unlink(missing_ok=True)
    return rebuild_index(bag)


def _scan(path: Path) -> _Scan:
    """Find all whole chunks of a file and what they contain."""
    scan, size = _Scan(), path.stat().st_size
    with path.open('rb') as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise BagError(f'{path}: not an MCAP file, it cannot be repaired')
        while file.tell() + _RECORD.size <= size:
            offset = file.tell()
            opcode, length = _RECORD.unpack(file.read(_RECORD.size))
            if opcode not in _BEFORE_SUMMARY or offset + _RECORD.size + length > size:
                break
            body = file.read(length)
            if opcode == Opcode.HEADER:
                scan.header_end = file.tell()
            if opcode == Opcode.CHUNK and not _take_chunk(scan, offset, body):
                break
            if opcode == Opcode.MESSAGE_INDEX and scan.chunks:
                chunk = scan.chunks[-1]
                chunk.indexes[struct.unpack_from('<H', body)[0]] = offset
                chunk.indexes_end = file.tell()
    if not scan.header_end:
        raise BagError(f'{path}: cut off before its first message, there is nothing to save')
    return scan


def _take_chunk(scan: _Scan, offset: int, body: bytes) -> bool:
    """Note a chunk's contents; False when it cannot be decompressed."""
    counts: dict[int, int] = {}
    try:
        chunk = Chunk.read(ReadDataStream(BytesIO(body)))
        for record in breakup_chunk(chunk):
            if isinstance(record, Schema):
                scan.schemas[record.id] = record
            elif isinstance(record, Channel):
                scan.channels[record.id] = record
            else:
                counts[record.channel_id] = counts.get(record.channel_id, 0) + 1
    except Exception:  # noqa: BLE001  a damaged chunk fails in as many ways as it has bytes; all mean that data end here
        return False
    chunk.data = b''  # not needed any more, and a bag may be larger than memory
    length = _RECORD.size + len(body)
    scan.chunks.append(_Chunk(offset, length, chunk, counts, indexes_end=offset + length))
    return True


def _finish(path: Path, scan: _Scan, metadata: dict) -> None:
    with path.open('r+b') as file:
        if scan.chunks:
            _complete_last_index(file, scan.chunks[-1])
            file.truncate(scan.chunks[-1].indexes_end)
        else:
            file.truncate(scan.header_end)
        file.seek(0, os.SEEK_END)
        file.write(_summary(scan, metadata, file.tell()))
        file.flush()
        os.fsync(file.fileno())


def _complete_last_index(file, chunk: _Chunk) -> None:
    """The last chunk may lack some of its message indexes: write them anew."""
    if set(chunk.indexes) == set(chunk.counts):
        return
    file.seek(chunk.offset + _RECORD.size)
    record = Chunk.read(ReadDataStream(BytesIO(file.read(chunk.length - _RECORD.size))))
    records: dict[int, list[tuple[int, int]]] = {}
    stream, _ = get_chunk_data_stream(record)
    data, position = stream.read(record.uncompressed_size), 0
    while position < len(data):
        opcode, length = _RECORD.unpack_from(data, position)
        if opcode == Opcode.MESSAGE:
            channel, _, log_time = struct.unpack_from('<HIQ', data, position + _RECORD.size)
            records.setdefault(channel, []).append((log_time, position))
        position += _RECORD.size + length
    chunk.indexes.clear()
    position = chunk.offset + chunk.length
    file.seek(position)
    for channel, entries in records.items():
        builder = RecordBuilder()
        MessageIndex(channel, entries).write(builder)
        chunk.indexes[channel] = position
        position += file.write(builder.end())
    chunk.indexes_end = position


def _summary(scan: _Scan, metadata: dict, start: int) -> bytes:
    """Everything behind the last chunk: rosbag2's metadata, schemas, channels, chunk indexes, statistics, footer."""
    out = RecordBuilder()
    text = yaml.safe_dump(metadata['rosbag2_bagfile_information'], sort_keys=False)
    Metadata('rosbag2', {'serialized_metadata': text}).write(out)
    metadata_length = out.count
    DataEnd(0).write(out)
    summary_start = start + out.count
    counts = _counts(scan)
    for record in (*scan.schemas.values(), *scan.channels.values()):
        record.write(out)
    for chunk in scan.chunks:
        c = chunk.record
        data_length = chunk.length - _RECORD.size - 40 - len(c.compression)
        ChunkIndex(chunk.length, chunk.offset, c.compression, data_length, c.message_end_time,
                   chunk.indexes_end - chunk.offset - chunk.length, chunk.indexes, c.message_start_time,
                   c.uncompressed_size).write(out)
    MetadataIndex(start, metadata_length, 'rosbag2').write(out)
    first, last = _times(scan)
    Statistics(0, len(scan.channels), counts, len(scan.chunks), sum(counts.values()), last, first, 1,
               len(scan.schemas)).write(out)
    Footer(summary_start, 0, 0).write(out)
    out.write(MAGIC)
    return out.end()


def _metadata(scan: _Scan, name: str, custom: dict[str, str]) -> dict:
    metadata, counts = early_metadata(name, custom), _counts(scan)
    info = metadata['rosbag2_bagfile_information']
    first, last = _times(scan)
    span = {'starting_time': {'nanoseconds_since_epoch': first}, 'duration': {'nanoseconds': last - first},
            'message_count': sum(counts.values())}
    info.update(span, files=[{'path': name, **span}])
    info['topics_with_message_count'] = [
        {'topic_metadata': {'name': c.topic, 'type': scan.schemas[c.schema_id].name, 'serialization_format': 'cdr',
                            'offered_qos_profiles': yaml.safe_load(c.metadata.get('offered_qos_profiles', '')) or [],
                            'type_description_hash': ''}, 'message_count': counts.get(c.id, 0)}
        for c in scan.channels.values()]
    return metadata


def _counts(scan: _Scan) -> dict[int, int]:
    return {channel: sum(chunk.counts.get(channel, 0) for chunk in scan.chunks) for channel in scan.channels}


def _times(scan: _Scan) -> tuple[int, int]:
    spans = [(c.record.message_start_time, c.record.message_end_time) for c in scan.chunks if c.counts]
    return (min(s for s, _ in spans), max(e for _, e in spans)) if spans else (0, 0)


def _custom_data(bag: Path) -> dict[str, str]:
    """What the early metadata.yaml kept for this moment."""
    try:
        text = (bag / 'metadata.yaml').read_text(encoding='utf-8')
        return yaml.safe_load(text)['rosbag2_bagfile_information'].get('custom_data') or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return {}
