"""The processes of one recording and what they say: started, watched, ended. Used by `jepa-ros record`.

With a world: simulator in lockstep, and gate, driver and recorder in one process. Without: the recorder alone.
"""
from collections.abc import Callable
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
import yaml

from ..errors import BagError, ConfigError
from ..runtime.child import cause, Child
from ..runtime.process import EXIT_REFUSED
from ..runtime.qos import HEARTBEATS
from ..runtime.ros import init

END_S = 30.0          # how long the bag may take to be closed
ENDED_S = 5.0         # how long a simulator may take
LOCKSTEP_GATE = {'required_organs': 'driver', 'repeat_rate_hz': 0.0, 'use_sim_time': True, 'organ_timeout_s': 5.0,
                 'action_timeout_s': 0.0, 'silence_timeout_s': 0.0, 'sensor_timeout_s': 60.0}


@dataclass(frozen=True)
class Plan:
    """What to record. `world` is empty for a live robot."""

    robot: str
    output: Path
    world: str = ''
    episodes: int = 1
    steps: int = 100
    seed: int = 0
    first_episode: int = 0
    namespace: str = ''         # full, as /robot_1
    topics: str = ''
    use_sim_time: bool = False

    def parameters(self) -> dict:
        """Parameters of all nodes of this recording, as a ROS parameter file has them."""
        clock = 'lockstep' if self.world else 'sim' if self.use_sim_time else 'system'
        made_with = json.dumps({'world': self.world, 'seed': self.seed, 'episodes': self.episodes, 'steps': self.steps,
                                'first_episode': self.first_episode, 'robot': self.robot})
        recorder = {'output': str(self.output), 'clock': clock, 'parameters': made_with}
        if self.topics:
            recorder['topics'] = self.topics
        # In lockstep an unanswered percept means standing still, so the gate needs no timeouts on time that jumps.
        driver = {'episodes': self.episodes, 'steps': self.steps, 'seed': self.seed, 'lockstep': True,
                  'first_episode': self.first_episode, 'wait_for': 'command_gate,recorder'}
        nodes: dict[str, dict] = {'recorder': recorder, 'driver': driver, 'command_gate': LOCKSTEP_GATE}
        nodes = {f'/**/{name}': {'autostart': True, 'robot': self.robot, **own} for name, own in nodes.items()}
        nodes['/**/sim'] = {'world': self.world or 'two_rooms', 'real_time_factor': 0.0, 'seed': self.seed,
                            'clock_rate_hz': 10}
        return {name: {'ros__parameters': own} for name, own in nodes.items()}


@dataclass(frozen=True)
class Progress:
    """What the nodes said last."""

    episodes: int = 0
    steps: int = 0
    megabytes: float = 0.0
    messages: int = 0
    lost: int = 0
    waiting: str = 'starting'   # what for; empty once all is there
    recording_since_s: float = 0.0  # wall time (monotonic) of the recorder's first word; 0 before


class Session:
    """Runs a Plan. Create, `run`, and it is over."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.progress = Progress()
        self._stop = False
        self._executor: SingleThreadedExecutor | None = None

    def stop(self) -> None:
        """Ask for an early end; what is recorded is kept. May be called from a signal handler."""
        self._stop = True

    def run(self, tell: Callable[[Progress], None]) -> None:
        """Record until all is done or `stop`; `tell` is called ten times a second.

        `BagError` or `ConfigError` with the line of the process that failed.
        """
        with tempfile.TemporaryDirectory(prefix='jepa_ros_record_') as folder:
            self._logs = Path(folder)
            parameters = self._logs / 'parameters.yaml'
            parameters.write_text(yaml.safe_dump(self.plan.parameters()))
            self._start(parameters)
            context = Context()
            try:
                self._listen(context)
                while not self._stop and self._recorder.alive:
                    self._executor.spin_once(timeout_sec=0.1)
                    tell(self.progress)
                    if self._sim is not None and not self._sim.alive and self._recorder.alive:
                        raise ConfigError(self._reason(self._sim))
            finally:
                early = self._recorder.alive
                self._end(self._recorder, END_S)
                if self._sim is not None:
                    self._end(self._sim, ENDED_S)
                if self._executor is not None:
                    self._executor.shutdown()
                context.try_shutdown()
            code = self._recorder.process.returncode
            if code == 0 and not early:  # the driver has done them all, whatever the last heartbeat said
                self.progress = replace(self.progress, episodes=self.plan.episodes)
                tell(self.progress)
            # Ended early, a process may still have been starting: only its own refusal counts then.
            if code == EXIT_REFUSED or code != 0 and not early:
                raise BagError(self._reason(self._recorder))

    def _start(self, parameters: Path) -> None:
        plan = self.plan
        args = ['--ros-args', '--params-file', str(parameters)]
        if plan.namespace:
            args += ['-r', f'__ns:={plan.namespace}']
        self._sim = Child('sim') if plan.world else None
        if self._sim is not None:
            self._sim.start([sys.executable, '-m', 'jepa_ros.sim.node', *args], self._logs)
        module = 'jepa_ros.cli.record_nodes' if plan.world else 'jepa_ros.robot.recorder_node'
        self._recorder = Child('recorder')
        self._recorder.start([sys.executable, '-m', module, *args], self._logs)

    def _listen(self, context: Context) -> None:
        init(context=context)
        node = rclpy.create_node('record', context=context, namespace=self.plan.namespace or None)
        node.create_subscription(DiagnosticStatus, 'heartbeat', self._on_heartbeat, HEARTBEATS)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(node)

    def _on_heartbeat(self, message: DiagnosticStatus) -> None:
        said = {pair.key: pair.value for pair in message.values}
        if message.name == 'driver' and 'steps' in said:
            waiting = message.message if message.message.startswith('waiting') else ''
            self.progress = replace(self.progress, episodes=int(said['episode'].split('/')[0]),
                                    steps=int(said['steps']), waiting=waiting)
        elif message.name == 'recorder' and 'messages' in said:
            since_s = self.progress.recording_since_s or time.monotonic()
            self.progress = replace(self.progress, recording_since_s=since_s, megabytes=float(said['megabytes']),
                                    lost=int(said['lost']),
                                    messages=sum(json.loads(said['messages']).values()))
            if not self.plan.world:
                self.progress = replace(self.progress, waiting=message.message if said['ready'] == 'false' else '')

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

    @staticmethod
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
