"""The demo's run: the whole stack at work, goal after goal, with a recorder listening. No printing, no pictures."""
from collections.abc import Callable
import json
import math
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys
import time

from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.closed_loop import MAX_TIME_S
from jepa_ros.evaluation.observer_node import Observer, RESULTS
from jepa_ros.evaluation.tape import Pursuit, Tape
from jepa_ros.runtime.child import cause, Child
from jepa_ros.runtime.names import AGENT, SIM
from jepa_ros.runtime.ros import domain_id
from jepa_ros.runtime.stack import Stack
from jepa_ros.runtime.supervisor import Supervisor
from jepa_ros.sim.episodes import StartGoal

DOMAINS = range(1, 102)         # above 101 the ports of DDS meet Linux's ephemeral ports
RECORDED = ('action,episode,state,prediction,imagination,plan,energy,configuration,model_update,sim/collisions,'
            'scan:sensor_msgs/msg/LaserScan')
RECORDER, CONFIGURATOR = 'recorder', 'configurator'
SLACK_S = 20.0                  # wall time on top of a goal's own time before its result counts as lost
BAG_CLOSE_S = 20.0


def isolate() -> int:
    """Choose a ROS domain nobody uses unless one is set, and stay on this machine. Returns the domain's number."""
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    if 'ROS_DOMAIN_ID' not in os.environ:
        first = os.getpid() % len(DOMAINS)
        order = [*DOMAINS[first:], *DOMAINS[:first]]
        domain = next((d for d in order if _unused(d)), None)
        if domain is None:
            raise ConfigError('all ROS domains from 1 to 101 are in use: set ROS_DOMAIN_ID to the one to take')
        os.environ['ROS_DOMAIN_ID'] = str(domain)
    return domain_id()


def _unused(domain: int) -> bool:
    """No DDS participant of the domain holds its first ports (7400 + 250 · domain, RTPS 9.6.1.1)."""
    for port in (7400 + 250 * domain, *(7410 + 250 * domain + 2 * i for i in range(4))):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', port))
            except OSError:
                return False
    return True


class Live:
    """A running stack with recorder and observer. Use as a context manager; `say` gets one line per event."""

    def __init__(self, stack: Stack, folder: Path, model_sha256: str, say: Callable[[str], None],
                 recorded: str = RECORDED):
        """`recorded`: topics beyond those of the contract."""
        self.stack, self._folder, self._model_sha256, self._recorded = stack, folder, model_sha256, recorded
        self._logs = folder / 'logs'
        self._recorder = Child(RECORDER)
        self._supervisor = Supervisor(stack, say, self._logs)
        self._observer = Observer()
        self._sim_pid: int | None = None

    def __enter__(self) -> 'Live':
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            self._supervisor.start()
            self._recorder.start(self._recorder_command(), self._logs)
            self._observer.__enter__()
        except BaseException:
            self._supervisor.stop()
            self._end_recorder()
            raise
        return self

    def __exit__(self, *error) -> None:
        self._end_recorder()            # first: what it hears while the others end is no part of the recording
        self._supervisor.stop()
        self._observer.__exit__(*error)

    def wait_ready(self) -> None:
        """Wait until all can begin. Raises ConfigError in one line when something cannot."""
        self._supervisor.wait_ready()
        self._sim_pid = self._supervisor.pids.get(SIM)
        self._observer.wait_active(RECORDER, self._alive)

    def pursue(self, index: int, task: StartGoal, watch: Callable[[float], None], name: str = '') -> Pursuit:
        """One goal: photograph it from where it is, go to the start, show it. `watch` gets the distance, 10 Hz.

        name: of the configurator's task; empty for its default.
        """
        observer, alive = self._observer, self._alive
        if not self._supervisor.ready:
            self._supervisor.wait_ready()
        at_goal = {**task.values, 'start_x_m': task.goal[0], 'start_y_m': task.goal[1]}
        observer.place(at_goal, task.seed, alive)
        image = observer.photograph(alive)
        observer.place(task.values, task.seed, alive)
        future = observer.pursue(image, MAX_TIME_S, alive, name)
        first_ns = observer.now_ns + 1      # the newest percept was taken before the goal was known
        holder = AGENT if self.stack.composition else CONFIGURATOR
        pid = self._supervisor.pids.get(holder)

        def ended() -> bool:
            watch(math.dist(observer.pose, task.goal))
            return future.done() or self._supervisor.pids.get(holder) != pid
        patience_s = MAX_TIME_S / self.stack.real_time_factor + SLACK_S
        observer.wait(ended, f'goal {index + 1} got no result', alive, patience_s)
        error, message, elapsed_s = 'ORGAN_LOST', f'{holder} died', (observer.now_ns - first_ns) * 1e-9
        if future.done():
            result = future.result().result
            error, message, elapsed_s = RESULTS[result.error_code], result.message, result.elapsed
        return Pursuit(index, task.values, task.goal, first_ns, observer.now_ns, error, message, elapsed_s,
                       math.dist(observer.pose, task.goal), observer.collisions)

    @property
    def now_ns(self) -> int:
        """Newest stamp of the robot's clock."""
        return self._observer.now_ns

    def tape(self) -> Tape:
        """All that was heard."""
        return self._observer.tape()

    def _alive(self) -> None:
        """Raise ConfigError when going on makes no sense; the supervisor brings dead organs back."""
        if self._supervisor.failure:
            raise ConfigError(self._supervisor.failure)
        if self._supervisor.pids.get(SIM) != self._sim_pid:
            raise ConfigError(f'the simulator died, the demo cannot go on: see {self._logs}/{SIM}.log')
        if not self._recorder.alive:
            code = self._recorder.process.poll() if self._recorder.process else 0
            raise ConfigError(f'the recorder ended ({cause(code)}){self._recorder.reason(self._logs)}')

    def _recorder_command(self) -> list[str]:
        made_with = {'world': self.stack.world, 'seed': self.stack.seed, 'composition': self.stack.composition,
                     'real_time_factor': self.stack.real_time_factor}
        parameters = {
            'robot': self.stack.robot, 'output': str(self._folder / 'bag'), 'topics': self._recorded, 'clock': 'sim',
            'parameters': json.dumps(made_with), 'model_sha256': self._model_sha256}
        args = [f'{key}:={json.dumps(value)}' for key, value in parameters.items()]
        flags = ['use_sim_time:=true', 'autostart:=true']
        return [sys.executable, '-m', 'jepa_ros.robot.recorder_node', '--ros-args',
                *(part for arg in (*flags, *args) for part in ('-p', arg))]

    def _end_recorder(self) -> None:
        if not self._recorder.alive:
            return
        self._recorder.process.send_signal(signal.SIGINT)
        until = time.monotonic() + BAG_CLOSE_S
        try:
            self._recorder.process.wait(until - time.monotonic())
        except subprocess.TimeoutExpired:
            self._recorder.process.kill()
            self._recorder.process.wait()
