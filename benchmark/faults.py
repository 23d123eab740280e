"""What happens when a process dies or hangs while the robot drives: when does it stand, who says why, does it go on?

    python benchmark/faults.py [--repeats 3] [--only actor]

Drives to a goal in the other room at real time, strikes one process (SIGKILL, or SIGSTOP until the robot stands), and
measures on the topics, as an outsider. Times are wall times since the strike. Prints a table and writes
results/faults.json; `stands_s` is the arrival of the first odometry below 0.01 m/s, which comes every 0.1 s.
"""
import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
import math
import os
from pathlib import Path
import re
import signal
import sys
import tempfile
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rich.console import Console
from rich.table import Table

from jepa_ros import checkpoint
from jepa_ros.errors import ConfigError
from jepa_ros.evaluation import live, report
from jepa_ros.evaluation.closed_loop import MAX_TIME_S
from jepa_ros.evaluation.live import CONFIGURATOR, SLACK_S
from jepa_ros.evaluation.observer_node import Observer, RESULTS
from jepa_ros.robot.gate import Mode
from jepa_ros.runtime.diagnostics import heartbeat_phase
from jepa_ros.runtime.names import AGENT, GATE, ORGANS, SIM
from jepa_ros.runtime.qos import HEARTBEATS
from jepa_ros.runtime.stack import Stack
from jepa_ros.runtime.supervisor import Supervisor
from jepa_ros.sim.episodes import start_goal_pairs, StartGoal
from jepa_ros.sim.worlds import make_planar_world

OUTPUT = Path(__file__).resolve().parent / 'results'
KILLED, HUNG = 'killed', 'hung'
DRIVES_MPS, STANDS_MPS = 0.3, 0.01
HOLD_S = 0.5            # it stands when it has not moved for this long
PHASE_S = 0.1           # strikes are spread over one period of control and heartbeats
FAR_M = 1.5             # start to goal: long enough to be struck on the way
FRESH_S = 0.3           # age of a heartbeat that still counts
BACK_S = 60.0           # most time for a process to come back
RESULT_S = 5.0          # most time for the goal to get a result after the robot stands


@dataclass(frozen=True)
class Case:
    """One process, and what is done to it."""

    composition: bool
    process: str
    kind: str


CASES = (*(Case(False, organ, KILLED) for organ in ORGANS), Case(False, GATE, KILLED),
         *(Case(False, organ, HUNG) for organ in ('perception', 'actor')), Case(True, AGENT, KILLED))


class Witness(Observer):
    """Also keeps commands, speeds, heartbeats and diagnostics, with the wall times at which DDS got them."""

    def __enter__(self) -> 'Witness':
        self.commands: list[tuple[float, bool]] = []            # arrival, asks for motion
        self.speeds: list[tuple[float, float]] = []             # arrival, m/s
        self.said: list[tuple[float, DiagnosticStatus]] = []    # arrival, one line of /diagnostics
        self._beats: dict[str, tuple[float, bool]] = {}         # node -> arrival, well
        super().__enter__()
        listen, reliable = self._node.create_subscription, QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        listen(Twist, 'cmd_vel', self._on_command, reliable)
        listen(Odometry, 'odom', self._on_speed, QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT))
        listen(DiagnosticArray, '/diagnostics', self._on_diagnostics, reliable)
        listen(DiagnosticStatus, 'heartbeat', self._on_heartbeat, HEARTBEATS)
        return self

    @property
    def speed(self) -> float:
        """Newest speed in m/s."""
        return self.speeds[-1][1] if self.speeds else 0.0

    def well(self) -> bool:
        """All organs and the gate are there, active and without an error, and the gate lets the robot move."""
        beats = [self._beats.get(name, (0.0, False)) for name in (*ORGANS, GATE)]
        return all(well and time.time() - at_s < FRESH_S for at_s, well in beats)

    def _on_command(self, message: Twist, info: dict) -> None:
        self.commands.append((arrival_s(info), bool(message.linear.x or message.linear.y)))

    def _on_speed(self, message: Odometry, info: dict) -> None:
        velocity = message.twist.twist.linear
        self.speeds.append((arrival_s(info), math.hypot(velocity.x, velocity.y)))

    def _on_diagnostics(self, message: DiagnosticArray, info: dict) -> None:
        self.said += [(arrival_s(info), status) for status in message.status]

    def _on_heartbeat(self, message: DiagnosticStatus, info: dict) -> None:
        stops = any(pair.key == 'mode' and pair.value == Mode.STOP.value for pair in message.values)  # only the gate's
        well = message.level < DiagnosticStatus.ERROR and heartbeat_phase(message) == 'active' and not stops
        self._beats[message.name.rsplit('/', 1)[-1]] = (arrival_s(info), well)


def arrival_s(info: dict) -> float:
    return info['received_timestamp'] * 1e-9


def stands_at(speeds: Sequence[tuple[float, float]], since_s: float) -> float | None:
    """Arrival of the first odometry after which the robot did not move for HOLD_S; None while there is none."""
    first = None
    for at_s, speed in speeds:
        if at_s < since_s or speed >= STANDS_MPS:
            first = None
        elif first is None:
            first = at_s
        elif at_s - first >= HOLD_S:
            return first
    return None


def last_motion_s(commands: Sequence[tuple[float, bool]], since_s: float, until_s: float) -> float:
    """Seconds from `since_s` to the last command that asks for motion; 0 if there is none."""
    return max((at_s - since_s for at_s, moves in commands if moves and since_s < at_s < until_s), default=0.0)


def first_lines(said: Sequence[tuple[float, DiagnosticStatus]], process: str, since_s: float) -> list[dict]:
    """The first line of each node that names the process as a problem, in the order of arrival."""
    lines: dict[str, dict] = {}
    for at_s, status in said:
        problem = at_s > since_s and status.level != DiagnosticStatus.OK
        if problem and re.search(rf'\b{process}\b', status.message):
            lines.setdefault(status.name, {'after_s': at_s - since_s, 'by': status.name, 'line': status.message})
    return list(lines.values())


class Run:
    """A running stack and its witness. Use as a context manager."""

    def __init__(self, stack: Stack, logs: Path):
        self.supervisor = Supervisor(stack, lambda line: None, logs)
        self.witness = Witness()
        self._server = AGENT if stack.composition else CONFIGURATOR
        self._sim_pid: int | None = None

    def __enter__(self) -> 'Run':
        self.supervisor.start()
        try:
            self.witness.__enter__()
            self.supervisor.wait_ready()
        except BaseException:
            self.supervisor.stop()
            raise
        self._sim_pid = self.supervisor.pids[SIM]
        return self

    def __exit__(self, *error) -> None:
        self.supervisor.stop()
        self.witness.__exit__(*error)

    def wait(self, until: Callable[[], bool], line: str, timeout_s: float) -> None:
        self.witness.wait(until, line, self.alive, timeout_s)

    def alive(self) -> None:
        """Raise ConfigError when going on makes no sense."""
        if self.supervisor.failure or self.supervisor.pids.get(SIM) != self._sim_pid:
            raise ConfigError(self.supervisor.failure or 'the simulator died')

    def trial(self, case: Case, task: StartGoal, delay_s: float) -> dict:
        """Drive, strike, and measure until a goal is reached again."""
        witness = self.witness
        self.wait(witness.well, 'the agent is not well', BACK_S)
        image = self._photograph(task)
        goal = witness.pursue(image, MAX_TIME_S, self.alive)
        self._drives(goal, delay_s)
        pid, server_pid = self.supervisor.pids[case.process], self.supervisor.pids[self._server]
        struck_s, speed_mps = time.time(), witness.speed
        os.kill(pid, signal.SIGKILL if case.kind == KILLED else signal.SIGSTOP)
        try:
            stood_s = self._stood(struck_s)
            pose = witness.pose
            code = self._code(goal, case, server_pid)
        finally:
            if case.kind == HUNG:
                os.kill(pid, signal.SIGCONT)
        since_s = struck_s if case.kind == KILLED else time.time()
        self.wait(witness.well, f'{case.process} did not come back', BACK_S)
        well_s, crept_m = time.time() - since_s, math.dist(pose, witness.pose)
        again = witness.pursue(image, MAX_TIME_S, self.alive) if code else goal
        self.wait(again.done, 'the goal got no result', MAX_TIME_S + SLACK_S)
        return {'speed_mps': speed_mps, 'last_command_s': last_motion_s(witness.commands, struck_s, stood_s + HOLD_S),
                'stands_s': stood_s - struck_s, 'diagnostics': first_lines(witness.said, case.process, struck_s),
                'result': code or 'goes on', 'moved_unasked_m': crept_m if code else None, 'well_again_s': well_s,
                'second_result': RESULTS[again.result().result.error_code],
                'reached': math.dist(witness.pose, task.goal) <= 0.15}

    def _photograph(self, task: StartGoal):
        witness = self.witness
        witness.place({**task.values, 'start_x_m': task.goal[0], 'start_y_m': task.goal[1]}, task.seed, self.alive)
        image = witness.photograph(self.alive)
        witness.place(task.values, task.seed, self.alive)
        return image

    def _drives(self, goal, delay_s: float) -> None:
        """Return `delay_s` after the robot was seen driving, when it still does."""
        while True:
            self.wait(lambda: goal.done() or self.witness.speed > DRIVES_MPS, 'the robot does not drive', MAX_TIME_S)
            time.sleep(delay_s)
            if goal.done():
                raise ConfigError('the goal ended before it came to the strike')
            if self.witness.speed > DRIVES_MPS:
                return

    def _stood(self, struck_s: float) -> float:
        speeds = self.witness.speeds
        self.wait(lambda: stands_at(speeds, struck_s) is not None, 'the robot does not stand', BACK_S)
        return stands_at(speeds, struck_s)

    def _code(self, goal, case: Case, server_pid: int) -> str:
        """Result of the goal that was being pursued; empty when it goes on (nobody but the gate may die for that)."""
        if case.process == self._server:
            return f'none, the {case.process} died'
        if case.process != GATE:
            self.wait(goal.done, 'the goal got no result', RESULT_S)
        return RESULTS[goal.result().result.error_code] if goal.done() else ''


def tasks(world: str, count: int, seed: int) -> list[StartGoal]:
    """Starts and goals in opposite rooms, far from each other."""
    pairs = start_goal_pairs(make_planar_world(world), 20 * count, seed)
    start = ('start_x_m', 'start_y_m')
    return [p for p in pairs if math.dist([p.values[n] for n in start], p.goal) > FAR_M][:count]


def measure(cases: Sequence[Case], options: argparse.Namespace, console: Console) -> list[dict]:
    """One row per case. Each process is struck again only after all others: it has settled by then."""
    rng = np.random.default_rng(options.seed)
    trials: dict[Case, list[dict]] = {case: [] for case in cases}
    ways = iter(tasks('two_rooms', len(cases) * options.repeats, options.seed))
    for composition in sorted({case.composition for case in cases}):
        stack = Stack(model=options.model, world='two_rooms', composition=composition, seed=options.seed)
        with tempfile.TemporaryDirectory() as logs, Run(stack, Path(logs)) as run:
            for case in [c for _ in range(options.repeats) for c in cases if c.composition == composition]:
                trial = run.trial(case, next(ways), float(rng.uniform(0, PHASE_S)))
                trials[case].append(trial)
                console.print(f'{case.process} {case.kind}: stands after {trial["stands_s"]:.2f} s, '
                              f'{trial["result"]}; then {trial["second_result"]}', highlight=False)
    return [{**asdict(case), **summary(trials[case])} for case in cases]


def summary(trials: Sequence[dict]) -> dict:
    """Worst figures of a case, and all of its trials."""
    worst = {name: max(t[name] for t in trials) for name in ('last_command_s', 'stands_s', 'well_again_s')}
    results = sorted({t['result'] for t in trials})
    said = [t['diagnostics'][0] for t in trials if t['diagnostics']]
    return {'repeats': len(trials), **worst, 'result': ', '.join(results), 'named': len(said),
            'named_after_s': max((line['after_s'] for line in said), default=None),
            'line': said[0]['line'] if said else '', 'second_reached': sum(t['second_result'] == 'NONE' and t['reached']
                                                                      for t in trials), 'trials': list(trials)}


def cells(row: dict) -> list[str]:
    """One line of the table."""
    named = f'{row["line"]} ({row["named_after_s"]:.2f} s)' if row['line'] else '–'
    return [f'{row["process"]} {row["kind"]}', f'{row["last_command_s"]:.2f}', f'{row["stands_s"]:.2f}', named,
            row['result'], f'{row["well_again_s"]:.1f}', f'{row["second_reached"]} of {row["repeats"]}']


HEAD = ('while driving', 'last command, s', 'stands, s', '/diagnostics', 'result of the goal', 'all well again, s',
        'goal reached then')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='two_rooms')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', default='', help='strike only this process')
    parser.add_argument('--output', type=Path, default=OUTPUT)
    options = parser.parse_args()
    live.isolate()
    console = Console(width=None if sys.stdout.isatty() else 160)
    rows = measure([c for c in CASES if options.only in ('', c.process)], options, console)
    card = checkpoint.read_card(checkpoint.find(options.model))
    head = {'model': card.name, 'model_sha256': card.sha256, 'seed': options.seed, 'machine': report.machine()}
    report.write_json(options.output / 'faults.json', {**head, 'rows': rows})
    table = Table(*HEAD)
    for row in rows:
        table.add_row(*cells(row))
    console.print(table)
    return 0


if __name__ == '__main__':
    sys.exit(main())
