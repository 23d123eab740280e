"""The audit of a recorded episode: did every stream of the robot contract come, often enough, without gaps and losses?

Pure. The recorder shows it each message in the order of the bag; at the end of an episode the audit says what is wrong
with it, while the robot still stands where it can be recorded again. Stamps decide where messages have them, so that
what a simulation in lockstep records is judged by simulated time.
"""
from array import array
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
import json

import numpy as np

from .contract import Observation, RobotContract

START, ENDS = 0, (2, 3, 4)      # jepa_ros/EpisodeEvent: SUCCESS, FAILURE, STOP end an episode
RATE_TOLERANCE = 0.2            # share by which the rate of percepts may differ from that of the contract
LATENCY_NS = 300_000_000        # of log time: a measurement of the episode's last moment may be under way this long
SHORT_PERIODS = 3               # a shorter episode has no rate


@dataclass(frozen=True)
class StreamAudit:
    """One topic during one episode. Rate in Hz, gap in s; both 0 where there are less than two messages."""

    count: int = 0
    rate_hz: float = 0.0
    longest_gap_s: float = 0.0      # start and end of the episode included
    lost: int = 0


@dataclass(frozen=True)
class EpisodeAudit:
    """What an episode came to. It passed if there are no `problems`, each in one line."""

    episode: str
    duration_s: float
    streams: dict[str, StreamAudit]
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.problems

    @property
    def line(self) -> str:
        """One line for the terminal."""
        verdict = f'failed its audit: {"; ".join(self.problems)}' if self.problems else 'passed its audit'
        return f'episode {self.episode} ({self.duration_s:.1f} s) {verdict}'

    def to_json(self) -> str:
        return json.dumps({**asdict(self), 'passed': self.passed})


def summary(episodes: int, failed: Mapping[str, list[str]]) -> str:
    """JSON for the bag's custom data: how many episodes were audited, and which failed for what reasons."""
    return json.dumps({'episodes': episodes, 'failed': failed})


@dataclass
class _Stream:
    """Times of one topic: its newest before the episode, and all since it began."""

    counts_by_stamp: bool = False
    newest_ns: int = -1
    times: array = field(default_factory=lambda: array('q'))
    lost: int = 0               # in all, until now
    lost_before: int = 0        # until the episode began


class Auditor:
    """Audits episode after episode. `resolve` gives the recorded name of a contract's topic."""

    def __init__(self, contract: RobotContract, resolve: Callable[[str], str] = str):
        self.contract = contract
        self._resolve = resolve
        self._streams: dict[str, _Stream] = {}
        self._running: tuple[str, int] | None = None        # episode id, first stamp
        self._ending: tuple[int, int] | None = None         # last stamp, log time at which the end was said

    def take(self, topic: str, log_ns: int, stamp_ns: int | None = None) -> EpisodeAudit | None:
        """Note a message, by its stamp where it has one. Returns the audit of an episode that is complete now."""
        done = self._finish() if self._ending and log_ns > self._ending[1] + LATENCY_NS else None
        stream = self._streams.setdefault(topic, _Stream())
        stream.counts_by_stamp = stamp_ns is not None
        stream.newest_ns = log_ns if stamp_ns is None else stamp_ns
        if self._running and (self._ending is None or stream.counts_by_stamp):
            stream.times.append(stream.newest_ns)
        return done

    def event(self, event: int, episode: str, stamp_ns: int, log_ns: int) -> EpisodeAudit | None:
        """Note an EpisodeEvent. Returns the audit of an episode that is complete now."""
        if event == START:
            done = self._finish()
            self._begin(episode, stamp_ns)
            return done
        if event in ENDS and self._running and self._running[0] == episode and self._ending is None:
            self._ending = (stamp_ns, log_ns)
        return None

    def lost(self, topic: str, total: int) -> None:
        """Set how many messages of a topic were lost since the recording began."""
        self._streams.setdefault(topic, _Stream()).lost = total

    def close(self) -> EpisodeAudit | None:
        """The recording ends: the audit of an episode whose end was said. One without an end is not judged."""
        return self._finish()

    def _begin(self, episode: str, stamp_ns: int) -> None:
        self._running = (episode, stamp_ns)
        for stream in self._streams.values():
            stream.lost_before = stream.lost
            # The percept of the start comes just before the word that the episode began with it.
            first = [stream.newest_ns] if stream.counts_by_stamp and stream.newest_ns >= stamp_ns else []
            stream.times = array('q', first)

    def _finish(self) -> EpisodeAudit | None:
        running, ending = self._running, self._ending
        self._running = self._ending = None
        if running is None or ending is None:
            return None
        episode, start_ns = running
        duration_s = max(ending[0] - start_ns, 0) * 1e-9
        streams = {topic: self._judged(stream, start_ns, ending[0]) for topic, stream in self._streams.items()}
        problems = [] if duration_s < SHORT_PERIODS * self.contract.control_period_s else self._problems(streams)
        return EpisodeAudit(episode, duration_s, streams, problems)

    @staticmethod
    def _judged(stream: _Stream, start_ns: int, end_ns: int) -> StreamAudit:
        times = np.sort(np.array(stream.times, np.int64))
        lost = stream.lost - stream.lost_before
        if stream.counts_by_stamp:
            times = times[(times >= start_ns) & (times < end_ns)]
        else:   # log times may stand on another clock than the stamps of events
            start_ns, end_ns = (int(times[0]), int(times[-1])) if len(times) else (start_ns, end_ns)
        gaps = np.diff(np.concatenate([[start_ns], times, [end_ns]])) * 1e-9
        spread_s = (times[-1] - times[0]) * 1e-9 if len(times) > 1 else 0.0
        return StreamAudit(len(times), round((len(times) - 1) / spread_s, 3) if spread_s > 0 else 0.0,
                           round(float(gaps.max()), 4), lost)

    def _problems(self, streams: dict[str, StreamAudit]) -> list[str]:
        contract, nothing = self.contract, StreamAudit()
        topics = [*(o.topic for o in contract.observations), *(r.topic for r in contract.readouts),
                  *(a.topic for a in contract.actions)]
        of = {topic: streams.get(self._resolve(topic), nothing) for topic in topics}
        problems: dict[str, str] = {}
        for observation in contract.observations:
            if observation.required:
                problems.setdefault(observation.topic, self._observation_problem(observation, of[observation.topic]))
        for readout in contract.readouts:
            problems.setdefault(readout.topic, '' if of[readout.topic].count else f'nothing on {readout.topic}')
        for action in contract.actions:
            # Where a command holds until the next one, an episode may well do without a new one.
            needed = action.align == 'asof' and not of[action.topic].count
            problems[action.topic] = f'no command on {action.topic}' if needed else ''
        lost = [f'{audit.lost} messages lost on {topic}' for topic, audit in of.items() if audit.lost]
        return [*filter(None, problems.values()), *lost]

    def _observation_problem(self, observation: Observation, audit: StreamAudit) -> str:
        topic = observation.topic
        if not audit.count:
            return f'nothing on {topic}'
        if audit.longest_gap_s > observation.timeout_s:
            return f'{topic} has a gap of {audit.longest_gap_s:.2f} s, its timeout_s is {observation.timeout_s:g}'
        wanted = 1 / self.contract.control_period_s
        if observation is self.contract.pacing and abs(audit.rate_hz - wanted) > RATE_TOLERANCE * wanted:
            return f'{topic} comes at {audit.rate_hz:.1f} Hz, control_period_s says {wanted:g} Hz'
        return ''
