"""One .mcap file that is being written. Used by `bag_writer.py`.

The library of MCAP's makers writes it: zstd chunks with checksums, which can be ended at any moment, so that what was
recorded is with the operating system a moment later and a kill takes no more than that moment.
"""
from collections.abc import Iterable
import fcntl
import os
from pathlib import Path

from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter

from .. import __version__
from .bag_metadata import as_yaml, FileSpan, metadata, Topic
from .bag_types import typestore

DESCRIPTION = 'jepa_ros'    # name of the MCAP metadata record in front that holds what the bag says about itself


class BagFile:
    """An MCAP file of the profile `ros2`. Methods raise OSError when the disk does not take more."""

    def __init__(self, path: Path, custom: dict[str, str], topics: Iterable[Topic]):
        self.path = path
        self.counts: dict[str, int] = {}
        self.messages = 0
        self.start_ns = self.end_ns = 0     # log times
        self._custom = custom
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._flushed = self._advised = 0       # positions in the file
        self._stream = path.open('xb')
        fcntl.flock(self._stream, fcntl.LOCK_EX)   # until closed: nobody repairs a file that is being written
        self._writer = McapWriter(self._stream, compression=CompressionType.ZSTD)
        self._writer.start(profile='ros2', library=f'jepa_ros {__version__}')
        self._writer.add_metadata(DESCRIPTION, custom)  # in front: a single file of a cut-off bag still says it all
        for topic in topics:
            self.add_topic(topic)

    @property
    def size(self) -> int:
        """Bytes written so far, without the chunk in the making."""
        return self._stream.tell()

    @property
    def span(self) -> FileSpan:
        """What is in it so far."""
        return FileSpan(self.path.name, dict(self.counts), self.start_ns, self.end_ns)

    def add_topic(self, topic: Topic) -> None:
        """Announce a topic whose type is known to the type store."""
        if topic.type not in self._schemas:
            definition, _ = typestore().generate_msgdef(topic.type, ros_version=2)
            self._schemas[topic.type] = self._writer.register_schema(topic.type, 'ros2msg', definition.encode())
        self._channels[topic.name] = self._writer.register_channel(
            topic.name, 'cdr', self._schemas[topic.type],
            {'offered_qos_profiles': topic.qos, 'topic_type_hash': topic.type_hash})
        self.counts[topic.name] = 0

    def write(self, topic: str, time_ns: int, raw: bytes) -> None:
        """Append one serialised message (CDR)."""
        self._writer.add_message(self._channels[topic], time_ns, raw, time_ns)
        self.start_ns = min(self.start_ns, time_ns) if self.messages else time_ns
        self.end_ns = max(self.end_ns, time_ns)
        self.counts[topic] += 1
        self.messages += 1

    def note(self, name: str, values: dict[str, str]) -> None:
        """Append an MCAP metadata record."""
        self._writer.add_metadata(name, values)

    def flush(self) -> None:
        """Hand all that was written to the operating system, and have it begin to write that to the disk.

        Left alone, it gathers gigabytes and writes them in bursts (1.5 GB/s in place of a steady 50 MB/s), and they
        fill the page cache. This changes nothing about lost messages.
        """
        self._writer.flush()
        size = self._stream.tell()
        if hasattr(os, 'posix_fadvise'):
            os.posix_fadvise(self._stream.fileno(), self._advised, 0, os.POSIX_FADV_DONTNEED)
        self._advised = self._flushed   # once more the next time, when it is on the disk: then it leaves the page cache
        self._flushed = size

    def close(self, topics: Iterable[Topic]) -> None:
        """Write index and summary, with rosbag2's own description of the file in it."""
        self._writer.flush()
        own = metadata([self.span], topics, self._custom)['rosbag2_bagfile_information']
        self._writer.add_metadata('rosbag2', {'serialized_metadata': as_yaml(own)})
        self._writer.finish()
        self._stream.close()

    def abort(self) -> None:
        """Let go of the file as it is."""
        self._stream.close()
