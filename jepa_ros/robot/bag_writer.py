"""Writing rosbag2 bags (MCAP, zstd chunks) that describe themselves and survive a full disk.

Used by the recorder node. One thread at a time may call a writer.
"""
from contextlib import suppress
import os
from pathlib import Path
import shutil

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError

from ..errors import BagError
from .bag_metadata import early_metadata, Provenance, write_metadata
from .bag_repair import rebuild_index
from .bag_types import ensure_type, typestore

RESERVE_BYTES = 4 << 20   # kept free for the index: about 200 bytes per MB recorded, and metadata.yaml


class BagWriter:
    """One bag being written; close it, or use it as a context manager.

    After an error of the disk the bag is finished with what it holds: `BagError` says how much that is, and
    everything before stays readable.
    """

    def __init__(self, path: Path | str, provenance: Provenance):
        self.path = Path(path)
        self.bytes = 0
        self.counts: dict[str, int] = {}
        self._connections: dict[str, object] = {}
        self._reserve = self.path / '.reserve'
        custom = provenance.custom_data()
        try:
            self._writer = Writer(self.path, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            for key, value in custom.items():
                self._writer.set_custom_data(key, value)
            self._writer.open()
            write_metadata(self.path, early_metadata(f'{self.path.name}.mcap', custom))
            with self._reserve.open('wb') as reserve:
                os.posix_fallocate(reserve.fileno(), 0, RESERVE_BYTES)
        except WriterError:
            raise BagError(f'{self.path} exists already; give another output or --overwrite') from None
        except OSError as error:
            shutil.rmtree(self.path, ignore_errors=True)  # nothing is recorded yet, and the name is wanted again
            raise BagError(f'{self.path}: a bag cannot be written here ({error.strerror or error}): free space or give '
                           'another output') from error
        self.open = True

    def add_topic(self, topic: str, type_name: str, qos: list = ()) -> None:
        """Announce a topic; `BagError` for a type that is not installed."""
        ensure_type(type_name)
        self._connections[topic] = self._writer.add_connection(
            topic, type_name, typestore=typestore(), offered_qos_profiles=qos)
        self.counts[topic] = 0

    def write(self, topic: str, time_ns: int, raw: bytes) -> None:
        """Append one serialised message (CDR)."""
        try:
            self._writer.write(self._connections[topic], time_ns, raw)
        except OSError as error:
            raise BagError(self._rescue(error)) from error
        self.counts[topic] += 1
        self.bytes += len(raw)

    def close(self) -> None:
        """Write the index and the final metadata.yaml."""
        if not self.open:
            return
        self._reserve.unlink(missing_ok=True)
        try:
            self._writer.close()
        except OSError as error:
            raise BagError(self._rescue(error)) from error
        self.open = False

    def _rescue(self, error: OSError) -> str:
        """Finish the bag with the chunks that reached the disk; returns the line that says so."""
        self.open = False
        with suppress(OSError):
            self._writer.abort()
        self._reserve.unlink(missing_ok=True)
        kept = rebuild_index(self.path)
        written = sum(self.counts.values())
        return (f'{self.path}: recording ended, {error.strerror or error}; {kept} messages are kept and readable, '
                f'the last {max(written + 1 - kept, 1)} are lost; free space and record again')

    def __enter__(self) -> 'BagWriter':
        return self

    def __exit__(self, *_exception) -> None:
        self.close()
