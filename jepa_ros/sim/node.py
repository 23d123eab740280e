"""The `sim` node: a simulated robot behind the topics of a real one, and the source of `/clock`.

Simulated time starts at 1 s and never goes back. Sensors are read at multiples of the world's control period. The robot
stops by itself when no command came for 0.25 s, as real bases do. With `real_time_factor` 0 it moves in lockstep: after
each percept it waits for one command. One thread does everything: physics, services and topics never race. What the
topics are is the world's to say (`worlds/base.py`, `ports.py`).
"""
import signal
import sys
import time

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from rcl_interfaces.msg import SetParametersResult
import rclpy
from rclpy.clock import Clock as RosClock
from rclpy.clock import ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from std_msgs.msg import UInt32

from jepa_ros.errors import ConfigError, JepaRosError, WorldError
from jepa_ros.runtime import qos
from jepa_ros.runtime.child import tell_parent
from jepa_ros.runtime.diagnostics import array, ERROR, Health, say, WARN
from jepa_ros.runtime.parameters import Param, Parameters
from jepa_ros.runtime.ros import init
from jepa_ros.sim import messages
from jepa_ros.sim.episode_end import EpisodeEnd
from jepa_ros.sim.one_clock import OneClock
from jepa_ros.sim.pacing import Pacer, substep_ns
from jepa_ros.sim.ports import CommandInput, SensorPorts
from jepa_ros.sim.worlds import make_world
from jepa_ros.sim.worlds.base import Episodic
from jepa_ros.srv import ResetWorld

SECOND_NS = 10**9
START_NS = SECOND_NS                  # 0 means "no clock yet" to every ROS node
COMMAND_TIMEOUT_NS = SECOND_NS // 4
LOCKSTEP_WAIT_S = 0.5                 # wall time; then the robot stands still for a tick
YOUNG_S = 6.0                         # a busy machine may discover another simulator only after the start
REPORT_S = 5.0                        # wall time for which a dropped command stays in the diagnostics

PARAMETERS = (
    Param('world', 'two_rooms', 'name of a file in config/worlds, the path of a YAML file, or gym:<id>',
          read_only=True),
    Param('render', False, 'gym:<id> only: also publish what the environment draws', read_only=True),
    Param('auto_reset', False, 'begin anew, with the next seed, when the world ends an episode by itself'),
    Param('real_time_factor', 1.0, 'simulated seconds per second; 0 is lockstep: one command after each percept',
          low=0.0, high=50.0),
    Param('command_gain', 1.0, 'what actuators make of a command, a fault to be learned: 0.5 half of it, -1.0 its '
          'reverse', low=-2.0, high=2.0),
    Param('seed', 0, 'seed of the first state', low=0, high=2**31 - 1, read_only=True),
    Param('clock_rate_hz', 0, 'clock messages and command changes per simulated second; 0: 50, or what comes next to '
          'it in a world with other steps', low=0, high=1000, read_only=True),
    Param('discovery_wait_s', 0.7, 'wall seconds to look for another simulator before starting', low=0.0, high=10.0,
          read_only=True),
)


class SimNode(Node):
    """A world that moves. Raises ConfigError or WorldError for parameters that cannot be."""

    def __init__(self, **options):
        super().__init__('sim', **options)
        self.params = Parameters(self, PARAMETERS).values()
        self.world = make_world(self.params.world, self.params.seed, **({'render': True} if self.params.render else {}))
        self._tick_ns = round(self.world.control_period_s * SECOND_NS)
        self._seed = self.params.seed
        self.health = Health('sim', lambda level, line: say(self.get_logger(), level, line))
        self._substep_ns = substep_ns(self.world, self.params.clock_rate_hz)
        self._factor, self._auto_reset = self.params.real_time_factor, self.params.auto_reset
        self._gain = self.params.command_gain
        self.stopping = False
        self._one_clock = OneClock(self, lambda: self.stopping)
        self._now_ns = START_NS
        self._command, self._command_ns = None, 0
        self._lockstep_deadline_s = 0.0
        self._dropped, self._dropped_s = 0, 0.0
        self._collisions_sent = None
        self._pacer = Pacer(self._factor or 1.0, START_NS, time.monotonic())

    def run(self, executor: SingleThreadedExecutor) -> None:
        """Simulate until `stopping` is set. Raises WorldError if the domain has a simulator already."""
        self._one_clock.refuse_second(executor, self.params.discovery_wait_s)
        self._began_s = time.monotonic()
        self._open_topics()
        self.get_logger().info(f"world '{self.params.world}', real_time_factor {self._factor:g}")
        self._publish_clock()
        self._publish_percept()
        self.health.set_phase('active')
        self._pacer.restart(self._factor or 1.0, self._now_ns, time.monotonic())
        while not self.stopping:
            if self._factor > 0:
                self._real_time_step(executor)
            else:
                self._lockstep_tick(executor)

    # --- time

    def _real_time_step(self, executor) -> None:
        """Listen until the next substep is due, then move under the newest command."""
        due_s = self._pacer.due_s(self._now_ns + self._substep_ns, time.monotonic())
        left_s = due_s - time.monotonic()
        while True:  # at least once: a machine that is too slow still answers services
            executor.spin_once(timeout_sec=max(left_s, 0.0))
            left_s = due_s - time.monotonic()
            if left_s <= 0:
                break
        self._advance(self._substep_ns)

    def _lockstep_tick(self, executor) -> None:
        """Wait for one command (its absence means zero), then move for one control period."""
        self._command = None
        self._lockstep_deadline_s = time.monotonic() + LOCKSTEP_WAIT_S
        while self._command is None and not self.stopping:
            left_s = self._lockstep_deadline_s - time.monotonic()
            if left_s <= 0:
                break
            executor.spin_once(timeout_sec=left_s)
        self._advance(self._to_tick_ns())

    def _advance(self, duration_ns: int) -> None:
        stale = self._command is None or self._now_ns - self._command_ns >= COMMAND_TIMEOUT_NS
        self.world.step(self.world.idle_command if stale else self._command, duration_ns / SECOND_NS)
        self._now_ns += duration_ns
        self._publish_clock()
        tick, since_ns = divmod(self._now_ns - START_NS, self._tick_ns)
        if since_ns == 0:
            self._publish_percept(tick)

    def _to_tick_ns(self) -> int:
        return self._tick_ns - (self._now_ns - START_NS) % self._tick_ns

    # --- what comes in

    def _on_command(self, command: np.ndarray) -> None:
        if self._gain != 1.0:
            idle = self.world.idle_command      # zeros for speeds; where its joints stand for an arm
            command = idle + self._gain * (command - idle)
        self._command, self._command_ns = command, self._now_ns

    def _on_dropped(self, line: str) -> None:
        self._dropped, self._dropped_s = self._dropped + 1, time.monotonic()
        self.health.report('command', WARN, line)
        self._publish_diagnostics()

    def _on_reset(self, request: ResetWorld.Request, response: ResetWorld.Response) -> ResetWorld.Response:
        """New state now, its percept at the next multiple of the control period: time jumps there, never back."""
        try:
            if len(request.names) != len(request.values):
                raise WorldError(f'reset: {len(request.names)} names but {len(request.values)} values; '
                                 'give as many of both')
            state = self.world.reset(request.seed, dict(zip(request.names, request.values)))
        except WorldError as error:
            response.message = str(error)
            return response
        self._seed = request.seed
        self._begin_anew()
        response.success, response.message = True, f'at {self._now_ns / SECOND_NS:.1f} s'
        response.names, response.values = list(state), list(state.values())
        return response

    def _begin_anew(self) -> None:
        self._command = None
        self._now_ns += self._to_tick_ns()
        self._publish_clock()
        self._publish_percept()
        self._pacer.restart(self._pacer.factor, self._now_ns, time.monotonic())
        self._lockstep_deadline_s = time.monotonic() + LOCKSTEP_WAIT_S

    def _on_parameters(self, parameters) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == 'auto_reset':
                self._auto_reset = parameter.value
            if parameter.name == 'command_gain':
                self._gain = parameter.value
            if parameter.name == 'real_time_factor':
                self._factor = parameter.value
                self._pacer.restart(self._factor or 1.0, self._now_ns, time.monotonic())
                self._lockstep_deadline_s = 0.0
        return SetParametersResult(successful=True)

    # --- what goes out

    def _open_topics(self) -> None:
        self._clock_topic = self.create_publisher(Clock, '/clock', QoSProfile(depth=10))
        self._one_clock.ours = True
        self._sensors = SensorPorts(self, self.world, self._stamp())
        self._command_input = CommandInput(self, self.world.command, self._on_command, self._on_dropped)
        self._end = EpisodeEnd(self, self.world) if isinstance(self.world, Episodic) else None
        self._collisions = self.create_publisher(UInt32, 'sim/collisions', qos.LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', qos.STREAM)
        self.create_service(ResetWorld, 'sim/reset', self._on_reset)
        self.create_timer(1.0, self._supervise, clock=RosClock(clock_type=ClockType.STEADY_TIME))
        self.add_on_set_parameters_callback(self._on_parameters)

    def _stamp(self):
        return messages.time_message(self._now_ns)

    def _publish_clock(self) -> None:
        self._clock_topic.publish(Clock(clock=self._stamp()))

    def _publish_percept(self, tick: int | None = None) -> None:
        """Readings of the sensors that are due at the control period `tick`; None: of all of them."""
        self._sensors.publish(self._stamp(), tick)
        if self.world.collisions != self._collisions_sent:
            self._collisions_sent = self.world.collisions
            self._collisions.publish(UInt32(data=self._collisions_sent))
        if self._end is None:
            return
        how = self._end.publish(self._stamp())
        if how:
            self.get_logger().info(f'episode over: {how}')
            if self._auto_reset:
                self._seed += 1
                self.world.reset(self._seed, {})
                self._begin_anew()

    def _supervise(self) -> None:
        self._check_types()
        if time.monotonic() - self._dropped_s > REPORT_S:
            self.health.clear('command')
        if self.count_publishers('/clock') > 1:
            if time.monotonic() - self._began_s < YOUNG_S:  # the older one stays
                raise self._one_clock.taken()
            self.health.report('clock', ERROR, '/clock has a second publisher: end one simulator or set ROS_DOMAIN_ID')
        else:
            self.health.clear('clock', '/clock has one publisher again')
        self._publish_diagnostics()

    def _check_types(self) -> None:
        topic, needed = self._command_input.topic, self._command_input.type
        types = dict(self.get_topic_names_and_types()).get(topic, [])
        foreign = ', '.join(name for name in types if name != needed)
        if foreign:
            self.health.report('types', ERROR, f'topic {topic} is also present as {foreign}, but sim '
                               f'needs {needed}: remap one of them or correct the robot contract')
        else:
            self.health.clear('types', f'topic {topic} has one type again')

    def _publish_diagnostics(self) -> None:
        figures = {'world': self.params.world, 'real_time_factor': self._factor, 'time_s': self._now_ns / SECOND_NS,
                   'collisions': self.world.collisions, 'commands_dropped': self._dropped,
                   'wall_time_lost_s': round(self._pacer.lost_s, 3)}
        self.health.figures = {name: str(value) for name, value in figures.items()}
        name = self.get_fully_qualified_name().lstrip('/')
        self._diagnostics.publish(array(self._stamp(), self.health.status(name, self.params.world)))


def main(args: list[str] | None = None, parameters: dict[str, str | int | float] | None = None) -> int:
    """Run the simulator until SIGINT or SIGTERM, with `parameters` besides those of the ROS arguments.

    Returns 0, or 2 after one line about what is wrong.
    """
    overrides = [Parameter(name, value=value) for name, value in (parameters or {}).items()]
    try:
        init(args)
    except ConfigError as error:
        return _fail(str(error))
    executor = SingleThreadedExecutor()
    try:
        node = SimNode(parameter_overrides=overrides)
        executor.add_node(node)
        for number in (signal.SIGINT, signal.SIGTERM):  # rclpy's handlers would close the context during a step
            signal.signal(number, lambda *_: setattr(node, 'stopping', True))
        node.run(executor)
        node.destroy_node()
    except JepaRosError as error:
        return _fail(str(error))
    finally:
        executor.shutdown(timeout_sec=1.0)
        rclpy.try_shutdown()
    return 0


def _fail(line: str) -> int:
    print(f'sim: {line}', file=sys.stderr)
    tell_parent(line)
    return 2


if __name__ == '__main__':
    sys.exit(main())
