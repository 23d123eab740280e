"""One stream of a contract: which messages concern it, when they were measured, what a tick gets."""
from collections.abc import Callable

import numpy as np

from ..errors import ContractError
from .adapters import to_array, TRANSFORM_TYPE, TransformReader
from .stream_buffer import HORIZON_S, Put, Sample, StreamBuffer, StreamCounters
from .streams import Observation, Readout

JOINT_STATE = 'sensor_msgs/msg/JointState'
_SECOND_NS = 1_000_000_000

Convert = Callable[[Observation | Readout, object], np.ndarray | np.float32]


def time_ns(stamp) -> int:
    """builtin_interfaces/Time of rclpy or of a bag -> nanoseconds."""
    return stamp.sec * _SECOND_NS + stamp.nanosec


def header_stamp_ns(message) -> int | None:
    """Header stamp in ns; None for a message without header."""
    header = getattr(message, 'header', None)
    return None if header is None else time_ns(header.stamp)


class StreamIntake:
    """An observation or readout whose messages each stand for themselves."""

    def __init__(self, stream: Observation | Readout, convert: Convert = to_array, horizon_s: float = HORIZON_S):
        self.stream = stream
        self.key = stream.key if isinstance(stream, Observation) else stream.name
        self.topics: tuple[str, ...] = (stream.topic,)
        self.counters = StreamCounters()
        self.frame_id = ''       # of the newest message
        self.buffer = StreamBuffer(stream.topic, lambda message: convert(stream, message), stream.timeout_s,
                                   self.counters, horizon_s)
        self._timeout_ns = round(stream.timeout_s * _SECOND_NS)
        self._by_header = not isinstance(stream, Observation) or stream.stamp == 'header'
        self._frame = stream.frame.removeprefix('/') if isinstance(stream, Observation) else ''
        self._joints: frozenset[str] = frozenset()
        if isinstance(stream, Observation) and stream.type == JOINT_STATE:
            self._joints = frozenset(stream.joints)

    def put(self, topic: str, message, log_ns: int) -> tuple[Put, int]:
        """Take a message that was sent at `log_ns`; what became of it, and its stamp in ns."""
        if self._joints and self._joints.isdisjoint(message.name):  # of a gripper that shares the topic with the arm
            self.counters.count('foreign', f'{topic}: the messages have joints {", ".join(message.name) or "(none)"}, '
                                f'the robot contract has {", ".join(sorted(self._joints))}')
            return Put.DROPPED, log_ns
        header = getattr(message, 'header', None)
        stamp_ns = log_ns
        if header is not None:
            self._look_at_frame(header.frame_id)
            if self._by_header:
                stamp_ns = time_ns(header.stamp)
        return self.buffer.put(stamp_ns, log_ns, message), stamp_ns

    def sample(self, tick_ns: int) -> tuple[Sample | None, str]:
        """The sample for a tick; or None and why, in one line."""
        sample, topic = self.buffer.newest(tick_ns), self.stream.topic
        if sample is None:
            reason = self.counters.lines.get('bad') or next(iter(self.counters.lines.values()), '')
            self.counters.count('missing')
            return None, f'{topic}: no usable sample yet' + (f' ({reason})' if reason else '')
        age_ns = tick_ns - sample.stamp_ns
        if self.stream.align == 'asof' and age_ns > self._timeout_ns:
            self.counters.count('stale')
            return None, (f'{topic}: the newest sample is {age_ns / _SECOND_NS:.2f} s old, '
                          f'its timeout_s is {self.stream.timeout_s:g}')
        return sample, ''

    def restart(self, log_ns: int) -> None:
        """Time began anew at `log_ns`: forget all samples, but for the newest of what stands until it is replaced."""
        latched = isinstance(self.stream, Observation) and self.stream.qos == 'latched'
        self.buffer.restart(log_ns if latched else None)

    def _look_at_frame(self, frame_id: str) -> None:
        self.frame_id = frame_id
        if self._frame and frame_id.removeprefix('/') != self._frame:
            self.counters.count('frame', f'{self.stream.topic}: frame_id is {frame_id!r}, the robot contract says '
                                f'{self._frame!r}')


class TransformIntake(StreamIntake):
    """A pose out of `tf`. Messages tell links of one tree, so each is read at once; those of `<topic>_static` too."""

    def __init__(self, stream: Observation):
        super().__init__(stream)
        self.topics = (stream.topic, static_topic(stream.topic))
        self._reader = TransformReader(stream)
        self._ends = (stream.parent_frame, stream.child_frame)
        self._moving: set[str] = set()      # child frames that the topic itself tells of

    def put(self, topic: str, message, log_ns: int) -> tuple[Put, int]:
        """Take a message that was sent at `log_ns`; what became of it, and the newest stamp on the way in ns."""
        static = topic != self.stream.topic
        try:
            value = self._reader(message)
            way = set(self._reader.tree.links(*self._ends))
        except ContractError as error:
            self.counters.received += 1
            self.counters.count('bad', str(error))
            return Put.DROPPED, log_ns
        if not static:
            self._moving |= {link.child_frame_id.removeprefix('/') for link in message.transforms}
        if value is None or static and way & self._moving:  # fixed links of a way whose moving ones make the time
            self.counters.count('foreign', f'{topic}: the messages do not place {self._ends[1]} in {self._ends[0]}')
            return Put.DROPPED, log_ns
        stamp_ns = log_ns if static or not self._by_header else max(
            time_ns(link.header.stamp) for link in message.transforms if link.child_frame_id.removeprefix('/') in way)
        return self.buffer.put(stamp_ns, log_ns, message, value), stamp_ns


def static_topic(topic: str) -> str:
    """Where links that never move are told: `/tf_static` beside `/tf`."""
    return f'{topic}_static'


def intake(stream: Observation | Readout, convert: Convert = to_array, horizon_s: float = HORIZON_S) -> StreamIntake:
    """The intake of a stream."""
    if isinstance(stream, Observation) and stream.type == TRANSFORM_TYPE:
        return TransformIntake(stream)
    return StreamIntake(stream, convert, horizon_s)
