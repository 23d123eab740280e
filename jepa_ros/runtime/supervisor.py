"""Starts the agent's processes, keeps them alive and ends them: what `launch` does where ROS 2 is installed.

One thread starts all children, listens to their heartbeats and starts a dead one again. It must be one thread that
lives as long as they do: the kernel ends the children when it ends (also when it is killed).
"""
from collections import Counter
from collections.abc import Callable
from pathlib import Path
import signal
import subprocess
import threading
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import rclpy
from rclpy.context import Context

from ..errors import ConfigError
from ..robot.liveness import DEAD
from .child import cause, Child
from .diagnostics import array, DIAGNOSTICS_PERIOD_S, ERROR, Health, heartbeat_phase
from .names import AGENT, GATE, ORGANS, SIM
from .process import EXIT_REFUSED
from .qos import HEARTBEATS, STREAM
from .ros import init
from .stack import Stack

LOOK_PERIOD_S = 0.02        # how soon a death is noticed
DISCOVERY_S = 1.0           # how long to look for another agent: discovery on one machine takes 0.2–0.5 s
HEARTBEAT_TIMEOUT_S = 0.5   # as the configurator
END_S = 5.0                 # how long SIGTERM has before SIGKILL


class Supervisor:
    """Runs a Stack. As a context manager it starts on entry and stops on exit.

    `say` gets one line per event. With `log_dir` the output of each process goes to `<log_dir>/<name>.log`.
    """

    def __init__(self, stack: Stack, say: Callable[[str], None] = print, log_dir: Path | None = None):
        self.stack = stack
        self.failure = ''  # why the stack cannot run; the supervisor has ended then
        self._say = say
        self._log_dir = log_dir
        self._children = {name: Child(name) for name in stack.processes}
        self._news = threading.Condition()
        self._ending = threading.Event()
        self._checked = threading.Event()  # the stack can work
        self._seen: dict[str, tuple[float, str]] = {}  # heartbeat name -> wall time, lifecycle state
        self._told_s = 0.0                # wall time of the newest message on /diagnostics
        self._thread: threading.Thread | None = None
        self._ready_s: dict[str, float] = {}
        self._clock_there = False
        self._settled = False  # all were active once, or one died: its dead node stays in the graph for a while

    def __enter__(self) -> 'Supervisor':
        self.start()
        return self

    def __exit__(self, *_error) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the running processes by name."""
        return {name: child.process.pid for name, child in self._children.items() if child.alive}

    @property
    def ready(self) -> bool:
        """True while all processes are active."""
        return not self._missing()

    def start(self) -> None:
        """Check and start. Raises a JepaRosError when the stack cannot work or the domain is taken."""
        self._started_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name='supervisor', daemon=True)
        self._thread.start()
        try:
            self.stack.check()  # while the thread looks for other agents
        except BaseException:
            self.stop()
            raise
        self._checked.set()
        with self._news:
            self._news.wait_for(lambda: self.failure or self.pids)
        self._raise_failure()

    def wait_ready(self, timeout_s: float = 60.0) -> dict[str, float]:
        """Wait until all are active; returns the seconds since the start at which each became so.

        Raises ConfigError naming those that are not, or what refused to start.
        """
        with self._news:
            self._news.wait_for(lambda: self.failure or not self._missing(), timeout_s)
        self._raise_failure()
        if self._missing():
            raise ConfigError(f'{", ".join(self._missing())} not active after {timeout_s:g} s')
        return dict(self._ready_s)

    def wait(self, until: Callable[[], bool]) -> None:
        """Block until `until()` or a failure, which is raised as ConfigError."""
        while not until() and not self.failure:
            with self._news:
                self._news.wait(0.1)
        self._raise_failure()

    def stop(self) -> None:
        """End all processes, in order if they can; returns when none is left."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _raise_failure(self) -> None:
        if self.failure:
            self.stop()
            raise ConfigError(self.failure)

    # ---- the supervisor's thread ---------------------------------------------------------------------------------
    def _run(self) -> None:
        context = Context()
        try:
            init(context=context)
            node = rclpy.create_node('supervisor', context=context, namespace=self.stack.namespace or None,
                                     start_parameter_services=False)
        except ConfigError as error:
            self._fail(str(error))
            return
        try:
            self._refuse_taken_domain(node)
            self._health = Health('supervisor', lambda level, line: None)
            self._health.set_phase('active')
            self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', STREAM)
            self._obituary = node.create_publisher(DiagnosticStatus, 'heartbeat', HEARTBEATS)
            # polled, not spun: that takes all that waits at once, and costs less
            heartbeats = node.create_subscription(DiagnosticStatus, 'heartbeat', lambda message: None, HEARTBEATS)
            while not self._ending.is_set() and not self.failure:
                for child in self._children.values():
                    self._tend(child)
                while (taken := heartbeats.handle.take_message(DiagnosticStatus, False)) is not None:
                    self._seen[taken[0].name] = (time.monotonic(), heartbeat_phase(taken[0]))
                self._look(node)
                if not self._settled:  # a busy machine discovers late; who is active already stays
                    self._refuse_others(node, most=1)
                if time.monotonic() - self._told_s >= DIAGNOSTICS_PERIOD_S:
                    self._publish_health()
                self._ending.wait(LOOK_PERIOD_S)
        except ConfigError as error:
            self._fail(str(error))
        finally:
            self._end_children()
            node.destroy_node()
            context.try_shutdown()

    def _refuse_taken_domain(self, node) -> None:
        until = time.monotonic() + DISCOVERY_S
        while (time.monotonic() < until or not self._checked.is_set()) and not self._ending.is_set():
            self._refuse_others(node, most=0)
            time.sleep(0.05)

    def _refuse_others(self, node, most: int) -> None:
        """ConfigError when more than `most` nodes of one of the agent's names, or publishers of /clock, are there."""
        namespace = node.get_namespace()
        where = f'domain {node.context.get_domain_id()}' + (f', namespace {namespace}' if namespace != '/' else '')
        names = Counter(name for name, space in node.get_node_names_and_namespaces() if space == namespace)
        others = sorted(name for name in (*ORGANS, GATE) if names[name] > most)
        if others:
            raise ConfigError(f'an agent already runs in {where} ({", ".join(others)}): end it, or choose another '
                              'ROS_DOMAIN_ID or namespace')
        if self.stack.world and node.count_publishers('/clock') > most:
            raise ConfigError(f'a simulator already publishes /clock in {where}: end it, or choose another '
                              'ROS_DOMAIN_ID')

    def _tend(self, child: Child) -> None:
        """Start a child whose time has come; notice one that died."""
        if child.process is None:
            if time.monotonic() >= child.start_at_s:
                child.start(self.stack.command(child.name), self._log_dir)
                with self._news:
                    self._news.notify_all()
            return
        code = child.process.poll()
        if code is None:
            return
        names = self._heartbeats_of(child.name)
        for name in names:
            self._seen.pop(name, None)
        if code == EXIT_REFUSED:
            self._fail(f'{child.name} refused to start{child.reason(self._log_dir)}')
            return
        self._settled = True
        pause_s = child.died()
        self._tell_dead(names, f'{cause(code)}; it is started again in {pause_s:g} s')
        line = f'{child.name} died ({cause(code)}); it is started again in {pause_s:g} s'
        self._health.report(child.name, ERROR, line)
        self._publish_health()
        self._say(line)

    def _tell_dead(self, names: tuple[str, ...], why: str) -> None:
        """Say so in their place: the gate stops the robot at once, not after a time of silence."""
        for name in names:
            self._obituary.publish(DiagnosticStatus(
                level=ERROR, name=name, message=why, values=[KeyValue(key='state', value=DEAD)]))

    def _look(self, node) -> None:
        """Note who has become ready, and tell those who wait."""
        now = time.monotonic()
        if SIM in self._children and SIM not in self._ready_s:
            self._clock_there = node.count_publishers('/clock') > 0
        for name in self._children:
            if name not in self._ready_s and self._is_active(name):
                self._ready_s[name] = now - self._started_s
            if self._health.has(name) and self._children[name].alive and self._is_active(name):
                self._health.clear(name)
                self._publish_health()
                self._say(f'{name} is back')
        self._settled = self._settled or not self._missing()
        with self._news:
            self._news.notify_all()

    def _heartbeats_of(self, process: str) -> tuple[str, ...]:
        return ORGANS if process == AGENT else () if process == SIM else (process,)

    def _is_active(self, process: str) -> bool:
        if process == SIM:
            return self._clock_there and self._children[SIM].alive
        now = time.monotonic()
        beats = [self._seen.get(name, (-1e9, '')) for name in self._heartbeats_of(process)]
        return all(phase == 'active' and now - wall < HEARTBEAT_TIMEOUT_S for wall, phase in beats)

    def _missing(self) -> list[str]:
        return [name for name in self._children if not self._is_active(name)]

    def _publish_health(self) -> None:
        self._told_s = time.monotonic()
        stamp = rclpy.clock.Clock().now().to_msg()
        self._diagnostics.publish(array(stamp, self._health.status('supervisor', self.stack.robot)))

    def _fail(self, line: str) -> None:
        with self._news:
            self.failure = line
            self._news.notify_all()

    def _end_children(self) -> None:
        # Not SIGINT: a Python that is still importing would answer it with a traceback. The nodes end in order on both.
        for number in (signal.SIGTERM, signal.SIGKILL):
            living = [child for child in self._children.values() if child.alive]
            for child in living:
                child.process.send_signal(number)
            until = time.monotonic() + END_S
            for child in living:
                try:
                    child.process.wait(max(0.0, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    continue
