"""What a .db3 file (rosbag2's sqlite3 storage) holds, and saving what can still be read. Used by `bag_repair.py`."""
from contextlib import closing
from dataclasses import replace
from pathlib import Path
import sqlite3

from ..errors import BagError
from .bag_metadata import FileSpan, Topic
from .db3_pages import message_rows
from .repair_files import Contents, damaged_name

WANTED = ('topics', 'messages')


def whole_or_mended(path: Path, last_resort: bool = False) -> tuple[Contents, bool]:
    """(contents, True if the file had to be changed) of a .db3 file. `last_resort` changes nothing here.

    `BagError` when there is nothing to save, OSError when the disk has no room; the file is then as it was.
    """
    try:
        return _read_contents(path), False
    except Exception:  # noqa: S110  sqlite raises many types for damaged files: all mean that it needs repair
        pass
    return _mended(path), True


def _read_contents(path: Path) -> Contents:
    """Contents of a whole file; sqlite3.DatabaseError where it is damaged. A crashed writer's journal is worked off."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute('PRAGMA quick_check(1)').fetchone()[0]
        if found != 'ok':
            raise sqlite3.DatabaseError(found)
        return _contents(database, path)


def _mended(path: Path) -> Contents:
    """Copy what can be read into a new file in its place; the old one is kept beside."""
    partial = path.with_name(f'{path.name}.tmp')
    partial.unlink(missing_ok=True)
    try:
        contents = _copied(path, partial)
        if not contents.span.messages:
            raise BagError(f'{path}: no message in it can be read, there is nothing to save; it is left as it is')
        saved_bytes = partial.stat().st_size
        kept = damaged_name(path)
        path.replace(kept)
        for journal in ('-wal', '-shm', '-journal'):
            if (beside := path.with_name(path.name + journal)).exists():
                beside.replace(path.with_name(kept.name + journal))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return replace(contents, cut_bytes=max(kept.stat().st_size - saved_bytes, 0), kept=kept.name)


def _copied(path: Path, partial: Path) -> Contents:
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(partial)) as new:
        try:
            old.execute('PRAGMA writable_schema = ON')  # else a file that is shorter than its header says is refused
            _copy_tables(old, new)
        except sqlite3.DatabaseError as error:
            raise BagError(f'{path}: sqlite cannot read its topics ({error}), there is nothing to save') from error
        new.executemany('INSERT OR IGNORE INTO messages (id, topic_id, timestamp, data) VALUES (?, ?, ?, ?)',
                        message_rows(path))
        new.execute('CREATE INDEX IF NOT EXISTS timestamp_idx ON messages (timestamp ASC)')
        new.commit()
        return _contents(new, path)


def _copy_tables(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """All small tables whole, `messages` empty."""
    tables = dict(old.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL "
                              "AND name NOT LIKE 'sqlite_%'"))
    if missing := [name for name in WANTED if name not in tables]:
        raise sqlite3.DatabaseError(f'no table {missing[0]}')
    for name, sql in tables.items():
        new.execute(sql)
        if name == 'messages':
            continue
        rows = old.execute(f'SELECT * FROM "{name}"').fetchall()
        if rows:
            new.executemany(f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(rows[0]))})', rows)


def _contents(database: sqlite3.Connection, path: Path) -> Contents:
    columns = [row[1] for row in database.execute('PRAGMA table_info(topics)')]
    if not columns:
        raise sqlite3.DatabaseError('no table topics')
    optional = [name if name in columns else "''" for name in ('offered_qos_profiles', 'type_description_hash')]
    topics = {row[0]: Topic(row[1], row[2], row[3] or '[]', row[4] or '') for row in database.execute(
        f'SELECT id, name, type, {", ".join(optional)} FROM topics ORDER BY id')}
    counts = dict.fromkeys((topic.name for topic in topics.values()), 0)
    starts, ends = [], []
    for topic, count, start, end in database.execute(
            'SELECT topic_id, COUNT(*), MIN(timestamp), MAX(timestamp) FROM messages GROUP BY topic_id'):
        if topic not in topics:
            raise BagError(f'{path}: messages of a topic that table topics does not have ({topic})')
        counts[topics[topic].name] += count
        starts.append(start)
        ends.append(end)
    span = FileSpan(path.name, counts, min(starts, default=0), max(ends, default=0))
    return Contents(span, list({topic.name: topic for topic in topics.values()}.values()))
