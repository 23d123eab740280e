"""Entries of a drafted contract, one function per kind of message. Part of `draft.py`.

Each returns entries: the values to write and, beside them, comments that say what was guessed.
"""
from dataclasses import dataclass, field
import math
import re
from typing import Any

import numpy as np
from pydantic import ValidationError

from ..errors import ContractError
from .adapters import observation_types, to_array, TRANSFORM_TYPE
from .arrivals import Arrivals
from .check_time import good_timeout_s, PAUSE_S, TWO_CLOCKS_S
from .contract import Observation
from .findings import round_out
from .survey import TopicSurvey

LARGEST_SIDE = 160      # px; larger images are drafted smaller, as training has to read each of them
MOST_NUMBERS = 32       # of one plain message: more are data of a kind that needs an adapter of its own
GENERIC = {'image_raw', 'image', 'image_color', 'image_rect', 'image_rect_raw', 'compressed', 'data', 'raw', 'points',
           'compresseddepth', 'state'}
STEADY = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/LaserScan',
          'sensor_msgs/msg/PointCloud2', 'sensor_msgs/msg/Imu')     # silence is a gap, not a value that stays
NO_SENSORS = {'sensor_msgs/msg/Joy': 'what a person commands, not what the robot senses',
              'sensor_msgs/msg/JoyFeedback': 'what a joystick is told',
              'sensor_msgs/msg/CameraInfo': 'calibration, not a measurement'}
PLAIN_PACKAGES = ('std_msgs', 'sensor_msgs', 'geometry_msgs', 'nav_msgs')
POSES = {'nav_msgs/msg/Odometry': 'pose.pose', 'geometry_msgs/msg/PoseWithCovarianceStamped': 'pose.pose',
         'geometry_msgs/msg/PoseStamped': 'pose'}
_FRAME = re.compile(r'/?[A-Za-z_][A-Za-z0-9_\-]*(/[A-Za-z0-9_\-]+)*')   # what a contract takes


@dataclass
class Entry:
    """One item of a list in the YAML file: `values` in their order, and comments by key ('' stands above it)."""

    values: dict[str, Any]
    comments: dict[str, str] = field(default_factory=dict)
    own: Arrivals = field(default_factory=Arrivals)     # of its own samples, by the times that the entry goes by


class Unusable(Exception):
    """Why a topic gets no entry; said in a comment of the draft."""


def snake(text: str, fallback: str = 'x') -> str:
    """A key of a contract made of any text."""
    words = re.sub(r'([a-z0-9])([A-Z])', r'\1_\2', text).lower()
    key = re.sub(r'[^a-z0-9]+', '_', words).strip('_')
    return key if re.match(r'[a-z]', key) else f'{fallback}_{key}'.strip('_')


def key_for(topic: str, taken: set[str]) -> str:
    """A key after the part of a topic that says what it is, not yet taken; it is taken then."""
    parts = [p for p in topic.strip('/').split('/') if p]
    telling = [p for p in parts if p.lower() not in GENERIC] or parts
    key = snake(telling[-1], 'topic')
    for depth in range(2, len(telling) + 1):
        if key in taken:
            key = snake('_'.join(telling[-depth:]), 'topic')
    number, first = 2, key
    while key in taken:
        key, number = f'{first}_{number}', number + 1
    taken.add(key)
    return key


def observations(topic: TopicSurvey, key: str, name: str) -> list[Entry]:
    """Entries for a sensor topic called `name` in the contract; `Unusable` says why there is none."""
    if topic.unreadable:
        raise Unusable(topic.unreadable)
    if not topic.recorded:
        raise Unusable('no message on it')
    if topic.type in NO_SENSORS:
        raise Unusable(NO_SENSORS[topic.type])
    maker = _MAKERS.get(topic.type)
    if maker is None and topic.type in observation_types():
        raise Unusable(f'an installed adapter reads {topic.type}: add an entry with the keys it needs')
    if maker is None:
        if topic.type.split('/')[0] not in PLAIN_PACKAGES:
            raise Unusable(f'{topic.type} is no sensor message that is known here')
        maker = _plain
    entries = [_finish(entry, topic) for entry in maker(topic, {'key': key, 'topic': name, 'type': topic.type})]
    for entry in entries[:1]:   # the first message is of the first group of joints
        _try(entry, topic)
    return entries


def _try(entry: Entry, topic: TopicSurvey) -> None:
    """`Unusable` when the adapter takes none of the topic's first messages. A transform needs several."""
    try:
        stream = Observation.model_validate(entry.values)
    except ValidationError as error:
        raise Unusable(error.errors()[0]['msg'].removeprefix('Value error, ')) from None
    reason = ''
    for message in topic.early if stream.type != TRANSFORM_TYPE else ():
        try:
            to_array(stream, message)
            return
        except ContractError as error:
            reason = reason or str(error).removeprefix(f'{stream.topic}: ')
    if reason:
        raise Unusable(reason)


def _finish(entry: Entry, topic: TopicSurvey) -> Entry:
    """Add what all observations have: alignment, timeout, stamps, QoS, frame."""
    values, comments = entry.values, entry.comments
    own = entry.own = entry.own if entry.own.recorded else topic
    few = own.recorded < 3
    rare = few or own.gap_s > PAUSE_S
    # Who offers transient local need not be silent between changes: ros2_control offers it for 10 Hz joint states.
    latched = rare and bool(topic.qos) and all(q.transient_local for q in topic.qos)
    values['align'] = 'hold' if latched or few or rare and topic.type not in STEADY else 'asof'
    if values['align'] == 'hold':
        comments['align'] = f'guess: it speaks only on change, {own.recorded} times'
    if latched:
        values['qos'] = 'latched'
    stamps = np.frombuffer(own.stamp_ns, np.int64)
    if len(stamps) and not (stamps > 0).all():
        go_by_receipt(entry, f'{int((stamps <= 0).sum())} of {len(stamps)} header stamps are zero')
    elif len(stamps) and -0.1 > own.delay_s[0] > -TWO_CLOCKS_S:
        go_by_receipt(entry, f'guess: header stamps are up to {-own.delay_s[0]:.3g} s in the future')
    else:
        _time_out(entry)
    frames = [f for f in topic.frames if f and _FRAME.fullmatch(f)]
    if len(frames) == 1 and len(topic.frames) == 1:
        values['frame'] = frames[0]
    elif len(frames) > 1:
        comments[''] = f'frames seen: {", ".join(frames)}; set frame: to the one that is meant'
    return entry


def go_by_receipt(entry: Entry, why: str) -> None:
    """Let an entry's samples be timed by when they were received, for the reason that its comment says."""
    entry.values['stamp'], entry.comments['stamp'] = 'receive', why
    entry.own = entry.own.received()
    _time_out(entry)


def _time_out(entry: Entry) -> None:
    gaps = entry.own.intervals_s
    if entry.values['align'] == 'hold' or not len(gaps):
        return
    entry.values['timeout_s'] = good_timeout_s(gaps, entry.own.delay_s[1])
    entry.comments['timeout_s'] = f'guess: one sample every {np.median(gaps):.3g} s, longest gap {gaps.max():.3g} s'


def _image(topic: TopicSurvey, values: dict) -> list[Entry]:
    if 'size' not in topic.facts:
        raise Unusable('its images cannot be unpacked')
    height, width = topic.facts['size']
    shrink = 1
    while max(height, width) / shrink > LARGEST_SIDE:
        shrink *= 2
    encoding = topic.facts['encoding']
    kind = 'depth' if encoding in ('16UC1', '32FC1') else 'mono8' if encoding in ('mono8', '8UC1', 'mono16') else 'rgb8'
    values |= {'height': max(8, height // shrink), 'width': max(8, width // shrink), 'encoding': kind}
    comments = {'height': f'messages are {", ".join(topic.forms)}'}
    if shrink > 1:
        comments['height'] += f'; guess: 1/{shrink} of that is enough'
    return [Entry(values, comments)]


def _scan(topic: TopicSurvey, values: dict) -> list[Entry]:
    beams = topic.facts.get('beams', 0)
    if beams < 1:
        raise Unusable('its scans have no beams')
    values['beams'] = beams
    share = topic.tallies['valid'] / max(topic.tallies['seen'], 1)
    facts = f'{100 * share:.1f} % of them valid, within {topic.facts["range_min_m"]:.3g} … ' \
            f'{topic.facts["range_max_m"]:.3g} m'
    several = f'messages differ: {", ".join(topic.forms)}; ' if len(topic.forms) > 1 else ''
    return [Entry(values, {'beams': several + facts})]


def _cloud(topic: TopicSurvey, values: dict) -> list[Entry]:
    facts = topic.facts
    if 'range_max_m' not in facts:
        raise Unusable('its clouds have no finite points')
    rows, columns = facts['size'] if facts['size'][0] > 1 else (16, 256)
    low, high = math.floor(facts['elevation_min_rad'] * 10) / 10, math.ceil(facts['elevation_max_rad'] * 10) / 10
    values |= {'height': min(rows, 128), 'width': min(columns, 1024), 'elevation_min_rad': max(low, -1.5),
               'elevation_max_rad': min(max(high, low + 0.1), 1.5), 'range_max_m': round_out(facts['range_max_m'])}
    return [Entry(values, {'height': f'guess: rows of the range image; clouds are {", ".join(topic.forms)}',
                           'elevation_min_rad': f'guess: points seen from {facts["elevation_min_rad"]:.3g} to '
                                                f'{facts["elevation_max_rad"]:.3g} rad'})]


def _joints(topic: TopicSurvey, values: dict) -> list[Entry]:
    """One entry for each group of joints that come together: an arm and its gripper may share the topic."""
    entries: list[Entry] = []
    base = values['key']
    for joints, part in topic.parts.items():
        others = {joint for group in topic.parts if group != joints for joint in group}
        fields = [what for what in ('position', 'velocity', 'effort')
                  if all(_usable(topic, f'{what}[{j}]', part.recorded) for j in joints)
                  and any(np.any(topic.values(f'{what}[{j}]') != 0) for j in joints)]
        if joints and fields and others.isdisjoint(joints):
            key = base if not entries else f'{base}_{len(entries) + 1}'
            entries.append(Entry(values | {'key': key, 'joints': list(joints), 'fields': fields}, {}, part))
    if not entries:
        raise Unusable('its messages hold no joints that always come together with finite values')
    return entries


def _imu(topic: TopicSurvey, values: dict) -> list[Entry]:
    parts = {'orientation': 'xyzw', 'angular_velocity': 'xyz', 'linear_acceleration': 'xyz'}
    measured = [what for what, axes in parts.items()
                if topic.forms[what] == topic.recorded and all(_usable(topic, f'{what}.{a}') for a in axes)]
    if 'orientation' in measured and not _usable(topic, 'orientation.yaw'):
        measured.remove('orientation')  # all zeros: nobody has set it
    if not measured:
        raise Unusable('it measures nothing: all covariances start with -1')
    return [Entry(values | {'fields': measured}, {})]


def _array(topic: TopicSurvey, values: dict) -> list[Entry]:
    if len(topic.forms) > 1:
        raise Unusable(f'its messages differ in length: {", ".join(topic.forms)}')
    return [Entry(values | {'size': topic.facts['numbers']}, {'size': 'what each number is, the topic does not say'})]


def _odometry(topic: TopicSurvey, values: dict) -> list[Entry]:
    paths = [p for p in topic.varying() if p.startswith('twist.') and _usable(topic, p)]
    if not paths:
        raise Unusable('its velocities are always zero')
    return [Entry(values | {'fields': paths}, {'fields': 'guess: velocities that were ever other than zero'})]


def _pose(topic: TopicSurvey, values: dict) -> list[Entry]:
    raise Unusable('a pose is a readout, not what a sensor feels')


def _plain(topic: TopicSurvey, values: dict) -> list[Entry]:
    paths = [p for p in topic.varying() if _usable(topic, p) and np.ptp(topic.values(p)) > 0]
    if not paths:
        raise Unusable(f'no number of its {topic.type} ever changes')
    if len(paths) > MOST_NUMBERS:
        raise Unusable(f'its messages have {len(paths)} numbers: name those that matter in fields')
    derived = [p for p in paths if p.rsplit('.', 1)[-1] in ('roll', 'pitch', 'yaw')]
    return [Entry(values | {'fields': [p for p in paths if p not in derived]},
                  {'fields': 'guess: numbers that ever changed'})]


def _transforms(topic: TopicSurvey, values: dict) -> list[Entry]:
    entries: list[Entry] = []
    base = values['key']
    for (parent, child), part in topic.parts.items():
        columns = [topic.values(f'{parent}→{child}.{n}') for n in ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')]
        if any(np.ptp(c[np.isfinite(c)]) > 1e-6 for c in columns if np.isfinite(c).any()) and len(part.intervals_s):
            entries.append(Entry(values | {'key': f'{base}_{snake(child)}', 'parent_frame': parent,
                                           'child_frame': child}, {}, part))
    if not entries:
        raise Unusable('none of its transforms ever changes')
    return entries


def _usable(topic: TopicSurvey, path: str, count: int | None = None) -> bool:
    """True for a number that all messages, or `count` of them, have and that is finite."""
    values = topic.values(path)
    return len(values) == (topic.recorded if count is None else count) and bool(np.isfinite(values).all())


def readouts(topic: TopicSurvey, name: str) -> list[Entry]:
    """Position and heading of a pose topic; empty for others, and for what never changes."""
    pose = POSES.get(topic.type)
    if pose is None or topic.unreadable or not topic.recorded:
        return []
    wanted = [(f'{axis}_m', f'{pose}.position.{axis}') for axis in 'xyz'] + [('yaw_rad', f'{pose}.orientation.yaw')]
    return [Entry({'name': n, 'topic': name, 'type': topic.type, 'field': path}) for n, path in wanted
            if _usable(topic, path) and np.ptp(topic.values(path)) > 0]


_MAKERS = {
    'sensor_msgs/msg/Image': _image, 'sensor_msgs/msg/CompressedImage': _image, 'sensor_msgs/msg/LaserScan': _scan,
    'sensor_msgs/msg/PointCloud2': _cloud, 'sensor_msgs/msg/JointState': _joints, 'sensor_msgs/msg/Imu': _imu,
    'nav_msgs/msg/Odometry': _odometry, 'std_msgs/msg/Float64MultiArray': _array,
    'std_msgs/msg/Float32MultiArray': _array, 'tf2_msgs/msg/TFMessage': _transforms,
    'geometry_msgs/msg/PoseStamped': _pose, 'geometry_msgs/msg/PoseWithCovarianceStamped': _pose,
}
