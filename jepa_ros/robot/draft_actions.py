"""Command topics of a recording and their entries in a drafted contract. Part of `draft.py`."""
import re
from typing import Any

import numpy as np

from ..errors import BagError
from .arrivals import Arrivals
from .check_time import good_timeout_s
from .check_values import changes_per_s, held_silences, is_field, LONGEST_S, suggested_limits
from .draft_streams import Entry, snake
from .findings import round_out
from .survey import Survey, TopicSurvey

BASES = {'geometry_msgs/msg/Twist': '', 'geometry_msgs/msg/TwistStamped': 'twist.',
         'ackermann_msgs/msg/AckermannDrive': '', 'ackermann_msgs/msg/AckermannDriveStamped': 'drive.'}
TRAJECTORY = 'trajectory_msgs/msg/JointTrajectory'
ARRAYS = ('std_msgs/msg/Float64MultiArray', 'std_msgs/msg/Float32MultiArray')
KINDS = (*BASES, *ARRAYS, TRAJECTORY, 'std_msgs/msg/Float64', 'std_msgs/msg/Float32')    # of commands
PLAIN = ('std_msgs', 'geometry_msgs')       # packages whose messages can be commands: their fields are numbers
NAMES = {'linear.x': 'vx_mps', 'linear.y': 'vy_mps', 'linear.z': 'vz_mps', 'angular.x': 'wx_radps',
         'angular.y': 'wy_radps', 'angular.z': 'wz_radps', 'steering_angle': 'steering_rad', 'speed': 'speed_mps',
         'steering_angle_velocity': 'steering_rate_radps', 'acceleration': 'acceleration_mps2', 'jerk': 'jerk_mps3'}
JOINT_UNITS = {'position': 'rad', 'velocity': 'radps', 'acceleration': 'radps2', 'effort': 'nm'}
STOPS_AFTER_S = 0.25    # most bases stop by themselves after so long
_COMMAND = re.compile(r'cmd|command|ctrl|control|action|target|setpoint|reference|teleop', re.IGNORECASE)
_PROPOSED = re.compile(r'raw|unfiltered|nav|joy|teleop|smooth|mux|proposed|collision', re.IGNORECASE)


def command_topics(survey: Survey) -> list[TopicSurvey]:
    """Topics that command the robot: one base command, all trajectories, all arrays that are named like a command."""
    bases = [t for t in survey.topics.values() if t.type in BASES]
    bases = [t for t in bases if _COMMAND.search(t.topic)] or bases
    # Of cmd_vel, cmd_vel_nav and cmd_vel_smoothed, the plainest is what the base hears.
    bases.sort(key=lambda t: (not t.recorded, bool(_PROPOSED.search(t.topic)), len(t.topic)))
    others = [t for t in survey.topics.values()
              if t.type == TRAJECTORY or t.type in ARRAYS and _COMMAND.search(t.topic)]
    return bases[:1] + others


def speaks_like_command(topic: TopicSurvey) -> bool:
    """True for a topic whose type and name are those of a command: to observe it would be to observe the action."""
    return topic.type == TRAJECTORY or topic.type in (*BASES, *ARRAYS) and bool(_COMMAND.search(topic.topic))


def could_command(survey: Survey) -> list[TopicSurvey]:
    """Topics that may be commands though nothing says so."""
    return [t for t in survey.topics.values() if commands_something(t) and (
        t.type in KINDS or t.type.split('/')[0] in PLAIN and _COMMAND.search(t.topic))]


def commands_something(topic: TopicSurvey) -> bool:
    """True where the topic can be read and some number of it was ever other than zero."""
    return not topic.unreadable and topic.recorded > 0 and bool(topic.varying())


def action(topic: TopicSurvey, name: str, key: str, sensor: Arrivals, period_s: float) -> Entry:
    """Entry of a command topic called `name` in the contract; `sensor` is what sets the pace."""
    paths = _paths(topic)
    # Positions and unknown numbers are kept when the robot may not move; velocities go to zero.
    still = topic.type in BASES or 'velocity' in topic.topic or 'effort' in topic.topic
    align, why = _align(topic, sensor)
    timeout_s = STOPS_AFTER_S if align == 'hold' else max(STOPS_AFTER_S, min(LONGEST_S,
                                                                             good_timeout_s(topic.intervals_s)))
    values: dict[str, Any] = {'key': key, 'topic': name, 'type': topic.type, 'safe': 'zeros' if still else 'hold',
                              'align': align, 'timeout_s': timeout_s}
    comments = {'timeout_s': 'guess: the robot stops by itself after this long without a command',
                'align': f'guess: {why}'}
    if not still:
        comments['safe'] = 'guess: these are positions, which are kept'
    if 'norm' in topic.topic.lower():
        values['units'] = 'normalised'
    fields = []
    for path in paths:
        field, comment = _field(topic, path, period_s)
        fields.append(field)
        comments[path] = comment
    if topic.type in BASES and 'units' not in values and all(max(-f['min'], f['max']) <= 1 for f in fields):
        comments['type'] = 'no value is above 1: if they are normalised, not SI, say units: normalised and rename them'
    values['fields'] = fields
    return Entry(values, comments)


def _align(topic: TopicSurvey, sensor: Arrivals) -> tuple[str, str]:
    """How recorded commands are to be read, and why."""
    if silences := held_silences(topic, sensor):
        return 'hold', f'{silences} times a command was followed by silence while the robot went on'
    if topic.recorded < 2:
        return 'hold', 'there is one command only'
    if topic.median_s > LONGEST_S:
        return 'hold', f'commands come seldom, one every {topic.median_s:.3g} s'
    return 'asof', f'commands come regularly, one every {topic.median_s:.3g} s'


def _paths(topic: TopicSurvey) -> list[str]:
    """Field paths the agent would command."""
    if topic.type in BASES:
        used = [p for p in topic.varying() if p.removeprefix(BASES[topic.type]) in NAMES]
    elif topic.type in ARRAYS:
        used = [f'data[{i}]' for i in range(topic.facts['numbers'])]  # an array is sent whole
        if len(topic.forms) > 1:
            raise BagError(f'{topic.topic}: its messages differ in length ({", ".join(topic.forms)}), a command does '
                           'not; name another topic with --action')
    elif topic.type == TRAJECTORY:
        used = [f'position[{joint}]' for joint in topic.facts['joints'] if f'position[{joint}]' in topic.numbers]
        if any(not form.endswith(' 1 points') for form in topic.forms):
            raise BagError(f'{topic.topic}: its trajectories have several points ({", ".join(topic.forms)}), an action '
                           'has one; name another topic with --action')
    else:
        used = [p for p in topic.varying() if is_field(p)]
    finite = [p for p in used if np.isfinite(topic.values(p)).any()]
    if not finite:
        raise BagError(f'{topic.topic}: no finite number of its {topic.type} is ever other than zero')
    return finite


def _field(topic: TopicSurvey, path: str, period_s: float) -> tuple[dict[str, Any], str]:
    every = topic.values(path)
    values = every[np.isfinite(every)]
    low, high = suggested_limits(values)
    joint = re.fullmatch(r'(\w+)\[(.+)\]', path)
    short = path.removeprefix(BASES.get(topic.type, ''))
    name = NAMES.get(short) or (f'{snake(joint[2], "joint")}_{JOINT_UNITS.get(joint[1], "rad")}'
                                if joint and not joint[2].isdigit() else snake(path.replace('[', '_')))
    changes = changes_per_s(every, np.frombuffer(topic.log_ns, np.int64), period_s)
    quickest = round_out(float(changes.max(initial=0.0)))
    comment = f'seen {values.min():.3g} … {values.max():.3g}'
    if low == high:
        low, high = -1.0, 1.0
    if np.ptp(values) == 0:
        comment += ', never changes'
    elif low >= 0 or high <= 0:
        comment += ', never the other way'
    if len(values) < len(every):
        comment += f', {len(every) - len(values)} of {len(every)} not finite: these commands are left out'
    rate = quickest or (high - low) / period_s
    return {'name': name, 'field': path, 'min': low, 'max': high, 'max_rate': rate}, comment
