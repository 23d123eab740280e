"""The counters of a robot's streams in `/diagnostics`: figures of all, a warning while something is wrong."""
import time

from ..robot.ingest import Ingest
from .diagnostics import Health, WARN

REPORT_S = 5.0      # wall time for which a warning stays after the last trouble of its kind
# What makes a sample unusable or a percept doubtful. The rest (late, gaps, out of order) has a defined outcome and is
# only counted: a sensor that is always late would warn for ever.
WARNED = ('zero_stamp', 'future', 'duplicate', 'jump_back', 'jump_forward', 'bad', 'frame')


class StreamHealth:
    """Reports what an Ingest counted since the last look."""

    def __init__(self, health: Health, ingest: Ingest):
        self._health, self._ingest = health, ingest
        self._told: dict[tuple[str, str], tuple[int, float]] = {}   # key, kind -> count and when it grew last

    def look(self) -> None:
        """Update figures and warnings; cheap enough for ten times a second."""
        ingest, health, now_s = self._ingest, self._health, time.monotonic()
        observed = {o.key: o.topic for o in ingest.contract.observations}
        for key, topic in observed.items():
            counters = ingest.counters[key]
            for kind, count in counters.counts().items():
                health.figures[f'{key} {kind}'] = str(count)
                if kind in WARNED:
                    line = counters.lines.get(kind, f'{topic}: {kind}')
                    self._warn(key, kind, count, line, now_s)
        if ingest.withheld:
            health.figures['withheld'] = str(sum(ingest.withheld.values()))
        if ingest.reason:
            health.report('percept', WARN, f'no percept: {ingest.reason}')
        else:
            health.clear('percept', 'percepts come again')

    def _warn(self, key: str, kind: str, count: int, line: str, now_s: float) -> None:
        before, since_s = self._told.get((key, kind), (0, now_s))
        if count > before:
            self._told[key, kind] = (count, now_s)
            self._health.report(f'stream {key} {kind}', WARN, line)
        elif now_s - since_s > REPORT_S:
            self._health.clear(f'stream {key} {kind}', f'{key}: no more trouble of kind {kind.replace("_", " ")}')
