"""Shadow mode: what an agent would have done, tick by tick, beside what was done in the recording. No ROS here.

The agent sees the recorded percepts and is told the recorded commands; its own actions reach no robot. It therefore
never sees what its own actions would have led to: this measures agreement, not success.
"""
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.errors import BagError
from jepa_ros.evaluation.metrics import percentiles
from jepa_ros.robot import bags
from jepa_ros.robot.bag_open import check_contract, open_bag
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.replay import Window, window

MIN_TICKS = 2       # a part with fewer has no way to its goal


@dataclass(frozen=True)
class Wanted:
    """What `jepa-ros replay --shadow` was asked for."""

    bag: Path
    model: str
    robot: str           # contract; empty: the model's
    task: str
    goal: str            # in words
    goal_message: Any    # PursueGoal.Goal; None: the percept at the end of each part
    goal_every_s: float  # length of a part; 0: an episode
    namespace: str       # full, as /robot_1
    output: Path
    parameters: dict     # of the replay node


@dataclass(frozen=True)
class Part:
    """T control ticks of a recording that are pursued towards one goal."""

    index: int
    name: str                # episode, and number of the part within it
    stamps_ns: np.ndarray    # (T,) int64 stamps of the ticks
    actions: np.ndarray      # (T, A) float32, applied over [t, t + 1), SI
    goal_s: float            # moment of its last percept, in seconds after the bag's first percept

    @property
    def length_s(self) -> float:
        return float(self.stamps_ns[-1] - self.stamps_ns[0]) * 1e-9


@dataclass
class Heard:
    """What the agent said. Keys are stamps of percepts in ns."""

    actions: dict[int, np.ndarray] = field(default_factory=dict)     # (A,) first action that answers the percept
    latency_ms: dict[int, float] = field(default_factory=dict)       # from sending the percept to the action's arrival
    planned: dict[int, bool] = field(default_factory=dict)           # by Mode-2
    surprise: dict[int, float] = field(default_factory=dict)         # relative to its mean in training
    begun: int = 0                                                   # parts that were begun
    outcomes: dict[int, str] = field(default_factory=dict)           # part's index -> how its goal ended
    ends_ns: dict[int, int] = field(default_factory=dict)            # part's index -> percept at which its goal ended


def read_parts(bag: Path, contract: RobotContract, start_s: float, duration_s: float, every_s: float = 0.0,
               report: Callable[[str], None] | None = None) -> list[Part]:
    """Recorded ticks and actions within a part of a bag, cut into stretches of `every_s` seconds (0: episodes).

    `report` gets one line for each thing in the bag that could not be used. Raises BagError for a bag of another robot,
    or without an action in that part.
    """
    with open_bag(bag) as opened:
        check_contract(opened, contract)
        part = window(bag, opened.log_span_ns, start_s, duration_s)
    first = next(bags.iter_percepts(bag, contract), None)   # the times of goals in a bag are counted from it
    period_ns = round(contract.control_period_s * 1e9)
    length = round(every_s * 1e9 / period_ns) if every_s else 0
    out: list[Part] = []
    for episode in bags.iter_episodes(bag, contract, report=report):
        if episode.stamps_ns[0] >= part.stop_ns:
            break
        for name, times, actions in _cut(episode, part, period_ns, length):
            out.append(Part(len(out), name, times, actions, max(float(times[-1] - first.stamp_ns) * 1e-9, 0.0)))
    if not out:
        raise BagError(f'{bag}: no percept there is followed by a recorded command within {part.length_s:.1f} s: '
                       'choose another start or a longer duration')
    return out


def _cut(episode, part: Window, period_ns: int, length: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, ticks and actions of each stretch of an episode that lies wholly within the part that is played."""
    inside = (episode.stamps_ns >= part.start_ns) & (episode.stamps_ns + period_ns // 2 < part.stop_ns)
    times, actions = episode.stamps_ns[inside], episode.actions[inside]
    for number, first in enumerate(range(0, len(times), length or max(len(times), 1))):
        rows = slice(first, first + (length or len(times)))
        if len(times[rows]) >= MIN_TICKS:
            yield f'{episode.episode_id}/{number}' if length else episode.episode_id, times[rows], actions[rows]


def aligned(part: Part, track: Mapping[int, object], period_ns: int) -> list:
    """Entry of `track` for each tick of the part; None where there is none within half a period."""
    keys = np.array(sorted(track), np.int64)
    out: list = []
    for stamp in part.stamps_ns:
        at = int(np.searchsorted(keys, stamp))
        near = [int(k) for k in keys[max(at - 1, 0):at + 1] if abs(int(k) - int(stamp)) <= period_ns // 2]
        out.append(track[min(near, key=lambda k: abs(k - int(stamp)))] if near else None)
    return out


def pursued(part: Part, heard: Heard, period_ns: int) -> np.ndarray:
    """(T,) bool: ticks at which an action was due. The percept that ended the goal, and those after it, need none."""
    return part.stamps_ns < heard.ends_ns.get(part.index, np.iinfo(np.int64).max) - period_ns // 2


def agreement(recorded: np.ndarray, agent: np.ndarray) -> dict[str, float | int | None]:
    """How well two series (N,) agree; None where it cannot be told."""
    n = len(recorded)
    error = agent.astype(float) - recorded
    varied = n > 1 and np.std(recorded) > 1e-9 and np.std(agent) > 1e-9
    return {'ticks': n, 'mae': float(np.abs(error).mean()) if n else None,
            'rmse': float(np.sqrt((error ** 2).mean())) if n else None,
            'correlation': float(np.corrcoef(recorded, agent)[0, 1]) if varied else None,
            'recorded_std': float(np.std(recorded)) if n else None, 'agent_std': float(np.std(agent)) if n else None}


def compare(parts: Sequence[Part], heard: Heard, contract: RobotContract) -> dict:
    """Figures over all parts that were begun, and one row for each."""
    parts = parts[:heard.begun]
    period_ns = round(contract.control_period_s * 1e9)
    rows, pairs, latencies, surprises, due, planned = [], [], [], [], 0, []
    for part in parts:
        wanted, answers = pursued(part, heard, period_ns), aligned(part, heard.actions, period_ns)
        both = [(recorded, answer) for recorded, answer, w in zip(part.actions, answers, wanted)
                if w and answer is not None]
        surprise = [s for s in aligned(part, heard.surprise, period_ns) if s is not None]
        pairs += both
        due += int(wanted.sum())
        latencies += [v for v in aligned(part, heard.latency_ms, period_ns) if v is not None]
        planned += [v for v in aligned(part, heard.planned, period_ns) if v is not None]
        surprises += surprise
        rows.append({'part': part.name, 'ticks': len(part.stamps_ns), 'due': int(wanted.sum()), 'answered': len(both),
                     'goal': heard.outcomes.get(part.index, 'not begun'), 'goal_s': part.goal_s,
                     'mae': _mean_errors(both, contract.action_names), 'surprise_p50': percentiles(surprise)['p50']})
    recorded, agent = (np.array([pair[i] for pair in pairs], float).reshape(len(pairs), len(contract.action_names))
                       for i in (0, 1))
    return {
        'parts': len(parts), 'ticks': sum(len(p.stamps_ns) for p in parts), 'due': due, 'answered': len(pairs),
        'answered_share': len(pairs) / due if due else None, 'latency_ms': percentiles(latencies),
        'planned_share': float(np.mean(planned)) if planned else None, 'surprise': percentiles(surprises),
        'actions': {name: agreement(recorded[:, i], agent[:, i]) for i, name in enumerate(contract.action_names)},
        'rows': rows,
    }


def _mean_errors(both: list, names: Sequence[str]) -> dict[str, float | None]:
    return {name: float(np.mean([abs(float(answer[i]) - float(recorded[i])) for recorded, answer in both]))
            if both else None for i, name in enumerate(names)}


def lines(figures: Mapping) -> list[tuple[str, str]]:
    """The lines of the command."""
    from jepa_ros.evaluation.report import spread
    share = figures['answered_share']
    out = [('goal', figures['goal']), ('recording', f'{figures["ticks"]} ticks in {figures["parts"]} parts'),
           ('answered', f'{figures["answered"]} of {figures["due"]} due{"" if share is None else f" ({share:.1%})"}'),
           ('percept to action', spread(figures['latency_ms'], unit='ms')),
           ('surprise', spread(figures['surprise'], 2))]
    for name, one in figures['actions'].items():
        text = ' · '.join(f'{key} {one[key]:.3f}' for key in ('mae', 'rmse', 'correlation', 'recorded_std')
                          if one[key] is not None)
        out.append((name, text or '–'))
    return out
