"""A robot contract drafted from a recording: complete, valid, with comments where something was guessed. Needs no ROS.

`jepa-ros robot init --bag` writes it; an integrator deletes what the agent need not see and corrects the guesses.
"""
from dataclasses import dataclass
import math
from pathlib import Path
import re
from typing import Any

import numpy as np
import yaml

from ..errors import BagError
from .arrivals import Arrivals
from .check_time import BOOT_STAMP_S, TWO_CLOCKS_S, UNEVEN
from .contract import RobotContract
from .draft_actions import action, command_topics, commands_something, could_command, speaks_like_command
from .draft_streams import Entry, go_by_receipt, key_for, observations, readouts, snake, Unusable
from .survey import Survey, TopicSurvey

PERIODS_S = (0.001, 0.002, 0.004, 0.005, 0.008, 0.01, 0.02, 0.025, 0.033, 0.04, 0.05, 0.066, 0.1, 0.125, 0.2, 0.25,
             0.5, 1.0, 2.0, 5.0, 10.0)
UNEVEN_SHARE = 0.02     # of intervals; above, a sensor is no pace to act at
FIRST = ('Image', 'CompressedImage', 'LaserScan', 'PointCloud2', 'JointState', 'Odometry', 'Imu')  # sets the pace
SKIPPED = {'/tf_static', '/rosout', '/parameter_events', '/clock', '/diagnostics', '/robot_description'}
ABSENT_S, ABSENT_SHARE = 2.0, 0.05      # of the recording: a sensor that lacks for longer is not required
WIDTH = 118


@dataclass(frozen=True)
class _Draft:
    """What the file will say, before it is text."""

    head: list[tuple[str, Any, str]]                 # key, value, comment
    observations: list[Entry]
    readouts: list[Entry]
    actions: list[Entry]
    skipped: list[tuple[str, str]]                   # topic, why


def draft(survey: Survey, name: str = '', actions: list[str] | None = None) -> str:
    """YAML text of a contract for what `survey` saw, which `RobotContract.parse` reads.

    A recording that holds its contract gives that one, unless `name` or `actions` ask for another. `actions` names the
    command topics where the recording does not make them clear. `BagError` in one line for a source with no command
    topic (naming those that could be one) or no sensor topic.
    """
    if survey.contract is not None and not name and not actions:
        origin = f'# The contract that {Path(survey.source).name} holds; give --name to draft another from messages.'
        return f'{origin}\n{survey.contract.to_yaml()}'
    commands = _commands(survey, actions or [])
    prefix = _namespace(survey, commands)
    skipped: list[tuple[str, str]] = []
    sensed, pace_topic = _observations(survey, commands, prefix, skipped)
    if pace_topic is None:
        why = {topic: f': {reason}' for topic, reason in skipped}
        there = [f'{t.topic} ({t.type}{why.get(t.topic, "")})' for t in survey.topics.values()]
        raise BagError(f'{survey.source}: no sensor topic in it that a contract can read; it has '
                       f'{", ".join(there) or "no topics"}')
    behind_s = _clock_delay_s(survey, sensed, pace_topic)
    for number, entry in enumerate(sensed):
        _one_clock(entry, behind_s)
        if number:      # the first one sets the pace
            _require(entry, survey)
    head = _head(survey, name, sensed[0], pace_topic, behind_s)
    period_s = next(value for key, value, _ in head if key == 'control_period_s')
    numbers = next((r for t in survey.topics.values() if t not in commands and _on_clock(t, behind_s)
                    and (r := readouts(t, _relative(t.topic, prefix)))), [])
    acted = _actions(commands, prefix, sensed[0].own, period_s, None if actions else skipped)
    text = _render(survey, prefix, _Draft(head, sensed, numbers, acted, skipped))
    RobotContract.parse(text, f'draft from {survey.source}')  # what is written must be readable
    return text


def _commands(survey: Survey, wanted: list[str]) -> list[TopicSurvey]:
    """Topics that command the robot: those asked for, or those that look like it."""
    found = []
    for name in wanted:
        full = survey.find(name)
        if full is None:
            raise BagError(f'{survey.source}: topic {name} is not in it; it has {", ".join(sorted(survey.topics))}')
        found.append(survey.topics[full])
    found = found or command_topics(survey)
    usable = [t for t in found if commands_something(t)]
    if usable:
        return usable
    why = 'no command topic in it'
    if found:
        why = f'command topic {found[0].topic}: {found[0].unreadable or "it holds nothing but zeros"}'
    maybe = [f'{t.topic} ({t.type})' for t in could_command(survey)]
    advice = f'if it is one of {", ".join(maybe)}, give --action with its name' if maybe else \
        'record it with the command topic (Twist, TwistStamped, JointTrajectory, Float64MultiArray or Ackermann)'
    raise BagError(f'{survey.source}: {why}, and a contract needs an action; {advice}')


def _namespace(survey: Survey, commands: list[TopicSurvey]) -> str:
    """Namespace that all topics of the robot share, as `/robot_1`; empty for none."""
    names = [t.topic for t in survey.topics.values() if t.topic not in SKIPPED and not t.topic.startswith('/tf')]
    first = commands[0].topic.split('/')[1:-1]
    for depth in range(len(first), 0, -1):
        prefix = '/' + '/'.join(first[:depth])
        if all(n.startswith(prefix + '/') for n in names) and len(names) > 1:
            return prefix
    return ''


def _relative(topic: str, prefix: str) -> str:
    """A topic as the contract names it: without the namespace; /tf and the like keep their absolute name."""
    if topic.startswith(('/tf', '/clock')) or not topic.startswith(prefix + '/'):
        return topic
    return topic[len(prefix) + 1:]


def _observations(survey: Survey, commands: list[TopicSurvey], prefix: str,
                  skipped: list[tuple[str, str]]) -> tuple[list[Entry], TopicSurvey | None]:
    """Entries of all sensor topics, the one that sets the pace first, and the topic of that one; None without any."""
    def rank(topic: TopicSurvey) -> int:
        kind = topic.type.rsplit('/', 1)[-1]
        return FIRST.index(kind) if kind in FIRST else len(FIRST)
    made: list[tuple[Entry, TopicSurvey]] = []
    taken: set[str] = set()
    for topic in sorted(survey.topics.values(), key=rank):
        if topic in commands or topic.topic in SKIPPED or topic.type.startswith('jepa_ros/'):
            continue
        if speaks_like_command(topic):
            skipped.append((topic.topic, f'another {topic.type} that may be a command'))
            continue
        try:
            key = key_for(topic.topic, taken)
            for entry in observations(topic, key, _relative(topic.topic, prefix)):
                if twin := _odometry_of(survey, entry):
                    skipped.append((topic.topic, f'{entry.values["child_frame"]} in {entry.values["parent_frame"]}, '
                                    f'which {twin} says too'))
                else:
                    made.append((entry, topic))
        except Unusable as reason:
            taken.discard(key)
            skipped.append((topic.topic, str(reason)))
    pace = made[0][1] if made else None
    return [entry for entry, _ in made], pace


def _one_clock(entry: Entry, clock_s: float) -> None:
    """Leave the header stamps of an entry aside when they are of another clock than the contract's."""
    if not _on_clock(entry.own, clock_s):
        behind_s = entry.own.delay_s[1] - clock_s
        go_by_receipt(entry, f'guess: header stamps are of another clock, {abs(behind_s):.4g} s '
                      f'{"before" if behind_s > 0 else "after"} the times of the others')


def _on_clock(own: Arrivals, clock_s: float) -> bool:
    """True where header stamps are set and of the clock that is `clock_s` behind the log, or there are no headers."""
    return not len(own.stamp_ns) or max(own.stamp_ns) > 0 and abs(own.delay_s[1] - clock_s) <= TWO_CLOCKS_S


def _clock_delay_s(survey: Survey, sensed: list[Entry], pace: TopicSurvey) -> float:
    """How far the contract's clock is behind the log: not at all, unless a simulator stamps the messages."""
    behind_s = pace.delay_s[1]
    if abs(behind_s) <= TWO_CLOCKS_S:
        return 0.0
    # Without a simulator a computer's clock is wrong, and live nothing would tell the agent of it.
    simulated, boot = '/clock' in survey.topics, max(pace.stamp_ns) * 1e-9 < BOOT_STAMP_S
    stamped = [entry.own for entry in sensed if len(entry.own.stamp_ns) and max(entry.own.stamp_ns) > 0]
    alone = any(abs(own.delay_s[1]) <= TWO_CLOCKS_S for own in stamped)
    return behind_s if boot and simulated or (boot or simulated) and not alone else 0.0


def _require(entry: Entry, survey: Survey) -> None:
    """Mark an observation that is there for a part of the recording only: nothing else would be left of it."""
    begin, end = survey.ends_ns
    absent_s = (min(entry.own.log_ns) - begin) * 1e-9, (end - max(entry.own.log_ns)) * 1e-9
    if max(absent_s) > max(ABSENT_S, ABSENT_SHARE * survey.span_s) and (entry.values['align'] == 'asof' or
                                                                        absent_s[0] >= absent_s[1]):
        entry.values['required'] = False
        entry.comments['required'] = (f'guess: its messages begin {absent_s[0]:.1f} s late and end {absent_s[1]:.1f} s '
                                      'early')


def _actions(commands: list[TopicSurvey], prefix: str, pace: Arrivals, period_s: float,
             skipped: list[tuple[str, str]] | None) -> list[Entry]:
    """Entries of the command topics; numbers that two of them call the same get the topic's key before their name."""
    taken: set[str] = set()
    entries: list[Entry] = []
    refused = []
    for topic in commands:
        try:
            entries.append(action(topic, _relative(topic.topic, prefix), key_for(topic.topic, taken), pace, period_s))
        except BagError as error:
            if skipped is None:     # it was asked for
                raise
            refused.append(error)
            skipped.append((topic.topic, str(error).removeprefix(f'{topic.topic}: ').split('; ')[0]))
    if not entries:
        raise refused[0]
    names: set[str] = set()
    for entry in entries:
        for number in entry.values['fields']:
            if number['name'] in names:
                number['name'] = f'{entry.values["key"]}_{number["name"]}'
            names.add(number['name'])
    return entries


def _odometry_of(survey: Survey, entry: Entry) -> str:
    """Odometry topic that holds the transform of an entry; empty without."""
    frames = entry.values.get('parent_frame'), entry.values.get('child_frame')
    return next((t.topic for t in survey.topics.values() if frames[0] and t.facts.get('frames') == frames), '')


def _head(survey: Survey, name: str, first: Entry, pace: TopicSurvey, behind_s: float) -> list[tuple[str, Any, str]]:
    """Name, clock, pace and control period. `first` sets the pace, on topic `pace`; the clock is so far behind."""
    name = snake(name or Path(survey.source).resolve().name, 'robot')
    head: list[tuple[str, Any, str]] = [
        ('name', name, ''), ('description', f'drafted from {Path(survey.source).name}', '')]
    if behind_s:
        boot = max(pace.stamp_ns) * 1e-9 < BOOT_STAMP_S
        whose = 'count from the start of a simulation' if boot else 'are of another clock'
        head.append(('clock', 'sim', f'guess: header stamps {whose}, {behind_s:.4g} s from the log times'))
    own, what = first.own, pace.topic if first.own.recorded == pace.recorded else first.values['key']
    usual = own.median_s or 0.1
    period_s = min(PERIODS_S, key=lambda p: abs(np.log(p / usual)))
    uneven = float(np.mean(own.intervals_s > UNEVEN * period_s)) if len(own.intervals_s) else 1.0
    if uneven > UNEVEN_SHARE:
        head.append(('pace', 'clock', f'guess: {100 * uneven:.0f} % of the intervals of {what} are longer than '
                     f'{UNEVEN:g} control periods; without this line its samples make the ticks'))
    elif abs(period_s - usual) > 0.05 * usual:
        period_s = float(f'{usual:.2g}')
    head.append(('control_period_s', float(period_s), f'guess: {what} comes every {usual:.3g} s'))
    return head


def _render(survey: Survey, prefix: str, parts: _Draft) -> str:
    lines = [f'# Drafted by jepa-ros robot init from {Path(survey.source).name}: {survey.span_s:.1f} s, '
             f'{len(survey.topics)} topics.',
             '# Delete what the agent need not see. What was guessed is marked "guess": check it.']
    if prefix:
        lines.append(f'# Recorded in namespace {prefix}, which topics leave out: give --namespace {prefix[1:]}.')
    if survey.contract is not None:
        lines.append(f'# The recording holds the contract of robot {survey.contract.name}; it can be read with that '
                     'only.')
    lines += [line for key, value, comment in parts.head for line in _line(key, value, comment)]
    lines += ['observations:', *(line for entry in parts.observations for line in _item(entry))]
    if parts.readouts:
        lines.append('readouts:')
        lines += [f'  - {_flow(entry.values)}' for entry in parts.readouts]
    lines += ['actions:', *(line for entry in parts.actions for line in _item(entry))]
    if parts.skipped:
        lines.append('# Left out:')
        lines += [f'#   {topic}: {why}'[:WIDTH + 40] for topic, why in parts.skipped]
    return '\n'.join(lines) + '\n'


def _item(entry: Entry) -> list[str]:
    """A list item over several lines; `fields` of an action, a list of mappings, one line each."""
    lines = [f'  # {entry.comments[""]}'] if '' in entry.comments else []
    lead = '  - '
    for key, value in entry.values.items():
        comment = entry.comments.get(key, '')
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += _line(f'{lead}{key}', None, comment)
            lines += [_with(f'      - {_flow(v)}', entry.comments.get(v['field'], '')) for v in value]
        else:
            lines += _line(f'{lead}{key}', value, comment)
        lead = '    '
    return lines


def _line(key: str, value: Any, comment: str) -> list[str]:
    """One line, with its comment behind it or, where that is too long, above it."""
    text = f'{key}:' if value is None else f'{key}: {_scalar(value)}'
    if not comment or len(_with(text, comment)) <= WIDTH:
        return [_with(text, comment)]
    return [f'{" " * (len(key) - len(key.lstrip()))}# {comment}', text]


def _with(text: str, comment: str) -> str:
    return f'{text}   # {comment}' if comment else text


def _flow(values: dict[str, Any]) -> str:
    return '{' + ', '.join(f'{key}: {_scalar(value)}' for key, value in values.items()) + '}'


def _scalar(value: Any) -> str:
    """A value in YAML on one line."""
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, float):
        return yaml.safe_dump(float(f'{value:.6g}')).split('\n')[0]
    if isinstance(value, list):
        return '[' + ', '.join(_scalar(v) for v in value) + ']'
    text = str(value)
    plain = re.fullmatch(r'[A-Za-z_/][A-Za-z0-9_./]*', text) and yaml.safe_load(text) == text
    if plain or isinstance(value, int):
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf).strip()
