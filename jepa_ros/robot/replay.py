"""Playing a recording back, without ROS: which message is due when, under rate, pause, steps and passes.

`replay_node.py` publishes what this says. Log times of the bag are the playback's time and become `/clock`.
"""
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
import math
from pathlib import Path

from ..errors import BagError, ConfigError

GAP_NS = 1_000_000_000   # between two passes of a loop: nodes see a gap, not a robot that jumps within one step
MAX_LAG_S = 0.25         # a machine that is later than this does not catch up: playback goes on from where it is
MAX_RATE = 1000.0
NEVER = math.inf

Read = Callable[[int, int], Iterable[tuple[str, int, bytes]]]   # (start, stop) -> topic, log time in ns, CDR


@dataclass(frozen=True)
class Window:
    """Part of a bag that is played: log times in ns within [start, stop)."""

    start_ns: int
    stop_ns: int

    @property
    def length_s(self) -> float:
        return (self.stop_ns - self.start_ns) * 1e-9


def window(bag: Path | str, span_ns: tuple[int, int], start_s: float = 0.0, duration_s: float = 0.0) -> Window:
    """From `start_s` seconds after the bag's first message, for `duration_s` seconds (0: to the end).

    `span_ns` are the log times of the first message and just behind the last one. Raises BagError for a start past
    the end or an empty bag, ConfigError for a negative or infinite number.
    """
    for name, value in (('start', start_s), ('duration', duration_s)):
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f'{name} is {value:g}: give seconds, 0 or more')
    first_ns, end_ns = span_ns
    if end_ns <= first_ns:
        raise BagError(f'{bag}: the bag holds no message, there is nothing to replay')
    start_ns = first_ns + round(start_s * 1e9)
    if start_ns >= end_ns:
        length_s = (end_ns - first_ns) * 1e-9
        raise BagError(f'{bag}: start {start_s:g} s is past the end, the bag is {length_s:.1f} s long')
    return Window(start_ns, min(start_ns + round(duration_s * 1e9), end_ns) if duration_s else end_ns)


@dataclass(frozen=True)
class Item:
    """One message to publish. `shift_ns` is how much later than recorded its pass of the loop is."""

    topic: str
    play_ns: int     # log time + shift_ns
    raw: bytes       # as recorded
    tick: bool       # a control tick begins with it
    shift_ns: int = 0
    passes: int = 1  # begun with it


def items(read: Read, part: Window, loop: bool, pace: str | None, period_ns: int) -> Iterator[Item]:
    """All messages in playback order; with `loop` again and again, each pass later by the length of one and a gap.

    A tick begins with each message on topic `pace`; without one, with the first message behind each whole multiple
    of `period_ns`. Raises BagError when the part holds no message.
    """
    shift_ns, passes, newest_tick = 0, 1, None
    while True:
        empty = True
        for topic, log_ns, raw in read(part.start_ns, part.stop_ns):
            empty = False
            play_ns = log_ns + shift_ns
            number = play_ns // period_ns
            tick = topic == pace if pace else number != newest_tick
            newest_tick = number
            yield Item(topic, play_ns, raw, tick, shift_ns, passes)
        if empty:
            raise BagError(f'there is no message of the chosen topics within these {part.length_s:.1f} s: '
                           'choose other topics, another start or a longer duration')
        if not loop:
            return
        shift_ns, passes = shift_ns + part.stop_ns - part.start_ns + GAP_NS, passes + 1


@dataclass(frozen=True)
class Status:
    """Where a replay is, for a progress bar."""

    position_s: float    # in this pass, from the start of the part that is played
    length_s: float
    passes: int          # begun
    messages: int        # published
    rate: float
    paused: bool
    lost_s: float        # wall time given up because the machine was too slow


def newest(messages: Iterable[tuple[str, int, bytes]], depths: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    """The last messages of each topic, as many as `depths` says."""
    held: dict[str, deque[bytes]] = {topic: deque(maxlen=depth) for topic, depth in depths.items()}
    for topic, _, raw in messages:
        held[topic].append(raw)
    for topic, raws in held.items():
        yield from ((topic, raw) for raw in raws)


class Transport:
    """Playback time against wall time. All wall times are seconds of one monotonic clock.

    `rate` is recorded seconds per second; 0 does not wait for time at all. `step` lets one control tick pass while
    paused: everything before the next tick but one, at once. Playback time never goes back.
    """

    def __init__(self, rate: float, position_ns: int, paused: bool = False):
        if not (math.isfinite(rate) and 0 <= rate <= MAX_RATE):
            raise ConfigError(f'rate is {rate:g}: give 0 (as fast as messages are taken) to {MAX_RATE:g}')
        self.rate = rate
        self.paused = paused
        self.lost_s = 0.0           # wall time by which the machine was too slow, given up
        self._anchor: tuple[int, float] | None = None   # playback time and wall time from which both run; None: not yet
        self._told_ns = position_ns
        self._ticks = 0             # steps asked for and not yet begun
        self._in_step = False

    def begin(self, now_s: float) -> None:
        """Time runs from now on. Pauses and steps asked for before hold."""
        self._anchor = (self._told_ns, now_s)

    def wait_s(self, item: Item, now_s: float) -> float:
        """Seconds until the next message is due; 0 when it is, NEVER while paused."""
        if self.paused:
            return 0.0 if self._ticks or self._in_step and not item.tick else NEVER
        if self.rate == 0 or self._anchor is None:
            return 0.0 if self.rate == 0 else NEVER
        anchor_ns, anchor_s = self._anchor
        due_s = anchor_s + (item.play_ns - anchor_ns) * 1e-9 / self.rate
        lag_s = now_s - due_s
        if lag_s > MAX_LAG_S:
            self.lost_s += lag_s
            self._anchor = (item.play_ns, now_s)
        return max(-lag_s, 0.0)

    def stall(self, item: Item, now_s: float) -> None:
        """Time waits: the item is due, but those who take it are not ready. This is no lag."""
        self._anchor = (max(item.play_ns, self._told_ns), now_s)

    def sent(self, item: Item) -> None:
        """Note that the item went out."""
        self._told_ns = max(self._told_ns, item.play_ns)
        if self.paused and item.tick:
            self._ticks -= 1
            self._in_step = True

    def position_ns(self, now_s: float, before: Item | None = None) -> int:
        """Playback time now: never beyond the item that is still to be sent, never back."""
        if not self.paused and self.rate > 0 and self._anchor is not None:
            anchor_ns, anchor_s = self._anchor
            moment_ns = anchor_ns + round((now_s - anchor_s) * 1e9 * self.rate)
            if before is not None:
                moment_ns = min(moment_ns, before.play_ns)
            self._told_ns = max(self._told_ns, moment_ns)
        return self._told_ns

    def pause(self, now_s: float, before: Item | None = None) -> None:
        """Stop where it is; a step that was under way ends here."""
        self.position_ns(now_s, before)
        self.paused, self._ticks, self._in_step = True, 0, False

    def resume(self, now_s: float) -> None:
        """Go on from where it stopped."""
        if self.paused:
            self.paused, self._ticks, self._in_step = False, 0, False
            if self._anchor is not None:
                self.begin(now_s)

    def step(self, now_s: float, before: Item | None = None) -> None:
        """Let one more control tick pass, then stay paused."""
        if not self.paused:
            self.pause(now_s, before)
        self._ticks += 1
