"""The command gate's decisions (design §8), without ROS and without torch: time is given, nothing is published.

`gate_node.py` feeds it actions, heartbeats, percept stamps and surprise, and publishes what `accept` and `tick`
return. In order: a non-finite or out-of-limit action is dropped; an old action or none decelerates; a stale sensor
stops; surprise slows, then stops; an emergency stop holds until `reset`; a dead organ stops.
"""
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
import math

import numpy as np

from .contract import RobotContract
from .liveness import Organs

FUTURE_S = 1.0       # a percept stamped later than this after now comes from another clock
RATE_SLACK = 1e-6    # of the limits' range: rounding may not turn a full reversal into a smaller one


class Mode(Enum):
    """What the gate does, mildest first."""

    IDLE = 'idle'              # no action asked for: the safe command
    PASS = 'pass'
    SLOW = 'slow'
    DECELERATE = 'decelerate'  # to the safe command, as fast as max_rate allows
    STOP = 'stop'              # the safe command at once


@dataclass(frozen=True)
class Now:
    """One moment on both clocks: percept stamps live on ROS time, liveness on wall time that never stops."""

    ros_ns: int
    wall_s: float


@dataclass(frozen=True)
class Settings:
    """Thresholds of the gate; 0 turns a threshold off."""

    action_timeout_s: float = 0.35   # ROS time: age of the percept that the action in force answers
    silence_timeout_s: float = 0.5   # wall time since the last action
    sensor_timeout_s: float = 0.3    # ROS time: age of the newest percept
    organ_timeout_s: float = 0.3     # wall time since an organ's last heartbeat
    surprise_slow: float = 0.0       # surprise relative to its mean in training
    surprise_stop: float = 0.0
    surprise_hold_s: float = 0.5     # wall time a surprise goes on counting
    slow_factor: float = 0.5         # share of the speed that is left while surprised
    limit_tolerance: float = 0.01    # of the limits' range: this much beyond is clamped, more is dropped
    forward_only: bool = False       # lockstep: between actions a command is never continued, only taken back
    required_organs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Output:
    """A command (A,) float64 for the robot, and why it is this one.

    NaN where a stream that holds was never commanded: nothing is to be sent on it.
    """

    values: np.ndarray
    mode: Mode
    reasons: dict[str, str] = field(default_factory=dict)  # stable key -> one line


Decision = tuple[Mode, np.ndarray, dict[str, str]]  # mode, command to go to, reasons


class Gate:
    """State of one gate. Not thread-safe; call it from one executor group."""

    def __init__(self, contract: RobotContract, settings: Settings):
        self.settings = settings
        self.organs = Organs(settings.required_organs, settings.organ_timeout_s)
        self.names = contract.action_names
        self.low, self.high, self.max_rate = contract.action_low, contract.action_high, contract.action_max_rate
        self._hold = np.array([a.safe == 'hold' for a in contract.actions for _ in a.fields])  # (A,)
        self._range = self.high - self.low
        self._period_s = contract.control_period_s
        self._target: np.ndarray | None = None   # (A,) action in force
        self._target_stamp_ns = 0
        self._target_wall_s = -math.inf
        self._percept_ns: int | None = None
        self._surprise: list[tuple[float, float]] = []  # (wall_s, surprise) that still counts
        self._emergency = ''
        self._last = np.where(self._hold, np.nan, 0.0)   # (A,) command last put out
        self._measured = np.full(len(self.names), np.nan)   # (A,) where the robot stands, as far as sensors tell
        self._last_wall_s: float | None = None

    # ---- what comes in

    def refusal(self, names: Sequence[str], values: Sequence[float], stamp_ns: int, now: Now) -> str:
        """Why an action must be dropped, naming the field; empty when it may pass."""
        if len(values) != len(names) or sorted(names) != sorted(self.names):
            return f'action names {list(names)} with {len(values)} values; the contract has {self.names}'
        if stamp_ns - now.ros_ns > FUTURE_S * 1e9:
            return (f'action answers a percept {(stamp_ns - now.ros_ns) * 1e-9:.1f} s in the future: '
                    'it was stamped by another clock (check use_sim_time)')
        excess = self.settings.limit_tolerance * self._range
        for i, value in enumerate(self._ordered(names, values)):
            if not math.isfinite(value):
                return f'action {self.names[i]} is {value}'
            if not self.low[i] - excess[i] <= value <= self.high[i] + excess[i]:
                return f'action {self.names[i]} is {value:g}, outside [{self.low[i]:g}, {self.high[i]:g}]'
        return ''

    def accept(self, names: Sequence[str], values: Sequence[float], stamp_ns: int, now: Now) -> Output:
        """Take an action that `refusal` found nothing against; returns the one command that answers it."""
        target = np.clip(self._ordered(names, values), self.low, self.high)
        # In simulations the wall clock says nothing about the robot's time: percept stamps do.
        period = self._period_s if self._target is None else (stamp_ns - self._target_stamp_ns) * 1e-9
        self._target, self._target_stamp_ns, self._target_wall_s = target, stamp_ns, now.wall_s
        self.percept(stamp_ns)
        return self._put_out(now, max(period, self._since_last(now)), self._decide(now))

    def percept(self, stamp_ns: int) -> None:
        """Note the stamp of a percept that perception has encoded."""
        self._percept_ns = max(stamp_ns, self._percept_ns or stamp_ns)

    def measure(self, part: slice, values: np.ndarray) -> None:
        """Note where the joints of one stream stand: from there it sets out with its first command."""
        self._measured[part] = values

    def set_out(self) -> None:
        """An episode ended, the robot may be put elsewhere: streams that hold set out anew from where it stands."""
        known = self._hold & ~np.isnan(self._measured)
        if known.any():
            self._last, self._last_wall_s, self._target = np.where(known, np.nan, self._last), None, None

    def surprise(self, value: float, now: Now) -> None:
        """Note the world model's surprise at the newest percept; NaN is unknown and says nothing."""
        threshold = min((t for t in (self.settings.surprise_slow, self.settings.surprise_stop) if t > 0), default=0)
        if threshold and not math.isnan(value) and value >= threshold:
            self._surprise.append((now.wall_s, value))

    def stop(self, reason: str) -> None:
        """Latch the emergency stop until `reset`."""
        self._emergency = reason

    def reset(self) -> None:
        """Release the emergency stop. The robot stays where it is until a new action comes."""
        self._emergency = ''
        self._target = None

    # ---- what goes out

    def tick(self, now: Now) -> Output:
        """Command to be in force now; call at a fixed rate, a few times per organ timeout."""
        mode, _, reasons = decided = self._decide(now)
        if self.settings.forward_only and mode in (Mode.PASS, Mode.SLOW):
            return Output(self._last.copy(), mode, reasons)
        return self._put_out(now, self._since_last(now), decided)

    def safe(self) -> np.ndarray:
        """(A,) command that is safe: zeros, or the last one for streams that hold (NaN before their first)."""
        return np.where(self._hold, self._last, 0.0)

    def stops(self, now: Now) -> dict[str, str]:
        """Why the robot must stand, by key; empty when it may move."""
        reasons = {}
        if self._emergency:
            reasons['emergency'] = f'emergency stop: {self._emergency}; call gate/reset to release it'
        reasons |= self.organs.faults(now.wall_s)
        if self._target is not None:
            age = (now.ros_ns - (self._percept_ns or 0)) * 1e-9
            if 0 < self.settings.sensor_timeout_s < age:
                reasons['sensor'] = f'no new percept for {age:.2f} s'
            surprise = self._strongest(now)
            if 0 < self.settings.surprise_stop <= surprise:
                reasons['surprise'] = f'surprise is {surprise:.0f} times its mean in training'
        return reasons

    def _put_out(self, now: Now, elapsed_s: float, decided: Decision) -> Output:
        mode, target, reasons = decided
        if mode is not Mode.STOP:
            step = self.max_rate * elapsed_s + RATE_SLACK * self._range
            start = np.where(np.isnan(self._last), self._measured, self._last)
            start = np.where(np.isnan(start), target, start)    # nobody knows where it stands: no limit on the first
            target = np.clip(target, start - step, start + step)
        self._last, self._last_wall_s = target, now.wall_s
        return Output(target.copy(), mode, reasons)

    def _since_last(self, now: Now) -> float:
        """Wall time in s since a command was last put out, within [0, 1]; 0 before the first."""
        return 0.0 if self._last_wall_s is None else min(max(now.wall_s - self._last_wall_s, 0.0), 1.0)

    def _decide(self, now: Now) -> Decision:
        stops = self.stops(now)
        if stops:
            return Mode.STOP, self.safe(), stops
        if self._target is None:
            if np.array_equal(self.safe(), self._last, equal_nan=True):
                return Mode.IDLE, self.safe(), {}
            return Mode.DECELERATE, self.safe(), {'action': 'no action is in force any more'}   # reset while it moved
        outdated = self._outdated(now)
        if outdated:
            if np.array_equal(self.safe(), self._last, equal_nan=True):  # stands: from here on nothing is asked of it
                self._target = None
                return Mode.IDLE, self.safe(), {}
            return Mode.DECELERATE, self.safe(), {'action': outdated}
        surprise = self._strongest(now)
        if 0 < self.settings.surprise_slow <= surprise:
            slowed = np.where(self._hold, self._target, self._target * self.settings.slow_factor)
            return Mode.SLOW, slowed, {'surprise': f'surprise is {surprise:.0f} times its mean in training'}
        return Mode.PASS, self._target, {}

    def _outdated(self, now: Now) -> str:
        age = (now.ros_ns - self._target_stamp_ns) * 1e-9
        if 0 < self.settings.action_timeout_s < age:
            return f'the action in force answers a percept {age:.2f} s old'
        silence = now.wall_s - self._target_wall_s
        if 0 < self.settings.silence_timeout_s < silence:
            return f'no action for {silence:.2f} s'
        return ''

    def _strongest(self, now: Now) -> float:
        self._surprise = [s for s in self._surprise if now.wall_s - s[0] <= self.settings.surprise_hold_s]
        return max((value for _, value in self._surprise), default=0.0)

    def _ordered(self, names: Sequence[str], values: Sequence[float]) -> np.ndarray:
        """(A,) values in the contract's order."""
        by_name = dict(zip(names, values))
        return np.array([by_name[name] for name in self.names], float)
