"""Copying what is sound in an .mcap file, damaged or without chunks, into a new one. Used by `mcap_repair.py`."""
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mcap.opcode import Opcode
from mcap.records import Channel, Message
from mcap.writer import Writer as McapWriter

from .. import __version__
from .mcap_index import contents_of
from .mcap_records import chunk_head, chunk_records, RECORD, sound_record, unpacked
from .mcap_scan import Mapped, Scan, Scanner
from .repair_files import Contents, damaged_name


def rewrite(path: Path) -> Contents | None:
    """Put a copy of all that can be read in the file's place; the old one is kept beside. None without any message.

    OSError when the disk has no room for the copy; the file is then as it was.
    """
    partial = path.with_name(f'{path.name}.tmp')
    try:
        with Mapped(path) as data, partial.open('wb') as new:
            scanner = Scanner(data)
            scan = scanner.walk()
            salvaged, doubtful = _copy(scanner, scan, data, new)
        with Mapped(partial) as data:
            contents = contents_of(Scanner(data).walk(), path.name)
        if not contents.span.messages:
            return None
        kept = damaged_name(path)
        path.replace(kept)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return replace(contents, cut_bytes=scan.damaged_bytes, salvaged=salvaged, doubtful=doubtful,
                   kept=kept.name)


def _copy(scanner: Scanner, scan: Scan, data, new) -> tuple[int, int]:
    """Write all messages, notes and attachments; returns (messages out of damaged parts, doubtful ones of these)."""
    writer, channels, salvaged, doubtful = McapWriter(new), dict[int, int](), 0, 0
    writer.start(profile='ros2', library=f'jepa_ros {__version__}')
    for _, _, note in scan.notes:
        writer.add_metadata(note.name, note.metadata)

    def announce(c: Channel) -> None:
        s = scan.schemas.get(c.schema_id)
        schema = writer.register_schema(s.name, s.encoding, s.data) if s else 0
        channels[c.id] = writer.register_channel(c.topic, c.message_encoding, schema, c.metadata)

    def put(message: Message) -> None:
        if message.channel_id not in channels:  # learned from a damaged part
            announce(scan.channels[message.channel_id])
        writer.add_message(channels[message.channel_id], message.log_time, bytes(message.data), message.publish_time,
                           message.sequence)
    for channel in scan.channels.values():
        announce(channel)
    for message in _sound(scan, data):
        put(message)
    for part in scan.damaged:
        found = scanner.found_in(*part)
        salvaged += len(found)
        doubtful += len(found) if scanner.doubtful(part[0]) else 0
        for message in found:
            put(message)
    for _, _, a in scan.attachments:
        writer.add_attachment(a.create_time, a.log_time, a.name, a.media_type, a.data)
    writer.finish()
    return salvaged, doubtful


def _sound(scan: Scan, data) -> Iterator[Message]:
    """Messages of the sound parts, in the order of the file."""
    for chunk in scan.chunks:
        head = chunk_head(data, chunk.offset)
        records = chunk_records(head, unpacked(head, data, len(data)), scan.channels) if head else None
        yield from (record for record in records or () if isinstance(record, Message))
    if scan.unchunked:
        yield from _loose(scan, data)


def _loose(scan: Scan, data) -> Iterator[Message]:
    """Messages outside of chunks."""
    position, damaged = 8, dict(scan.damaged)
    while position < scan.end:
        if position in damaged:
            position = damaged[position]
            continue
        end = position + RECORD.size + RECORD.unpack_from(data, position)[1]
        if data[position] == Opcode.MESSAGE:
            record = sound_record(data, position, end, scan.channels)
            if isinstance(record, Message):
                yield record
        position = end
