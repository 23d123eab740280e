"""Which organs are alive, judged by their heartbeats on wall time. Pure; used by the command gate.

An organ is at fault when it was never heard, fell silent, says that it is not active, or reports an error, or when
the supervisor says that its process has ended.
"""
from dataclasses import dataclass

ERROR = 2  # diagnostic_msgs/DiagnosticStatus.ERROR; STALE is above it
DEAD = 'dead'  # state in the heartbeat that the supervisor sends for a node whose process has ended


@dataclass(frozen=True)
class _Beat:
    wall_s: float
    level: int
    phase: str
    message: str


class Organs:
    """Heartbeats of the organs that the gate needs. `timeout_s` is wall time."""

    def __init__(self, required: tuple[str, ...], timeout_s: float):
        self.required = required
        self.timeout_s = timeout_s
        self._beats: dict[str, _Beat] = {}

    def heard(self, name: str, level: int, wall_s: float, phase: str = '', message: str = '') -> None:
        """Note a heartbeat. `phase` is the lifecycle state it carries, empty for a node that has none."""
        self._beats[name] = _Beat(wall_s, level, phase, message)

    def faults(self, wall_s: float) -> dict[str, str]:
        """What is wrong with the required organs, by key: `organ <name>`, or `organs` for all not heard yet."""
        unheard = [name for name in self.required if name not in self._beats]
        faults = {'organs': f'waiting for {", ".join(unheard)}'} if unheard else {}
        for name in self.required:
            fault = self._fault(name, wall_s)
            if fault:
                faults[f'organ {name}'] = fault
        return faults

    def broken(self, key: str, wall_s: float) -> bool:
        """True for the key of an organ that is lost or in error, false for one that has only not come up yet."""
        beat = self._beats.get(key.removeprefix('organ '))
        return beat is not None and (wall_s - beat.wall_s > self.timeout_s or beat.level >= ERROR)

    def _fault(self, name: str, wall_s: float) -> str:
        beat = self._beats.get(name)
        if beat is None:
            return ''
        if beat.phase == DEAD:  # first: no heartbeat can follow, and this says why
            return f'{name} is dead: {beat.message}'
        silence = wall_s - beat.wall_s
        if silence > self.timeout_s:
            return f'{name} is lost: no heartbeat for {silence:.1f} s'
        if beat.phase not in ('', 'active'):
            return f'{name} is {beat.phase}'
        if beat.level >= ERROR:
            return f'{name} reports an error: {beat.message}'
        return ''
