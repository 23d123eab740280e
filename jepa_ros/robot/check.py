"""A robot contract held against what a bag or a running robot really sends: what matches, what is missing, what to set.

Pure functions over a `Survey`; `jepa-ros robot check` prints the `Report`. Needs no ROS.
"""
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
import difflib
from pathlib import Path

from ..errors import BagError
from .adapters import TRANSFORM_TYPE
from .arrivals import Arrivals
from .bag_open import check_contract, open_bag
from .check_time import pace_findings, readout_findings, time_findings
from .check_values import action_findings, content, observation_findings
from .contract import ActionStream, Observation, RobotContract
from .findings import ERROR, Finding, NOTE, Suggestion, WARNING
from .survey import Survey, survey_bag, TopicSurvey
from .trial import key_of, streams_of, Trial

NEEDS = {'sensor': (False, False), 'stream': (True, False), 'latched': (True, True)}  # reliable, transient local
MANY_WITHHELD = 0.05    # share of ticks
FEW_ROWS = 0.5          # share of percepts that training gets


@dataclass(frozen=True)
class Row:
    """One stream of the contract as it was found; rates in Hz, times in seconds."""

    kind: str               # observation, readout or action
    key: str
    topic: str              # in the contract
    found: str              # full name in the source; empty when it is not there
    type: str
    messages: int
    rate_hz: float
    gap_s: float
    delay_s: float          # median of log time − header stamp
    content: str
    state: str              # ok, warning or error


@dataclass(frozen=True)
class Report:
    """All of one check."""

    robot: str
    source: str
    span_s: float
    percepts: int                         # that the agent would get
    rows: list[Row]
    findings: list[Finding]
    suggestions: list[Suggestion]
    counters: dict[str, dict] = field(default_factory=dict)   # observation key -> what the ingest counted
    unused: list[str] = field(default_factory=list)           # topics that no stream of the contract reads
    episodes: int = 0                     # that training would get from a bag
    steps: int = 0                        # of them, all together

    @property
    def usable(self) -> bool:
        """Nothing keeps the agent from learning from this source, or driving with it."""
        return all(f.level != ERROR for f in self.findings)

    def to_json(self) -> dict:
        """The report as plain values."""
        return {'usable': self.usable, **asdict(self)}


def check_bag(contract: RobotContract, bag: Path | str, namespace: str = '',
              progress: Callable[[float], None] | None = None) -> Report:
    """Check a contract against a bag; `BagError` for a bag that is missing or damaged."""
    trial = Trial(contract, namespace)
    made = report(survey_bag(bag, progress, trial), trial)
    return replace(made, findings=made.findings + _refusal(contract, Path(bag))) if made.usable else made


def _refusal(contract: RobotContract, bag: Path) -> list[Finding]:
    """Why training would refuse a bag all the same: a contract inside that differs."""
    try:
        with open_bag(bag) as opened:
            check_contract(opened, contract)
    except BagError as error:
        return [Finding(ERROR, 'contract', str(error))]
    return []


def report(survey: Survey, trial: Trial, live: bool = False) -> Report:
    """Compare what was seen with the trial's contract."""
    contract = trial.contract
    trial.finish()
    findings: list[Finding] = []
    suggestions: list[Suggestion] = []
    rows = []
    for stream in streams_of(contract):
        found, advice = _stream(stream, survey, trial, live)
        rows.append(_row(stream, survey, trial, found))
        findings += [f for f in found if f not in findings]
        suggestions += [s for s in advice if s not in suggestions]
    paced, advice = pace_findings(contract, {o.key: _timed(o, trial.arrivals(o, survey)) for o in contract.observations
                                             if id(o) in trial.found})
    findings += paced
    suggestions += advice
    findings += _whole(trial, survey, findings, live)
    read = trial.topics(survey)
    return Report(contract.name, survey.source, survey.span_s, trial.percepts, rows, findings, suggestions,
                  trial.counters, sorted(set(survey.topics) - read), trial.episodes, trial.rows)


def _row(stream, survey: Survey, trial: Trial, findings: list[Finding]) -> Row:
    levels = {f.level for f in findings}
    state = ERROR if ERROR in levels else WARNING if WARNING in levels else 'ok'
    kind = type(stream).__name__.lower().removesuffix('stream')
    if id(stream) not in trial.found:
        return Row(kind, key_of(stream), stream.topic, '', stream.type, 0, 0.0, 0.0, 0.0, '', state)
    topic, own = survey.topics[trial.found[id(stream)]], trial.arrivals(stream, survey)
    timed = _timed(stream, own)
    return Row(kind, key_of(stream), stream.topic, topic.topic, topic.type, own.recorded, timed.rate_hz,
               timed.gap_s, own.delay_s[1], content(stream, topic) if topic.recorded else _heard(topic), state)


def _timed(stream, own: Arrivals) -> Arrivals:
    """What arrived of a stream by the times that the contract goes by."""
    return own.received() if getattr(stream, 'stamp', 'header') == 'receive' else own


def _heard(topic: TopicSurvey) -> str:
    """Who is there on a live topic without messages."""
    return '' if topic.subscribers is None else f'publishers {topic.publishers}, subscribers {topic.subscribers}'


def _stream(stream, survey: Survey, trial: Trial, live: bool) -> tuple[list[Finding], list[Suggestion]]:
    """Findings about one stream; only the first of what makes the rest pointless."""
    key = key_of(stream)
    missing = ERROR if getattr(stream, 'required', True) else WARNING
    name = survey.find(stream.topic, trial.namespace)
    if name is None:
        return [Finding(missing, key, _absent(stream, survey, trial.namespace))], []
    topic = survey.topics[name]
    if topic.type != stream.type:
        return [Finding(ERROR, key, f'topic {name} has type {topic.type}, the contract says {stream.type}')], []
    if topic.unreadable:
        return [Finding(ERROR, key, f'topic {name} cannot be read: {topic.unreadable}')], []
    findings = _qos(stream, topic, live)
    if not topic.recorded:
        return findings + _silent(stream, topic, live, missing), []
    if topic.bad:
        findings.append(Finding(WARNING, key, f'topic {name}: {topic.bad}'))
    findings += _refused(stream, trial)
    own = trial.arrivals(stream, survey)
    if not own.recorded and not any(f.level == ERROR for f in findings):
        return findings + [Finding(missing, key, _untold(stream, topic))], []
    if isinstance(stream, ActionStream):
        pace = trial.contract.pacing or trial.contract.observations[0]
        sensor = trial.arrivals(pace, survey) if id(pace) in trial.found else None
        more = action_findings(stream, topic, sensor, trial.contract.control_period_s)
    elif isinstance(stream, Observation):
        timed = time_findings(stream, topic.topic, _timed(stream, own), trial.contract, '/clock' in survey.topics)
        held = observation_findings(stream, topic)
        more = timed[0] + held[0], timed[1] + held[1]
    else:
        more = readout_findings(stream, own, trial.contract), []
    return findings + more[0], more[1]


def _absent(stream, survey: Survey, namespace: str) -> str:
    near = near_topic(stream.topic, stream.type, survey, namespace)
    where = f' in namespace {namespace}' if namespace and not stream.topic.startswith('/') else ''
    there = ', '.join(sorted(survey.topics)) or 'none'
    return f'topic {stream.topic} is not there{where}' + (
        f'; did you mean {near}?' if near else f'; topics are {there}')


def _untold(stream, topic: TopicSurvey) -> str:
    """There are messages on a stream's topic, but none of its own."""
    if stream.type == TRANSFORM_TYPE:
        there = ', '.join('→'.join(pair) for pair in topic.parts)
        return (f'none of the {topic.recorded} messages on {topic.topic} places {stream.child_frame} in '
                f'{stream.parent_frame}; they tell of {there or "nothing"}')
    return (f'none of the {topic.recorded} messages on {topic.topic} has joints {", ".join(stream.joints)}; they have '
            f'{", ".join(topic.facts.get("joints", ())) or "none"}')


def near_topic(name: str, kind: str, survey: Survey, namespace: str = '') -> str | None:
    """Topic of the same type whose name is most like `name`, or else one whose name is very like it."""
    wanted = name if name.startswith('/') else f'{namespace}/{name}'
    likeness = {n: difflib.SequenceMatcher(None, wanted, n).ratio() for n in survey.topics}
    same = [n for n in likeness if survey.topics[n].type == kind and likeness[n] >= 0.3]
    close = same or [n for n in likeness if likeness[n] >= 0.7]
    return max(close, key=likeness.__getitem__, default=None)


def _silent(stream, topic: TopicSurvey, live: bool, missing: str) -> list[Finding]:
    if live and isinstance(stream, ActionStream):
        if topic.subscribers:
            return []
        return [Finding(ERROR, stream.key, f'nobody listens on {topic.topic}: start the base driver of the robot')]
    why = 'its publisher is silent' if live and topic.publishers else 'nobody publishes it' if live else 'it is empty'
    return [Finding(missing, key_of(stream), f'no message on {topic.topic}: {why}')]


def _qos(stream, topic: TopicSurvey, live: bool) -> list[Finding]:
    reliable, latched = NEEDS[getattr(stream, 'qos', 'stream' if isinstance(stream, ActionStream) else 'sensor')]
    if isinstance(stream, ActionStream):
        if live and any(q.transient_local for q in topic.wanted_qos):
            return [Finding(ERROR, stream.key, f'{topic.topic}: a subscriber asks for transient local commands, which '
                            'the command gate does not offer: it would hear nothing')]
        return []
    wrong = []
    for offered in topic.qos:
        if reliable and offered.reliable is False:
            wrong.append('best effort where the contract asks for reliable')
        if latched and offered.transient_local is False:
            wrong.append('volatile where the contract asks for latched')
    if not wrong:
        return []
    level = ERROR if live else WARNING  # a bag is read whatever was offered; a live topic would stay silent
    better = 'stream' if latched and not any('best effort' in w for w in wrong) else 'sensor'
    return [Finding(level, key_of(stream), f'{topic.topic} is offered {wrong[0]}: nothing would arrive live; '
                    f'set qos: {better}')]


def _refused(stream, trial: Trial) -> list[Finding]:
    count, tried, reason = trial.refusals(stream)
    if not count:
        return []
    return [Finding(ERROR if count == tried else WARNING, key_of(stream),
                    f'{count} of {tried} messages tried cannot be used: {reason}')]


def _whole(trial: Trial, survey: Survey, findings: list[Finding], live: bool) -> list[Finding]:
    """What concerns no single stream."""
    more = []
    for key, ticks in trial.withheld.items() if trial.percepts else ():
        share = ticks / (sum(trial.withheld.values()) + trial.percepts)
        more.append(Finding(WARNING if share > MANY_WITHHELD else NOTE, key, f'{ticks} ticks ({100 * share:.1f} %) '
                            f'have no percept: {key} was missing or older than its timeout_s'))
    for key, (count, reason) in trial.lacking.items():
        share = count / max(trial.percepts, 1)
        if share > MANY_WITHHELD:
            more.append(Finding(WARNING if share == 1 else NOTE, key, f'its tensor is zeros and marked invalid in '
                                f'{100 * share:.1f} % of the percepts: {reason}'))
    if any(f.level == ERROR for f in findings):
        return more
    if not trial.percepts:
        why = trial.why_no_percept(survey).removeprefix('no percept: ')
        return more + [Finding(ERROR, 'percepts', f'no percept comes out: {why}')]
    return more if live else more + _learned(trial, survey)


def _learned(trial: Trial, survey: Survey) -> list[Finding]:
    """What training would get: percepts without a known command are none."""
    if not trial.rows:
        return [Finding(ERROR, 'episodes', f'no episode comes out: {trial.why_no_episode(survey)}')]
    if trial.rows < FEW_ROWS * trial.percepts:
        return [Finding(WARNING, 'episodes', f'only {trial.rows} of {trial.percepts} percepts have a known command and '
                        'are part of an episode')]
    return []
