"""The `replay` node: publishes a bag's messages as they were recorded, byte for byte, and is the source of `/clock`.

(DDS itself may fill a message up to a multiple of four bytes on its way.)
`/clock` is the log time of the bag. Services `replay/pause`, `replay/resume` and `replay/step`. In further passes of a
loop all stamps are moved on by the length of a pass, so that the clock never goes back. With rate 0 nothing waits for
time: DDS does not slow a publisher down for a subscriber, so those that cannot follow lose messages unless `wait_for`
names the topic on which they answer each control tick. One thread does everything.
"""
from collections.abc import Callable, Mapping
from pathlib import Path
import signal
import sys
import time

from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy.clock import Clock as RosClock
from rclpy.clock import ClockType
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from jepa_ros.errors import BagError, ConfigError, ContractError, JepaRosError
from jepa_ros.runtime import qos
from jepa_ros.runtime.child import tell_parent
from jepa_ros.runtime.diagnostics import array, ERROR, Health, say, WARN
from jepa_ros.runtime.messages import time_message
from jepa_ros.runtime.parameters import Param, Parameters
from jepa_ros.runtime.process import EXIT_REFUSED
from jepa_ros.runtime.ros import init

from .bag_open import open_bag, OpenBag
from .contract import RobotContract
from .replay import Item, items, newest, Status, Transport, window
from .replay_company import Answers, CommandGuard, refuse_company
from .replay_topics import CLOCK, pace_topic, Route, routes
from .restamp import shifted
from .ros_types import message_class

DRAIN_S = 1.0                   # at the end, for reliable subscribers to have it all
CONNECT_WAIT_S = (0.3, 2.0)     # at least and at most, for those who already listen to be connected
GRAPH_POLL_S = 0.02
SERVE_S = 0.01                  # services are answered at least this often
STALL_S = 0.002
TELL_S = 0.1

PARAMETERS = (
    Param('bag', '', 'folder of the recording, or a single .mcap or .db3 file', read_only=True),
    Param('robot', '', 'robot contract: a name or a YAML file; empty takes the one inside the bag, if there is one',
          read_only=True),
    Param('rate', 1.0, 'recorded seconds per second; 0 does not wait for time',
          low=0.0, high=1000.0, read_only=True),
    Param('start', 0.0, 'seconds after the first message at which to begin', low=0.0, high=1e9, read_only=True),
    Param('duration', 0.0, 'seconds of the recording to play; 0 is to its end', low=0.0, high=1e9, read_only=True),
    Param('loop', False, 'begin again at the end, with stamps and clock that go on', read_only=True),
    Param('paused', False, 'wait for replay/resume or replay/step before the first message', read_only=True),
    Param('topics', '', "topics to replay, separated by commas ('camera/*' works); empty is all but what the agent "
          'and its nodes say of themselves', read_only=True),
    Param('with_commands', False, 'publish recorded commands on their own topics instead of recorded/<topic>: a robot '
          'would obey them', read_only=True),
    Param('wait_for', '', 'topic on which a message must come after each control tick before the next one is sent, as '
          'state or action of an agent; empty is none', read_only=True),
    Param('clock_rate_hz', 100, 'clock messages per second; each control tick has one besides', low=1, high=1000,
          read_only=True),
    Param('discovery_wait_s', 1.0, 'seconds to find who listens, and who else publishes the same, before starting',
          low=0.0, high=10.0, read_only=True),
)


class ReplayNode(Node):
    """Plays one bag. `ready(item)` may hold back the next message: playback time stands still meanwhile."""

    def __init__(self, **options):
        super().__init__('replay', **options)
        self.params = Parameters(self, PARAMETERS).values()
        if not self.params.bag:
            raise ConfigError('parameter bag is empty: give the folder of a recording')
        self.stopping = False
        self.ready: Callable[[Item], bool] = lambda item: True
        self.on_sent: Callable[[Item, int], None] = lambda item, wall_ns: None    # wall time in ns, before sending
        self.tell: Callable[[Status], None] = lambda status: None
        self.health = Health('replay', lambda level, line: say(self.get_logger(), level, line))
        self._next: Item | None = None
        self._published = 0
        self._clock_ns, self._next_clock_s, self._next_serve_s, self._next_tell_s = -1, 0.0, 0.0, 0.0

    def run(self, executor: SingleThreadedExecutor) -> None:
        """Play until the end or until `stopping` is set. Raises BagError, ConfigError or ContractError."""
        self._executor = executor
        with open_bag(Path(self.params.bag)) as bag:
            self._part = window(bag.path, bag.log_span_ns, self.params.start, self.params.duration)
            self._transport = Transport(self.params.rate, self._part.start_ns, self.params.paused)
            contract = RobotContract.load(self.params.robot) if self.params.robot else bag.contract
            self._period_ns = round((contract.control_period_s if contract else 0.1) * 1e9)
            chosen = self._installed(self._routes(bag, contract))
            refuse_company(self, [route for route, _ in chosen], self.params.with_commands, self._spin_until,
                           self.params.discovery_wait_s)
            self._open_topics(chosen)
            if self.params.wait_for:
                answers = Answers(self, self.params.wait_for, qos.SENSOR, self._spin_until)
                self.ready, self.on_sent = answers.ready, answers.sent
            self.health.set_phase('active')
            self._send_latched(bag, chosen)
            self._play(bag, pace_topic(bag, contract, [route for route, _ in chosen]))
            self._drain()

    # ---- control --------------------------------------------------------------------------------------------------
    @property
    def status(self) -> Status:
        """Where the replay is."""
        position_ns = self._transport.position_ns(time.monotonic(), self._next)
        shift_ns = self._next.shift_ns if self._next else 0
        length_ns = self._part.stop_ns - self._part.start_ns
        inside_s = min(max(position_ns - shift_ns - self._part.start_ns, 0), length_ns) * 1e-9
        return Status(inside_s, length_ns * 1e-9, self._next.passes if self._next else 1, self._published,
                      self._transport.rate, self._transport.paused, self._transport.lost_s)

    def pause(self) -> None:
        """Stop where it is."""
        self._transport.pause(time.monotonic(), self._next)

    def resume(self) -> None:
        """Go on."""
        self._transport.resume(time.monotonic())

    def step(self) -> None:
        """Play one control tick and stay paused."""
        self._transport.step(time.monotonic(), self._next)

    def _serve(self, name: str, act: Callable[[], None]) -> None:
        def answer(_request, response: Trigger.Response) -> Trigger.Response:
            act()
            status = self.status
            response.success = True
            response.message = f'{"paused" if status.paused else "playing"} at {status.position_s:.3f} s'
            return response
        self.create_service(Trigger, f'replay/{name}', answer)

    # ---- before the start -----------------------------------------------------------------------------------------
    def _routes(self, bag: OpenBag, contract: RobotContract | None) -> list[Route]:
        namespace = self.get_namespace().rstrip('/')
        patterns = [p.strip() for p in self.params.topics.split(',') if p.strip()]
        chosen = routes(bag, contract, patterns, namespace, self.params.with_commands)
        if not any(route.count for route in chosen):
            raise BagError(f'{bag.path}: there is nothing to replay on {", ".join(r.topic for r in chosen) or "it"}: '
                           "choose with topics ('*' is all)")
        return chosen

    def _installed(self, chosen: list[Route]) -> list[tuple[Route, type]]:
        """Routes whose message type can be published; the others are named in one line."""
        known, missing = [], []
        for route in chosen:
            try:
                kind = message_class(route.type, route.topic) if route.known else None
            except ContractError:
                kind = None
            if kind is None:
                missing.append(f'{route.topic} ({route.type})')
            else:
                known.append((route, kind))
        if missing:
            line = f'not replayed, their types are not installed as they were recorded: {", ".join(missing)}'
            if not known:
                raise BagError(f'{self.params.bag}: {line}')
            self.get_logger().warning(line)
        return known

    def _spin_until(self, done: Callable[[], object], timeout_s: float) -> None:
        end_s = time.monotonic() + timeout_s
        while not self.stopping and time.monotonic() < end_s and not done():
            self._executor.spin_once(timeout_sec=GRAPH_POLL_S)

    def _open_topics(self, chosen: list[tuple[Route, type]]) -> None:
        self._outlets = {route.topic: (route, self.create_publisher(kind, route.name, _profile(route)))
                         for route, kind in chosen}
        self._clock = self.create_publisher(Clock, CLOCK, QoSProfile(depth=10))
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', qos.STREAM)
        self._guard = CommandGuard(self, self._on_robot)
        for name, act in (('pause', self.pause), ('resume', self.resume), ('step', self.step)):
            self._serve(name, act)
        self.create_timer(1.0, self._supervise, clock=RosClock(clock_type=ClockType.STEADY_TIME))
        publishers = [self._clock, *(publisher for _, publisher in self._outlets.values())]
        self._spin_until(lambda: False, CONNECT_WAIT_S[0])
        self._spin_until(lambda: all(p.get_subscription_count() >= self.count_subscribers(p.topic_name)
                                     for p in publishers), CONNECT_WAIT_S[1] - CONNECT_WAIT_S[0])
        routes_line = ', '.join(f'{r.topic} as {r.name}' if r.name != r.topic else r.topic for r, _ in chosen)
        self.get_logger().info(f'{self.params.bag}: {self._part.length_s:.1f} s of {routes_line}')

    # ---- playing --------------------------------------------------------------------------------------------------
    def _send_latched(self, bag: OpenBag, chosen: list[tuple[Route, type]]) -> None:
        """What was set before the start and still holds."""
        depths = {route.topic: route.depth for route, _ in chosen if route.latched and not route.command}
        if self._part.start_ns > bag.log_span_ns[0]:
            for topic, raw in newest(bag.raw_messages(depths, None, self._part.start_ns), depths):
                self._outlets[topic][1].publish(raw)

    def _play(self, bag: OpenBag, pace: str | None) -> None:
        self._transport.begin(time.monotonic())
        topics = set(self._outlets)
        try:
            for item in items(lambda start, stop: bag.raw_messages(topics, start, stop), self._part,
                              self.params.loop, pace, self._period_ns):
                self._next = item
                if not self._wait_for(item):
                    return
                self._publish(item)
        except BagError as error:
            raise BagError(f'{bag.path}: {error}' if str(bag.path) not in str(error) else str(error)) from error

    def _wait_for(self, item: Item) -> bool:
        """Serve, and tell the time, until the item is due; False when stopped."""
        while not self.stopping:
            now_s = time.monotonic()
            wait_s = self._transport.wait_s(item, now_s)
            if wait_s <= 0 and not (self.ready(item) and self._is_clear(item)):
                self._transport.stall(item, now_s)
                wait_s = STALL_S
            if now_s >= self._next_tell_s:
                self._next_tell_s = now_s + TELL_S
                self.tell(self.status)
            if now_s >= self._next_clock_s:
                self._next_clock_s = max(self._next_clock_s + 1 / self.params.clock_rate_hz, now_s)
                self._tell_time(self._transport.position_ns(now_s, item))
            if wait_s > 0 or now_s >= self._next_serve_s:
                self._next_serve_s = now_s + SERVE_S
                self._executor.spin_once(timeout_sec=max(min(wait_s, self._next_clock_s - now_s), 0.0))
            if wait_s <= 0:
                return not self.stopping
        return False

    def _is_clear(self, item: Item) -> bool:
        route = self._outlets[item.topic][0]
        return not (route.command and self.params.with_commands and self._guard.undecided(route.name))

    def _publish(self, item: Item) -> None:
        route, publisher = self._outlets[item.topic]
        if item.tick or item.play_ns - self._clock_ns >= 1e9 / self.params.clock_rate_hz:
            self._tell_time(item.play_ns)
        wall_ns = time.time_ns()
        if not (route.command and self.params.with_commands and self._guard.held(route.name)):
            publisher.publish(shifted(bytes(item.raw), route.type, item.shift_ns))
            self._published += 1
        self._transport.sent(item)
        self.on_sent(item, wall_ns)

    def _on_robot(self, topic: str, names: str) -> None:
        if names:
            self.health.report(f'robot {topic}', ERROR, f'{names} began to listen on {topic} and may be a robot: '
                               'recorded commands are held back')
        else:
            self.health.clear(f'robot {topic}', f'{topic}: recorded commands are sent again')

    def _tell_time(self, ns: int) -> None:
        self._clock_ns = max(ns, self._clock_ns)
        self._clock.publish(Clock(clock=time_message(self._clock_ns)))

    def _drain(self) -> None:
        """Let what was sent arrive: it is lost with its publisher."""
        until_s = time.monotonic() + DRAIN_S
        for publisher in (self._clock, *(publisher for _, publisher in self._outlets.values())):
            publisher.wait_for_all_acked(Duration(seconds=max(until_s - time.monotonic(), 0.0)))
        self.tell(self.status)
        self.get_logger().info(f'{self._published} messages replayed')

    def _supervise(self) -> None:
        if self.count_publishers(CLOCK) > 1:
            self.health.report('clock', ERROR, '/clock has a second publisher: end one of them or set ROS_DOMAIN_ID')
        else:
            self.health.clear('clock', '/clock has one publisher again')
        status = self.status
        if status.lost_s > 0:
            self.health.report('late', WARN, 'this machine is too slow for the rate: playback falls behind')
        self.health.figures = {
            'bag': self.params.bag, 'position_s': f'{status.position_s:.3f}', 'length_s': f'{status.length_s:.3f}',
            'passes': str(status.passes), 'rate': f'{status.rate:g}', 'paused': str(status.paused).lower(),
            'messages': str(status.messages), 'lost_s': f'{status.lost_s:.3f}'}
        name = self.get_fully_qualified_name().lstrip('/')
        self._diagnostics.publish(array(time_message(max(self._clock_ns, 0)), self.health.status(name, '')))


def _profile(route: Route) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=route.depth,
        reliability=ReliabilityPolicy.RELIABLE if route.reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if route.latched else DurabilityPolicy.VOLATILE)


def play(args: list[str] | None, parameters: Mapping[str, object],
         attend: Callable[[ReplayNode], None] = lambda node: None) -> None:
    """Replay until the end, SIGINT or SIGTERM, with `parameters` besides those of the ROS arguments.

    `attend` gets the node before it begins. Raises a JepaRosError in one line.
    """
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    init(args)
    executor = SingleThreadedExecutor()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        node = ReplayNode(parameter_overrides=overrides)
        executor.add_node(node)
        for number in handlers:     # rclpy's would close the context while publishing
            signal.signal(number, lambda *_: setattr(node, 'stopping', True))
        attend(node)
        node.run(executor)
        node.destroy_node()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        executor.shutdown(timeout_sec=1.0)
        rclpy.try_shutdown()


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable. Returns 0, or 2 after one line about what is wrong."""
    try:
        play(args, {})
    except JepaRosError as error:
        print(f'replay: {error}', file=sys.stderr)
        tell_parent(str(error))
        return EXIT_REFUSED
    return 0


if __name__ == '__main__':
    sys.exit(main())
