"""Making one .mcap file whole again that was cut off or damaged. Used by `bag_repair.py`.

MCAP keeps messages in chunks and an index at the end. Where only the end is missing or damaged, the file is finished
in place: the cut chunk's whole messages go into a chunk of their own, and the index is written anew, so that no space
for a copy is needed. Where the damage lies in the middle, what is sound is copied. The damaged bytes stay beside it.
"""
from dataclasses import replace
import os
from pathlib import Path
import shutil

from mcap.opcode import Opcode

from ..errors import BagError
from .mcap_index import append_chunk, contents_of, write_index
from .mcap_records import RECORD
from .mcap_rewrite import rewrite
from .mcap_scan import MAGIC, Mapped, Scan, Scanner
from .repair_files import Contents, damaged_name

_MOST_INDEX_BYTES = 1 << 24     # of one channel in one chunk, 16 a message


def whole_or_mended(path: Path, last_resort: bool = False) -> tuple[Contents, bool]:
    """(contents, True if the file had to be changed) of an .mcap file, all of it read.

    With `last_resort`, for the recorder on a full disk, chunks at the end are given up where the index has no room.
    `BagError` when there is nothing to save, OSError when the disk has no room; the file is then as it was.
    """
    with Mapped(path) as data:
        scanner = Scanner(data)
        scan = scanner.walk()
        contents = contents_of(scan, path.name)
        told = scanner.told_messages
        if not scan.damaged and scanner.told_whole and told == scan.messages and (scan.ordered or scan.chunks):
            return contents, False
        is_mcap = data[:len(MAGIC)] == MAGIC
        tail_only = is_mcap and not scan.unchunked and scan.damaged in ([], [(scan.end, scan.size)])
        found = scanner.found_in(*scan.damaged[0]) if tail_only and scan.damaged else []
        if tail_only and not found and _index_only(data, scan):
            scan.damaged.clear()
    if tail_only:
        if not scan.messages + len(found):
            raise _nothing(path)
        return _finish(path, scan, found, last_resort), True
    contents = rewrite(path)
    if contents is None:
        raise _nothing(path) if is_mcap else BagError(f'{path}: not an MCAP file, it cannot be repaired')
    return replace(contents, lost=max(told - contents.span.messages, 0)), True


def _nothing(path: Path) -> BagError:
    return BagError(f'{path}: no message in it can be read, there is nothing to save; '
                    'it is left as it is')


def _index_only(data, scan: Scan) -> bool:
    """Whether what was cut is just the beginning of an index: it is written anew, so nothing is lost."""
    tail = data[scan.end:scan.end + RECORD.size]
    if len(tail) < RECORD.size or tail[0] not in (Opcode.MESSAGE_INDEX, Opcode.DATA_END):
        return False
    return scan.size - scan.end < RECORD.size + RECORD.unpack(tail)[1] < _MOST_INDEX_BYTES


def _finish(path: Path, scan: Scan, found: list, last_resort: bool) -> Contents:
    """Finish a file in place whose end is damaged; `found` are the messages saved out of that end."""
    lost_bytes, kept = scan.damaged_bytes, None
    try:
        kept = _keep_tail(path, scan.end) if lost_bytes else None
    except OSError:
        if not last_resort:
            raise
    end = scan.end
    try:
        if found:
            append_chunk(path, scan, found)
        contents = _indexed(path, scan, last_resort)
    except OSError:
        if kept is not None:
            _put_back(path, end, kept)
        raise
    return replace(contents, cut_bytes=lost_bytes, salvaged=len(found), kept=kept.name if kept else '')


def _indexed(path: Path, scan: Scan, last_resort: bool) -> Contents:
    while True:
        contents = contents_of(scan, path.name)
        try:
            write_index(path, scan, contents)
            return contents
        except OSError:  # no room even for the index: give up a chunk for it
            if not last_resort or not scan.chunks:
                raise
            last = scan.chunks.pop()
            scan.end = last.offset
            scan.notes = [note for note in scan.notes if note[0] < last.offset]
            scan.attachments = [a for a in scan.attachments if a[0] < last.offset]


def _keep_tail(path: Path, start: int) -> Path:
    """Copy the bytes behind `start` beside the file."""
    kept = damaged_name(path)
    try:
        with path.open('rb') as old, kept.open('xb') as new:
            old.seek(start)
            shutil.copyfileobj(old, new)
            new.flush()
            os.fsync(new.fileno())
    except OSError:
        kept.unlink(missing_ok=True)
        raise
    return kept


def _put_back(path: Path, end: int, kept: Path) -> None:
    with path.open('r+b') as file, kept.open('rb') as old:
        file.truncate(end)
        file.seek(end)
        shutil.copyfileobj(old, file)
    kept.unlink()
