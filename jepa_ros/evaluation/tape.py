"""What an outside observer heard of a running agent, as plain data: the source of the demo's report and pictures."""
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jepa_ros.evaluation.closed_loop import MAX_TIME_S, TOLERANCE_M
from jepa_ros.evaluation.metrics import percentiles, timing

REACTIVE = 1        # of Action.msg: decided by Mode-1


@dataclass
class Tape:
    """Keys are stamps of percepts in ns on the robot's clock, unless said otherwise."""

    active_s: list[tuple[float, float]] = field(default_factory=list)   # wall time: configuration active until inactive
    percept_s: dict[int, float] = field(default_factory=dict)       # wall time of arrival
    action_s: dict[int, float] = field(default_factory=dict)        # of the first action that answers the percept
    poses: dict[int, tuple[float, float]] = field(default_factory=dict)
    surprise: dict[int, float] = field(default_factory=dict)
    energy: dict[int, dict[str, float]] = field(default_factory=dict)       # of the percept: term -> weight · value
    plan_energy: dict[int, dict[str, float]] = field(default_factory=dict)  # of the plan made from it
    plan_ms: dict[int, float] = field(default_factory=dict)         # plan latency
    mode: dict[int, int] = field(default_factory=dict)              # of the decision: REACTIVE, or planned
    imagined: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)   # (stamp, level) -> readouts (H, R)

    def during(self, track: dict, episode: 'Pursuit') -> list[int]:
        """Sorted stamps of a track within an episode."""
        return sorted(stamp for stamp in track if episode.first_ns <= stamp <= episode.last_ns)


@dataclass(frozen=True)
class Pursuit:
    """One goal of the demo."""

    index: int
    values: dict[str, float]        # of the world, start included
    goal: tuple[float, float]
    first_ns: int                   # simulated time from the goal's acceptance to its result
    last_ns: int
    error: str                      # name of the action's error code, 'NONE' when reached
    message: str
    elapsed_s: float
    distance_m: float               # true distance to the goal at the end
    collisions: int

    @property
    def success(self) -> bool:
        """The agent says so, and in truth it stands within 0.15 m of the goal, within 60 s."""
        return self.error == 'NONE' and self.distance_m <= TOLERANCE_M and self.elapsed_s <= MAX_TIME_S

    @property
    def verdict(self) -> str:
        if self.success:
            return f'reached in {self.elapsed_s:.1f} s'
        if self.error == 'NONE':
            return f'judged reached, but {self.distance_m:.2f} m away'
        return f'not reached ({self.error}): {self.message}'


def demo_report(tape: Tape, pursuits: Sequence[Pursuit], composition: bool, model_sha256: str, seed: int,
                task: str) -> dict:
    """Contents of `report.json`."""
    kept = timing(tape.percept_s, tape.action_s, tape.active_s)
    reached = [p for p in pursuits if p.success]
    modes = [tape.mode[s] for p in pursuits for s in tape.during(tape.mode, p)]
    plans = [tape.plan_ms[s] for p in pursuits for s in tape.during(tape.plan_ms, p)]
    return {
        'episodes': len(pursuits), 'successes': len(reached),
        'success_rate': len(reached) / len(pursuits) if pursuits else 0.0,
        'collisions': sum(p.collisions for p in pursuits),
        'control_hz': kept.control_hz, 'deadline_miss_rate': kept.miss_rate,
        'plan_latency_ms': percentiles(plans), 'percept_to_action_ms': percentiles(kept.latencies_ms),
        'time_to_goal_s': percentiles((p.elapsed_s for p in reached), (50, 95)),
        'reactive_share': sum(mode == REACTIVE for mode in modes) / max(len(modes), 1), 'task': task,
        'composition': composition, 'model_sha256': model_sha256, 'seed': seed,
        'rows': [_row(p) for p in pursuits],
    }


def _row(p: Pursuit) -> dict:
    return {'index': p.index, 'success': p.success, 'error': p.error, 'message': p.message,
            'elapsed_s': p.elapsed_s, 'distance_m': p.distance_m, 'collisions': p.collisions, 'goal': list(p.goal),
            'world': p.values}
