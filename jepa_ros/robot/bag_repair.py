"""Making a bag whole again whose writing was cut off, or whose metadata.yaml is lost: by a kill, a full disk, a copy.

Works on bag folders of any recorder with one or several .mcap or .db3 files, and on single files.
"""
from dataclasses import dataclass
import fcntl
from pathlib import Path
import sqlite3

from ..errors import BagError
from . import db3_repair, mcap_repair
from .audit import summary
from .bag_metadata import AUDIT, custom_data, metadata, PREFIX, Topic, write_metadata
from .bag_open import NOT_CDR, open_bag
from .bag_remedies import BagReader, journal, ros1_line, unpacking
from .bag_types import ZSTD_MAGIC
from .repair_files import Contents, damaged_name

RESERVE = '.reserve'
KINDS = {'.mcap': 'mcap', '.db3': 'sqlite3'}    # suffix -> rosbag2's name of the storage


@dataclass(frozen=True)
class Repaired:
    """What a repair came to."""

    messages: int                   # the bag holds now
    was_whole: bool = False         # nothing was changed
    files: tuple[str, ...] = ()     # finished or written anew
    dropped: tuple[str, ...] = ()   # left out: there is nothing in them
    cut_bytes: int = 0              # that were damaged
    salvaged: int = 0               # messages found in those
    doubtful: int = 0               # of these, from chunks whose checksum does not fit: they may hold wrong bytes
    lost: int = 0                   # messages an old index knew that cannot be read; 0 where that is not known
    kept: tuple[str, ...] = ()      # files that hold the old bytes


def repair(bag: Path | str) -> int:
    """Make a bag readable that was cut off; a whole one is left as it is. Returns the number of messages."""
    return repaired(bag).messages


def repaired(bag: Path | str) -> Repaired:
    """As `repair`, and say what was done. `BagError` in one line when nothing can be saved."""
    bag = Path(bag)
    if line := ros1_line(bag):
        raise BagError(line)
    if bag.is_file():
        if bag.suffix not in KINDS:
            raise BagError(f'{bag}: neither a bag folder nor an .mcap or .db3 file')
        _refuse_in_use(bag)
        behind = bool(journal(bag))
        contents, mended = _whole_or_mended(bag)
        touched = mended or behind
        return _outcome([contents], [bag.name] if touched else [], [], was_whole=not touched)
    if not bag.is_dir():
        raise BagError(f'{bag}: there is no such bag folder')
    for file in _files(bag):
        _refuse_in_use(file)
    closed = not (bag / RESERVE).exists()
    (bag / RESERVE).unlink(missing_ok=True)
    return _mend(bag, closed)


def rebuild_index(bag: Path) -> int:
    """Finish a folder of .mcap files in place; returns how many messages it holds. `BagError` when none can be saved.

    For the recorder itself, after an error of the disk.
    """
    return _mend(bag, False, last_resort=True).messages


def _mend(bag: Path, closed: bool, last_resort: bool = False) -> Repaired:
    """Make the files of a folder whole, and write its metadata.yaml anew where it does not tell what they hold."""
    packed = sorted(p for p in bag.glob('*.zstd') if not p.with_suffix('').exists())
    if packed and closed and (count := _readable(bag)):
        return Repaired(count, was_whole=True)
    if packed:
        raise BagError(f'{packed[0]} is compressed as a whole: {unpacking(packed[0])}')
    files = _files(bag)
    if not files:
        if _readable(bag) == 0:
            return Repaired(0, was_whole=True)
        raise BagError(f'{bag}: there is no .mcap or .db3 file in it to repair')
    kinds = {file.suffix for file in files}
    if len(kinds) > 1:
        raise BagError(f'{bag}: it holds .mcap and .db3 files: move those of another bag away first')
    behind = [file.name for file in files if journal(file)]     # sqlite works a journal off when it opens the file
    done, touched, dropped, reason = [], [], [], ''
    for file in files:
        try:
            contents, changed = _whole_or_mended(file, last_resort)
        except BagError as error:  # nothing in this one; the bag may have others
            dropped.append(file.name)
            reason = str(error)
            continue
        done.append(contents)
        if changed:
            touched.append(file.name)
    if not done:
        raise BagError(reason)
    if closed and not touched and not dropped and _readable(bag) == sum(c.span.messages for c in done):
        return _outcome(done, behind, [], was_whole=not behind)
    done.sort(key=lambda contents: (not contents.span.messages, contents.span.start_ns))
    content = metadata([c.span for c in done], _topics(bag, done), _custom(bag, done), KINDS[kinds.pop()])
    if any(_is_packed(bag / c.span.name) for c in done):
        content['rosbag2_bagfile_information'] |= {'compression_format': 'zstd', 'compression_mode': 'MESSAGE'}
    _keep_metadata(bag)
    write_metadata(bag, content)
    return _outcome(done, sorted({*touched, *behind}), dropped)


def _outcome(done: list[Contents], touched: list[str], dropped: list[str], was_whole: bool = False) -> Repaired:
    return Repaired(sum(c.span.messages for c in done), was_whole, tuple(touched), tuple(dropped),
                    sum(c.cut_bytes for c in done), sum(c.salvaged for c in done),
                    sum(c.doubtful for c in done), sum(c.lost for c in done), tuple(c.kept for c in done if c.kept))


def _readable(bag: Path) -> int | None:
    """How many messages come out of a bag as it is, all of it read; None where its metadata.yaml says otherwise."""
    try:
        with open_bag(bag) as opened:
            topics = {c.topic for c in opened.connections}
            found = sum(1 for _ in opened.raw_messages(topics))
            return found if found == opened.count(topics) else None
    except BagError as error:
        if NOT_CDR in str(error):   # a new metadata.yaml would hide it
            raise
        return None


def _keep_metadata(bag: Path) -> None:
    """Leave a foreign metadata.yaml beside the new one: a newer recorder may have said more in it."""
    old = bag / 'metadata.yaml'
    if old.exists() and old.stat().st_size and not any(key.startswith(PREFIX) for key in custom_data(bag)):
        old.rename(damaged_name(old))


def _is_packed(file: Path) -> bool:
    """Whether the messages are compressed one by one: rosbag2 keeps that in metadata.yaml alone."""
    with BagReader(file) as reader:
        _, _, raw = next(reader.messages(), (None, 0, b''))
        return raw[:4] == ZSTD_MAGIC


def _files(bag: Path) -> list[Path]:
    return sorted(file for file in bag.iterdir() if file.suffix in KINDS)


def _refuse_in_use(file: Path) -> None:
    """A recorder holds a lock on the file it writes: finishing it now would destroy what follows."""
    with file.open('rb') as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BagError(f'{file} is being recorded: end the recording first (Ctrl-C), it closes its bag') from None


def _whole_or_mended(file: Path, last_resort: bool = False) -> tuple[Contents, bool]:
    """(contents, True if the file had to be changed) of one storage file."""
    if file.stat().st_size == 0:
        raise BagError(f'{file}: is empty, there is nothing to save')
    kind = db3_repair if file.suffix == '.db3' else mcap_repair
    try:
        return kind.whole_or_mended(file, last_resort)
    except (OSError, sqlite3.Error) as error:
        raise BagError(f'{file}: cannot be repaired: {getattr(error, "strerror", None) or error}') from error


def _topics(bag: Path, files: list[Contents]) -> list[Topic]:
    """Topics of all files; `BagError` where two files disagree about a type."""
    topics: dict[str, Topic] = {}
    for contents in files:
        for topic in contents.topics:
            if topics.setdefault(topic.name, topic).type != topic.type:
                raise BagError(f'{bag}: topic {topic.name} is {topics[topic.name].type} in one file and {topic.type} '
                               f'in {contents.span.name}: these files are of two bags')
    return list(topics.values())


def _custom(bag: Path, files: list[Contents]) -> dict[str, str]:
    """What metadata.yaml kept for this moment, or else what the files themselves say, and the audits of all."""
    custom = custom_data(bag) or next((contents.custom for contents in files if contents.custom), {})
    audits = [audit for contents in files for audit in contents.audits]
    failed = {audit['episode']: audit['problems'] for audit in audits if audit['problems']}
    return {**custom, AUDIT: summary(len(audits), failed)} if audits else custom
