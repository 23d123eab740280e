"""How well a node is: its open problems, counters and figures, and the messages that say so.

`Health` is plain bookkeeping; `runtime/node.py` publishes it as `heartbeat` (10 Hz) and on `/diagnostics`.
"""
from collections.abc import Callable
import threading

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

DIAGNOSTICS_PERIOD_S = 1.0  # the rate that diagnostic aggregators expect

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Health:
    """Open problems by key, each with a level and one line. `on_change(level, line)` is told once per change.

    Any thread may call it.
    """

    def __init__(self, name: str, on_change: Callable[[bytes, str], None]):
        self.name = name
        self.phase = 'unconfigured'  # lifecycle state
        self.figures: dict[str, str] = {}
        self.changed = True  # since the last message made by `status`
        self._on_change = on_change
        self._lock = threading.RLock()
        self._problems: dict[str, tuple[bytes, str]] = {}
        self._counts: dict[str, int] = {}

    def report(self, key: str, level: bytes, line: str) -> None:
        """Open a problem, or give an open one a new level. A repeated report costs nothing and says nothing."""
        with self._lock:
            known = self._problems.get(key)
            self._problems[key] = (level, line)
        if known is None or known[0] != level:
            self.changed = True
            self._on_change(level, line)

    def clear(self, key: str, line: str = '') -> None:
        """Close a problem; `line` says how it ended."""
        with self._lock:
            known = self._problems.pop(key, None)
        if known is not None:
            self.changed = True
            if line:
                self._on_change(OK, line)

    def count(self, kind: str, line: str) -> None:
        """Count something dropped; the first of its kind is said, all are counted in the diagnostics."""
        with self._lock:
            self._counts[kind] = count = self._counts.get(kind, 0) + 1
        if count == 1:
            self.changed = True
            self._on_change(WARN, line)

    def has(self, key: str) -> bool:
        """True while a problem is open."""
        return key in self._problems

    def counted(self, kind: str) -> int:
        """How often `count` was called for a kind."""
        return self._counts.get(kind, 0)

    def set_phase(self, phase: str) -> None:
        """Note the lifecycle state."""
        self.changed = self.changed or phase != self.phase
        self.phase = phase

    @property
    def level(self) -> bytes:
        """Worst level among the open problems; a node that is not active is at least a warning."""
        with self._lock:
            levels = [level for level, _ in self._problems.values()]
        return max(levels + [OK if self.phase == 'active' else WARN])

    @property
    def message(self) -> str:
        """The open problems, worst first, or the lifecycle state."""
        with self._lock:
            worst_first = sorted(self._problems.values(), key=lambda problem: problem[0], reverse=True)
        return '; '.join(line for _, line in worst_first) or self.phase

    def status(self, name: str, hardware_id: str) -> DiagnosticStatus:
        """Return the message for `heartbeat` or `/diagnostics`."""
        values = {'state': self.phase, **self.figures}
        with self._lock:
            values.update({f'dropped {kind}': str(count) for kind, count in self._counts.items()})
        return DiagnosticStatus(
            level=self.level, name=name, message=self.message, hardware_id=hardware_id,
            values=[KeyValue(key=key, value=value) for key, value in values.items()])


def heartbeat_phase(status: DiagnosticStatus) -> str:
    """Lifecycle state that a heartbeat carries; empty for a foreign one."""
    return next((pair.value for pair in status.values if pair.key == 'state'), '')


def array(stamp, *statuses: DiagnosticStatus) -> DiagnosticArray:
    """Wrap statuses for `/diagnostics`. `stamp` is a builtin_interfaces/Time."""
    out = DiagnosticArray(status=list(statuses))
    out.header.stamp = stamp
    return out


def say(logger, level: bytes, line: str) -> None:
    """Log a line with the severity of its level. One call site each: rclpy refuses a site that changes severity."""
    if level == OK:
        logger.info(line)
    elif level == WARN:
        logger.warning(line)
    else:
        logger.error(line)
