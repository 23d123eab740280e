"""What messages hold, against what a contract says of it: sizes, beams, joints, commands. Part of `check.py`."""
import numpy as np

from .arrivals import Arrivals
from .check_time import good_timeout_s
from .contract import ActionStream, Observation
from .findings import ERROR, Finding, NOTE, round_out, Suggestion, WARNING
from .grid import holds
from .survey import TopicSurvey

FEW_BEAMS = 0.02        # share of valid beams below which a scan says next to nothing
SATURATED = 0.05        # share of commands at the same extreme value that is worth saying
FAR_WIDER = 3.0         # times the values seen: limits that leave the planner far outside the recorded commands
EXTREMES = (0.5, 99.5)  # per cent
FORMS_SHOWN = 3
INVALID = ('zero', 'inf', 'nan', 'outside')     # why a beam is no distance
BURST = 0.25            # quantile of the intervals that is usual while commands come at all
BURST_S = 0.25          # longest such interval: where all commands are seldom, that quantile is a silence itself
LONGEST_S = 1.0         # commands that come less often than this speak on change
LOST = 0.005            # share of commands: fewer silences are lost messages, not a habit of the publisher
HELD = 0.3              # s, shortest silence of a command topic worth looking at

Found = tuple[list[Finding], list[Suggestion]]


def content(stream, topic: TopicSurvey) -> str:
    """What the messages of a stream hold, in a few words for a table."""
    if isinstance(stream, ActionStream):
        return ', '.join(f'{f.field} {_span(topic.values(f.field))}' for f in stream.fields)
    if not isinstance(stream, Observation):
        return f'{stream.field} {_span(topic.values(stream.field))}'
    if stream.child_frame:
        return f'{stream.parent_frame}→{stream.child_frame}'
    spans = [f'{path} {_span(topic.values(path))}' for path in stream.fields if len(topic.values(path))]
    forms = ', '.join([form for form, _ in topic.forms.most_common(FORMS_SHOWN)] + spans[:FORMS_SHOWN])
    if topic.tallies['seen']:
        percent = {name: 100 * topic.tallies[name] / topic.tallies['seen'] for name in ('valid', *INVALID)}
        invalid = ', '.join(f'{percent[name]:.1f} % {name}' for name in INVALID if percent[name] > 0)
        forms += f', {percent["valid"]:.1f} % valid' + (f' ({invalid})' if invalid else '')
    frames = ', '.join(filter(None, topic.frames))
    return '; '.join(filter(None, (forms, f'frame {frames}' if frames else '')))


def _span(values: np.ndarray) -> str:
    values = values[np.isfinite(values)]
    return f'{values.min():.3g} … {values.max():.3g}' if len(values) else '–'


def observation_findings(stream: Observation, topic: TopicSurvey) -> Found:
    """Sizes, valid beams and joints of one observation."""
    findings = []
    size = topic.facts.get('size')
    if stream.type.endswith('Image') and size and stream.height and (stream.height > size[0] or stream.width > size[1]):
        findings.append(Finding(NOTE, stream.key, f'images of {size[1]}×{size[0]} are enlarged to '
                                f'{stream.width}×{stream.height}'))
    if topic.type == 'sensor_msgs/msg/LaserScan':
        findings += _beams(stream, topic)
    if len(topic.forms) > 1 and topic.type in ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage',
                                               'sensor_msgs/msg/LaserScan'):
        findings.append(Finding(NOTE, stream.key, f'messages differ: {", ".join(topic.forms)}'))
    joints = set(topic.facts.get('joints', ()))
    unread = sorted(joints - set(stream.joints or ())) if joints else []
    if unread:
        findings.append(Finding(NOTE, stream.key, f'joints that are not read: {", ".join(unread)}'))
    return findings, []


def _beams(stream: Observation, topic: TopicSurvey) -> list[Finding]:
    findings, seen = [], topic.tallies['seen']
    if stream.beams and stream.beams > topic.facts['beams']:
        findings.append(Finding(WARNING, stream.key, f'scans have {topic.facts["beams"]} beams, beams: {stream.beams} '
                                'repeats some of them'))
    if seen and topic.tallies['valid'] < FEW_BEAMS * seen:
        findings.append(Finding(WARNING, stream.key, f'only {100 * topic.tallies["valid"] / seen:.1f} % of the beams '
                                'are valid distances'))
    return findings


def action_findings(stream: ActionStream, topic: TopicSurvey, sensor: Arrivals | None, period_s: float) -> Found:
    """Commands against limits and rate limits, and whether they hold. `sensor` is what sets the pace."""
    findings: list[Finding] = []
    suggestions: list[Suggestion] = []
    for field in stream.fields:
        values = topic.values(field.field)
        if not len(values):
            continue  # the adapter has said why
        for part in (_limits(stream, field, values), _rates(stream, field, values, topic, period_s)):
            findings += part[0]
            suggestions += part[1]
    unread = [path for path in topic.varying() if path not in {f.field for f in stream.fields} and is_field(path)]
    if unread:
        findings.append(Finding(WARNING, stream.key, f'{topic.topic} also moves {", ".join(unread)}, which is no field '
                                'of the contract: the gate sends 0 there'))
    if sensor is not None and not holds(stream):
        part = _silences(stream, topic, sensor)
        findings += part[0]
        suggestions += part[1]
    return findings, suggestions


def _silences(stream: ActionStream, topic: TopicSurvey, sensor: Arrivals) -> Found:
    """Silences of a command topic that `align: asof` would take for a robot that has stopped."""
    silences = held_silences(topic, sensor, stream.timeout_s, even_usual=True)
    if not silences:
        return [], []
    finding = Finding(WARNING, stream.key, f'{silences} times a command other than zero is followed by silence longer '
                      f'than timeout_s {stream.timeout_s:g}: align asof reads a stop')
    path, usual = f'actions.{stream.key}', topic.median_s
    if stream.timeout_s < usual <= LONGEST_S and not held_silences(topic, sensor):
        return [finding], [Suggestion(f'{path}.timeout_s', stream.timeout_s, good_timeout_s(topic.intervals_s),
                                      f'usual interval of the commands {usual:.3g} s')]
    return [finding], [Suggestion(f'{path}.align', 'asof', 'hold', 'commands come only on change')]


def is_field(path: str) -> bool:
    """False for what is derived from other fields."""
    return path.rsplit('.', 1)[-1] not in ('yaw', 'roll', 'pitch')


def _limits(stream: ActionStream, field, values: np.ndarray) -> Found:
    where, name = stream.key, f'{field.name} ({field.field})'
    values = values[np.isfinite(values)]    # messages with others are refused, and that is said
    if not len(values):
        return [Finding(ERROR, where, f'{name}: no value is finite')], []
    low, high = suggested_limits(values)
    outside = float(((values < field.min - 1e-6) | (values > field.max + 1e-6)).mean())
    seen = f'values seen {_span(values)}'
    path = f'actions.{stream.key}.{field.name}'
    if outside:
        text = f'{name}: {100 * outside:.1f} % of the commands are outside [{field.min:g}, {field.max:g}], {seen}'
        pairs = (('min', field.min, min(low, field.min)), ('max', field.max, max(high, field.max)))
        return [Finding(WARNING, where, text)], [Suggestion(f'{path}.{n}', now, value, seen)
                                                 for n, now, value in pairs if now != value]
    if not np.ptp(values):
        return [Finding(NOTE, where, f'{name} is always {values[0]:g}: nothing can be learned about it')], []
    findings = []
    extremes = [e for e, sign in ((float(values.min()), -1), (float(values.max()), 1)) if e * sign > 0]
    shares = {e: float((values == e).mean()) for e in extremes}
    ends = [f'{100 * share:.0f} % of the commands are {e:g}' for e, share in shares.items() if share >= SATURATED]
    if ends:
        findings.append(Finding(NOTE, where, f'{name} saturates: {", ".join(ends)}'))
    if max(abs(field.min), field.max) > FAR_WIDER * np.abs(values).max():
        findings.append(Finding(NOTE, where, f'{name}: limits [{field.min:g}, {field.max:g}] are far wider than the '
                                f'{seen}'))
        pairs = (('min', field.min, low), ('max', field.max, high))
        return findings, [Suggestion(f'{path}.{n}', now, value, seen) for n, now, value in pairs if now != value]
    return findings, []


def suggested_limits(values: np.ndarray) -> tuple[float, float]:
    """(low, high) around the values seen, rounded outward; both ways alike where both signs were seen."""
    low, high = round_out(min(float(values.min()), 0.0)), round_out(max(float(values.max()), 0.0))
    if low < 0 < high:
        high = max(-low, high)
        low = -high
    return low, high


def changes_per_s(values: np.ndarray, times_ns: np.ndarray, period_s: float) -> np.ndarray:
    """(T − 1,) float64 |change| per second from tick to tick, the last finite command held; empty below two."""
    if len(values) != len(times_ns):
        return np.zeros(0)
    values, times_ns = values[np.isfinite(values)], times_ns[np.isfinite(values)]
    if len(values) < 2:
        return np.zeros(0)
    order = np.argsort(times_ns, kind='stable')
    ticks = np.arange(times_ns[order[0]], times_ns[order[-1]] + 1, round(period_s * 1e9))
    held = values[order][np.searchsorted(times_ns[order], ticks, side='right') - 1]
    return np.abs(np.diff(held)) / period_s


def _rates(stream: ActionStream, field, values: np.ndarray, topic: TopicSurvey, period_s: float) -> Found:
    changes = changes_per_s(values, np.frombuffer(topic.log_ns, np.int64), period_s)
    share = float((changes > field.max_rate * 1.001).mean()) if len(changes) else 0.0
    if not share:
        return [], []
    largest = round_out(float(changes.max()))
    text = (f'{field.name} ({field.field}): {100 * share:.1f} % of the changes are quicker than max_rate '
            f'{field.max_rate:g} per s, up to {largest:g}: the gate would slow them down')
    return [Finding(WARNING, stream.key, text)], [Suggestion(f'actions.{stream.key}.{field.name}.max_rate',
                                                             field.max_rate, largest, 'quickest change seen')]


def held_silences(topic: TopicSurvey, sensor: Arrivals, longer_s: float = HELD, even_usual: bool = False) -> int:
    """How often a command other than zero is followed by silence while `sensor` goes on: the command holds on.

    Silence is longer than 4 intervals of a burst and than `longer_s`; with `even_usual` than that alone where commands
    usually are further apart. 0 where it is so rare that messages were lost.
    """
    if not topic.numbers or len(topic.log_ns) < 2:
        return 0
    logs = np.frombuffer(topic.log_ns, np.int64)
    columns = [v for p in topic.numbers if is_field(p) and len(v := topic.values(p)) == len(logs)]
    if not columns:
        return 0
    moving = np.any([np.isfinite(column) & (column != 0) for column in columns], axis=0)
    gaps = np.diff(logs) * 1e-9
    burst_s = min(float(np.quantile(gaps, BURST)), BURST_S)
    if even_usual and float(np.median(gaps)) > longer_s:
        burst_s = 0.0
    silent = np.flatnonzero((gaps > max(longer_s, 4 * burst_s)) & moving[:-1])
    heard = np.sort(np.frombuffer(sensor.log_ns, np.int64))
    going_on = np.searchsorted(heard, logs[silent + 1]) - np.searchsorted(heard, logs[silent]) >= 2
    return int(going_on.sum()) if going_on.sum() > LOST * len(logs) else 0
