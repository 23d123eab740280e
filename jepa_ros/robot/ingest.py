"""From messages to percepts: the one code path of live topics and bags (design §7). Pure; no ROS.

Messages go in, in the order in which they were sent; percepts come out, one for each tick. A percept holds, for each
observation, the newest sample that was neither measured nor sent after the tick. Live, `live_order.py` makes the
order; in a bag, the log times are it. `stream_buffer.py` says what becomes of odd stamps.
"""
from dataclasses import dataclass

import numpy as np

from .adapters import tensor_spec, to_array
from .contract import Observation, RobotContract
from .intake import Convert, intake, StreamIntake
from .stream_buffer import Put, StreamCounters

_SECOND_NS = 1_000_000_000
_JUMP_NS = _SECOND_NS     # sending times that go back by more: the clock of the sending times was set


@dataclass(frozen=True)
class Percept:
    """What the robot perceives at one tick. Arrays may be shared with later percepts: do not write to them."""

    stamp_ns: int                     # of the tick, on the contract's clock
    values: dict[str, np.ndarray]     # observation key -> array of its tensor_spec; zeros where it is not valid
    valid: dict[str, bool]            # observation key -> False where an observation that is not required is missing
    readouts: np.ndarray              # (R,) float32, newest at the tick; NaN where there is none


class Ingest:
    """Percepts of one robot. `counters` has one entry for each observation key and readout name.

    With pace `clock`, ticks stand at whole multiples of control_period_s on the clock of the sending times, and end
    when no message at all has come for as long as the longest timeout.
    `convert(stream, message)` replaces the adapters, for example by those of a GPU.
    """

    def __init__(self, contract: RobotContract, convert: Convert = to_array):
        self.contract = contract
        self.withheld: dict[str, int] = {}   # ticks without a percept, by the observation that was missing
        self.reason = ''                     # why the newest tick was withheld; empty while percepts come
        self.lacking: dict[str, tuple[int, str]] = {}   # not required: percepts that lack it, and why the newest does
        self._observations = [intake(o, convert) for o in contract.observations]
        self._readouts = [intake(r) for r in contract.readouts]
        self._by_topic: dict[str, list[StreamIntake]] = {}
        for each in (*self._observations, *self._readouts):
            for topic in each.topics:
                self._by_topic.setdefault(topic, []).append(each)
        self._specs = {o.key: tensor_spec(o) for o in contract.observations if not o.required}
        self._pace = next((i for i in self._observations if i.stream is contract.pacing), None)   # None: the clock
        self._last_tick_ns: int | None = None
        self._last_log_ns: int | None = None
        self._newest_log_ns = 0     # of any topic
        self._period_ns = round(contract.control_period_s * _SECOND_NS)
        self._next_tick_ns: int | None = None     # pace clock only
        self._silence_ns = max(self._period_ns, *(round(o.timeout_s * _SECOND_NS) for o in contract.observations))

    @property
    def counters(self) -> dict[str, StreamCounters]:
        """Counters by observation key and readout name."""
        return {each.key: each.counters for each in (*self._observations, *self._readouts)}

    @property
    def frame_id(self) -> str:
        """Frame of the newest message of the observation that sets the pace, else of the first observation."""
        return (self._pace or self._observations[0]).frame_id

    def put(self, topic: str, message, log_ns: int) -> list[Percept]:
        """Take a message of a topic of the contract that was sent at `log_ns`; returns the percepts that are due."""
        if self._newest_log_ns - log_ns > _JUMP_NS:
            self._restart(log_ns)
        self._newest_log_ns = max(self._newest_log_ns, log_ns)
        percepts = [] if self._pace else self._ticks(log_ns - 1)
        intakes = self._by_topic.get(topic, [])
        late = any(each in self._observations for each in intakes) and self._pass(log_ns)
        tick_ns = None
        for each in intakes:
            late_before = each.counters.late
            outcome, stamp_ns = each.put(topic, message, log_ns)
            if late and each.counters.late == late_before:
                each.counters.count('late')
            if each is self._pace:
                tick_ns = self._begins_tick(outcome, stamp_ns)
        return percepts if tick_ns is None else percepts + self._percepts(tick_ns)

    def advance(self, log_ns: int) -> list[Percept]:
        """With pace `clock`: the percepts due until `log_ns`, when all that was sent until then was put in."""
        return [] if self._pace else self._ticks(log_ns)

    def due_ns(self) -> int | None:
        """With pace `clock`: the next tick; None before the first message and after a silence."""
        if self._next_tick_ns is None or self._next_tick_ns > self._last_log_ns + self._silence_ns:
            return None
        return self._next_tick_ns

    def _restart(self, log_ns: int) -> None:
        """The clock of the sending times went back: of the samples of before, only what is latched still counts."""
        for each in (*self._observations, *self._readouts):
            each.restart(log_ns)
        self._newest_log_ns, self._last_log_ns = log_ns, None
        self._last_tick_ns = self._next_tick_ns = None

    def _pass(self, log_ns: int) -> bool:
        """Note the sending time of an observation; True when it is out of order. Readouts make no ticks."""
        behind_ns = 0 if self._last_log_ns is None else self._last_log_ns - log_ns
        late = behind_ns > 0
        if not late:
            self._last_log_ns = log_ns
        if self._pace is None and self._next_tick_ns is None:
            self._next_tick_ns = -(-log_ns // self._period_ns) * self._period_ns
        return late

    def _begins_tick(self, outcome: Put, stamp_ns: int) -> int | None:
        if outcome is Put.CLOCK_BACK:
            self._last_tick_ns = None
        if outcome is Put.DROPPED or self._last_tick_ns is not None and stamp_ns <= self._last_tick_ns:
            return None
        self._last_tick_ns = stamp_ns
        return stamp_ns

    def _ticks(self, until_ns: int) -> list[Percept]:
        """Percepts of all multiples of the period that are due until a moment."""
        percepts: list[Percept] = []
        while (tick_ns := self.due_ns()) is not None and tick_ns <= until_ns:
            percepts += self._percepts(tick_ns)
            self._next_tick_ns = tick_ns + self._period_ns
        if tick_ns is None:
            self._next_tick_ns = None      # the next message starts the ticks again
        return percepts

    def _percepts(self, tick_ns: int) -> list[Percept]:
        """The percept of a tick, or none when something required is missing."""
        values, valid, lacking = {}, {}, {}
        for observation, each in zip(self.contract.observations, self._observations):
            sample, reason = each.sample(tick_ns)
            if each is self._pace and sample is not None and sample.stamp_ns != tick_ns:
                sample, reason = None, each.counters.lines['bad']   # the tick's own message cannot be converted
            if sample is None and observation.required:
                self.withheld[each.key], self.reason = self.withheld.get(each.key, 0) + 1, reason
                return []
            if sample is None:
                lacking[each.key] = reason
            valid[each.key] = sample is not None
            values[each.key] = self._zeros(observation) if sample is None else sample.value
        self.reason = ''
        for key, reason in lacking.items():
            self.lacking[key] = self.lacking.get(key, (0, ''))[0] + 1, reason
        readouts = [each.sample(tick_ns)[0] for each in self._readouts]
        numbers = [np.nan if sample is None else sample.value for sample in readouts]
        return [Percept(tick_ns, values, valid, np.array(numbers, np.float32))]

    def _zeros(self, observation: Observation) -> np.ndarray:
        spec = self._specs[observation.key]
        return np.zeros(spec.shape, spec.dtype)
