"""The processes of one recording and what they say: started, watched, ended. Used by `jepa-ros record`."""
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
import json
from pathlib import Path
import signal
import sys
import tempfile
import time

from diagnostic_msgs.msg import DiagnosticStatus
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Joy
from std_srvs.srv import SetBool, Trigger
import yaml

from ..errors import BagError, ConfigError
from ..robot.teleop import KeyStick
from ..runtime.child import cause, Child
from ..runtime.names import GATE
from ..runtime.process import EXIT_REFUSED
from ..runtime.qos import HEARTBEATS, STREAM
from ..runtime.ros import init
from ..runtime.stack import Stack
from ..runtime.supervisor import Supervisor
from .record_plan import EXECUTABLES, KEYS_TOPIC, Plan

END_S = 30.0          # how long the bag may take to be closed
ENDED_S = 5.0         # how long the other processes may take
DISCOVERY_S = 0.7     # how long to look for a gate that is there already
SPIN_S = 0.1


@dataclass(frozen=True)
class Progress:
    """What the nodes said last."""

    episodes: int = 0
    steps: int = 0
    megabytes: float = 0.0
    messages: int = 0
    lost: int = 0
    failed: int = 0             # episodes that failed their audit
    episode: str = ''           # that runs
    waiting: str = 'starting'   # what for; empty once all is there
    recording_since_s: float = 0.0  # wall time (monotonic) of the recorder's first word; 0 before


class Session:
    """Runs a Plan. Create, `run`, and it is over. `lines` are what the user is to be told meanwhile."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.progress = Progress()
        self.lines: deque[str] = deque()
        self.stick = KeyStick()
        self._stop = False
        self._children: dict[str, Child] = {}
        self._supervisor: Supervisor | None = None    # runs the agent, where one drives

    def stop(self) -> None:
        """Ask for an early end; what is recorded is kept. May be called from a signal handler."""
        self._stop = True

    def press(self, key: str) -> None:
        """A key of the terminal: s begins an episode, e and f end it (success, failure), q ends the recording."""
        if key == 'q':
            self.stop()
        elif key == 's':
            self._ask(self._start_episode, Trigger.Request(), 'begun')
        elif key in ('e', 'f'):
            self._ask(self._stop_episode, SetBool.Request(data=key == 'e'), 'success' if key == 'e' else 'failure')
        elif self.plan.driver == 'teleop':
            self.stick.press(key)

    def run(self, tell: Callable[[Progress], None]) -> None:
        """Record until all is done or `stop`; `tell` is called ten times a second.

        `BagError` or `ConfigError` with the line of the process that failed.
        """
        with tempfile.TemporaryDirectory(prefix='jepa_ros_record_') as folder, ExitStack() as stack:
            self._logs = Path(folder)
            context = Context()
            init(context=context)
            stack.callback(context.try_shutdown)
            stack.callback(self._connect(context).shutdown)
            if self.plan.driver in ('random', 'teleop', 'curiosity') and not self.plan.lockstep:
                self._refuse_second_gate()
            done = False
            try:
                self._start()
                while not self._stop and not done:
                    self._executor.spin_once(timeout_sec=SPIN_S)
                    self._publish_keys()
                    tell(self.progress)
                    done = self._look()
            finally:
                self._end_all()
            if done:  # the driver has done them all, whatever the last heartbeat said
                self.progress = replace(self.progress, episodes=self.plan.episodes)
                tell(self.progress)
            for child in self._children.values():
                code = child.process.returncode
                # Ended early, a process may still have been starting: only its own refusal counts then.
                writes = child.name in ('recorder', 'nodes') and self.progress.recording_since_s
                if code == EXIT_REFUSED or writes and code != 0:
                    raise BagError(self._reason(child))

    # ---- processes

    def _start(self) -> None:
        plan, parameters = self.plan, self._logs / 'parameters.yaml'
        parameters.write_text(yaml.safe_dump(plan.parameters()))
        if plan.driver == 'policy':
            self._start_agent()
        args = ['--ros-args', '--params-file', str(parameters)]
        if plan.namespace:
            args += ['-r', f'__ns:={plan.namespace}']
        for name in plan.processes:
            child = self._children[name] = Child(name)
            child.start([sys.executable, '-m', EXECUTABLES[name], *args], self._logs)

    def _start_agent(self) -> None:
        plan = self.plan
        stack = Stack(robot=plan.robot, model=plan.model, world=plan.world, namespace=plan.namespace, seed=plan.seed,
                      use_sim_time=plan.sim_time)
        self._supervisor = Supervisor(stack, self.lines.append, self._logs)
        self._supervisor.start()

    def _refuse_second_gate(self) -> None:
        until_s = time.monotonic() + DISCOVERY_S
        while time.monotonic() < until_s:
            self._executor.spin_once(timeout_sec=0.05)
            own = self.plan.namespace or '/'
            if (GATE, own) in self._node.get_node_names_and_namespaces():
                raise ConfigError('a command gate already runs here: end that agent, or record what it does with '
                                  '--driver none')

    def _look(self) -> bool:
        """True when the last episode is done. `ConfigError` or `BagError` when a process has failed."""
        if self._supervisor is not None and self._supervisor.failure:
            raise ConfigError(self._supervisor.failure)
        leader = self._children[self.plan.leader]
        if not leader.alive and leader.process.returncode == 0:
            return True
        for child in self._children.values():
            if not child.alive:
                raise BagError(self._reason(child))
        return False

    def _end_all(self) -> None:
        """First who drives, so that the episode's end is recorded; then the recorder; then what commands the robot."""
        names = [name for name in self._children if name not in ('recorder', 'nodes', GATE, 'perception', 'sim')]
        for name in (*names, 'nodes', 'recorder', GATE, 'perception', 'sim'):
            if name in self._children:
                _end(self._children[name], END_S if name in ('nodes', 'recorder') else ENDED_S)
        if self._supervisor is not None:
            self._supervisor.stop()

    def _reason(self, child: Child) -> str:
        """Last thing a child complained of, or how it ended."""
        lines = (self._logs / f'{child.name}.log').read_text(errors='replace').splitlines()
        for line in reversed(lines):
            for prefix in ('jepa_ros: ', 'sim: '):
                if line.startswith(prefix):
                    return line.removeprefix(prefix)
            if line.startswith(('[ERROR]', '[FATAL]')):
                return line.split(']: ', 1)[-1]
        return f'{child.name} ended with {cause(child.process.returncode)}' + (f': {lines[-1]}' if lines else '')

    # ---- topics

    def _connect(self, context: Context) -> SingleThreadedExecutor:
        node = self._node = rclpy.create_node('record', context=context, namespace=self.plan.namespace or None)
        node.create_subscription(DiagnosticStatus, 'heartbeat', self._on_heartbeat, HEARTBEATS)
        self._keys = node.create_publisher(Joy, KEYS_TOPIC, STREAM)
        self._start_episode = node.create_client(Trigger, 'record/start_episode')
        self._stop_episode = node.create_client(SetBool, 'record/stop_episode')
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(node)
        return self._executor

    def _publish_keys(self) -> None:
        """Again and again: a terminal that is gone lets the robot rest."""
        if self.plan.driver == 'teleop' and not self.plan.joy:
            self._keys.publish(Joy(axes=self.stick.axes))

    def _ask(self, client, request, what: str) -> None:
        if not client.service_is_ready():
            self.lines.append('the recorder is not there yet')
            return

        def answered(future) -> None:
            answer = future.result()
            self.lines.append(f'episode {answer.message}: {what}' if answer.success else answer.message)
        client.call_async(request).add_done_callback(answered)

    def _on_heartbeat(self, message: DiagnosticStatus) -> None:
        said = {pair.key: pair.value for pair in message.values}
        if message.name in ('driver', 'goal_driver') and 'steps' in said:
            waiting = message.message if message.message.startswith('waiting') else ''
            self.progress = replace(self.progress, episodes=int(said['episode'].split('/')[0]),
                                    steps=int(said['steps']), waiting=waiting)
        elif message.name == 'recorder' and 'messages' in said:
            since_s = self.progress.recording_since_s or time.monotonic()
            failed = int(said['failed'])
            if failed > self.progress.failed:
                self.lines.append(said['audit'])
            self.progress = replace(self.progress, recording_since_s=since_s, megabytes=float(said['megabytes']),
                                    lost=int(said['lost']), failed=failed, episode=said['episode'],
                                    messages=sum(json.loads(said['messages']).values()))
            if self.plan.driver == 'none':
                self.progress = replace(self.progress, waiting=message.message if said['ready'] == 'false' else '')


def _end(child: Child, patience_s: float) -> None:
    if not child.alive:
        return
    child.process.send_signal(signal.SIGINT)
    deadline_s = time.monotonic() + patience_s
    while child.alive and time.monotonic() < deadline_s:
        time.sleep(0.02)
    if child.alive:
        child.process.kill()
        child.process.wait()
