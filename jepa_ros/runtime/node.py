"""The one lifecycle discipline of all nodes (six organs, command gate, drivers).

A subclass fills `setup`, `started`, `stopped`, `teardown` and `check`; this class owns transitions, parameters,
health, the 10 Hz heartbeat and what a user most often gets wrong: no /clock, or a topic of another type.
"""
from collections.abc import Callable, Iterable
import re
import time
import traceback
from typing import ClassVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile

from ..errors import JepaRosError
from .diagnostics import array, DIAGNOSTICS_PERIOD_S, ERROR, Health, say, WARN
from .parameters import Param, Parameters
from .qos import STREAM

HEARTBEAT_PERIOD_S = 0.1    # the gate calls an organ dead after 0.3 s without one
CLOCK_STANDSTILL_S = 2.0    # a lockstep simulator waits at most 0.5 s for a command

BASE_PARAMETERS = (
    Param('autostart', False, 'configure and activate by itself when the process starts'),
    Param('autostart_retry_s', 0.0, 'seconds between attempts to configure when one fails; 0 ends the process instead',
          low=0.0, high=3600.0),
    Param('clock_timeout_s', 5.0, 'wall seconds after which a missing /clock is an error (with use_sim_time)',
          low=0.1, high=3600.0),
)


class ManagedNode(LifecycleNode):
    """A lifecycle node that says how it is. `params` holds the values of PARAMETERS once configured."""

    PARAMETERS: ClassVar[tuple[Param, ...]] = ()

    def __init__(self, name: str, **node_options):
        super().__init__(name, **node_options)
        self._declared = Parameters(self, (*BASE_PARAMETERS, *self.PARAMETERS))
        self.params = None
        self.health = Health(name, lambda level, line: say(self.get_logger(), level, line))
        self.failure = ''  # why the last transition failed, in one line
        self._entities: list[Callable[[], None]] = []  # how to destroy what `setup` made
        self._subscribed: dict[str, str] = {}  # resolved topic -> type
        # Plain publishers: a node also says that it is not active.
        self._heartbeat = super().create_publisher(DiagnosticStatus, 'heartbeat', STREAM)
        self._diagnostics = super().create_publisher(DiagnosticArray, '/diagnostics', STREAM)
        self._unnamed: set[str] = set()  # topics with a foreign type whose publisher has no name yet
        self._wall = Clock(clock_type=ClockType.STEADY_TIME)
        self._clock_seen: tuple[int, float] | None = None  # newest ROS time in ns and the wall time it came
        self._next_diagnostics = 0.0
        self.create_timer(HEARTBEAT_PERIOD_S, self._beat, clock=self._wall)

    # ---- what a subclass fills ----------------------------------------------------------------------------------
    def setup(self) -> None:
        """Load what is needed and make publishers, subscriptions and services. Raises JepaRosError."""

    def started(self) -> None:
        """Begin work: publishers are enabled now."""

    def stopped(self) -> None:
        """End work: publishers are still enabled, so that a last message can be sent."""

    def teardown(self) -> None:
        """Let go of what `setup` loaded; entities are destroyed by the base class."""

    def check(self) -> None:
        """Look after the node's health, ten times a second, in the executor's thread."""

    # ---- entities, owned by the lifecycle ------------------------------------------------------------------------
    @property
    def active(self) -> bool:
        """True between activation and deactivation."""
        return self.health.phase == 'active'

    def publish(self, message_type: type, topic: str, profile: QoSProfile = STREAM):
        """Make a publisher that sends only while the node is active."""
        publisher = self.create_lifecycle_publisher(message_type, topic, profile)
        self._entities.append(lambda: self.destroy_lifecycle_publisher(publisher))
        return publisher

    def subscribe(self, message_type: type, topic: str, callback: Callable, profile: QoSProfile = STREAM,
                  always: bool = False, with_info: bool = False):
        """Subscribe; messages are dropped while the node is not active, unless `always` (settings).

        With `with_info` the callback also gets rclpy's message info (source and reception time).
        A JepaRosError from `callback` counts as a dropped message and is said once per kind.
        """
        def take(message, info) -> None:
            if always or self.active:
                try:
                    callback(message, info) if with_info else callback(message)
                except JepaRosError as error:
                    self.drop(topic, error)

        def take_all(message, info) -> None:
            # rclpy hands over one message per round of its executor: on a busy machine the queue would fill, and
            # heartbeats and states grow old in it.
            take(message, info)
            while (more := subscription.handle.take_message(message_type, False)) is not None:
                take(*more)
        subscription = self.create_subscription(message_type, topic, take_all, profile)
        self._entities.append(lambda: self.destroy_subscription(subscription))
        package, name = message_type.__module__.split('.')[0], message_type.__name__
        self._subscribed[subscription.topic_name] = f'{package}/msg/{name}'
        return subscription

    def serve(self, service_type: type, name: str, callback: Callable):
        """Make a service whose response has `success` and `message`; a JepaRosError becomes `success: false`."""
        def guarded(request, response):
            response.success, response.message = True, ''
            try:
                if not self.active:
                    raise JepaRosError(f'{self.get_name()} is {self.health.phase}: activate it first')
                callback(request, response)
            except JepaRosError as error:
                response.success, response.message = False, str(error)
            return response
        service = self.create_service(service_type, name, guarded)
        self._entities.append(lambda: self.destroy_service(service))
        return service

    def own(self, destroy: Callable[[], None]) -> None:
        """Have `destroy` called when the node cleans up, for an entity that was made without this class."""
        self._entities.append(destroy)

    def drop(self, what: str, error: JepaRosError) -> None:
        """Count an input that cannot be used. Kinds differ by their words, not by the numbers in them."""
        kind = f'{what}: {re.sub(r"[0-9.]+", "#", str(error))}'
        self.health.count(kind, f'dropped a message on {what}: {error} (said once, counted in /diagnostics)')

    def parameter(self, name: str):
        """Return one declared parameter's value. Raises ConfigError when it was given wrong."""
        return self._declared.value(name)

    # ---- transitions -----------------------------------------------------------------------------------------------
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        def work():
            self.params = self._declared.values()
            self.setup()
            LifecycleNode.on_configure(self, state)
        return self._transition('configure', work, 'inactive', TransitionCallbackReturn.FAILURE)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        def work():
            LifecycleNode.on_activate(self, state)
            self.health.set_phase('active')
            self.started()
        return self._transition('activate', work, 'active', TransitionCallbackReturn.ERROR)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        def work():
            self.stopped()
            LifecycleNode.on_deactivate(self, state)
        return self._transition('deactivate', work, 'inactive', TransitionCallbackReturn.ERROR)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition('clean up', self._release, 'unconfigured', TransitionCallbackReturn.ERROR)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        def work():
            if self.active:
                self.stopped()
            self._release()
        return self._transition('shut down', work, 'finalized', TransitionCallbackReturn.ERROR)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        self.health.set_phase('unconfigured')
        return TransitionCallbackReturn.SUCCESS  # back to unconfigured: it can be configured again

    def _transition(self, verb: str, work: Callable[[], None], phase: str,
                    failed: TransitionCallbackReturn) -> TransitionCallbackReturn:
        try:
            work()
        except JepaRosError as error:
            self._fail(verb, str(error))
            return failed
        except Exception as error:  # a bug: rclpy would swallow it, so it is said here, with its place
            self.get_logger().error(traceback.format_exc())
            self._fail(verb, f'{type(error).__name__}: {error}')
            return failed
        self.health.clear('transition')
        self.health.set_phase(phase)
        self.get_logger().info(phase)
        return TransitionCallbackReturn.SUCCESS

    def _fail(self, verb: str, reason: str) -> None:
        self.failure = f'cannot {verb}: {reason}'
        self.health.clear('transition')  # a second failure is said again
        self.health.report('transition', ERROR, self.failure)
        self._release()
        self.health.set_phase('unconfigured')

    def _release(self) -> None:
        self.teardown()
        for destroy in reversed(self._entities):
            destroy()
        self._entities.clear()
        for topic in self._subscribed:
            self.health.clear(f'type {topic}')
        self._subscribed.clear()

    # ---- health ----------------------------------------------------------------------------------------------------
    def _beat(self) -> None:
        self._check_clock()
        if self.active:
            self.check()
        now = time.monotonic()
        if now >= self._next_diagnostics:
            self._check_types()
        self._heartbeat.publish(self.health.status(self.get_name(), self.hardware_id))
        if self.health.changed or now >= self._next_diagnostics:
            name = self.get_fully_qualified_name().lstrip('/')
            self._diagnostics.publish(array(
                self.get_clock().now().to_msg(), self.health.status(name, self.hardware_id)))
            self.health.changed = False
            self._next_diagnostics = now + DIAGNOSTICS_PERIOD_S

    @property
    def hardware_id(self) -> str:
        """Whom the diagnostics are about; organs give the robot's name."""
        return ''

    def _check_clock(self) -> None:
        if not self.get_parameter('use_sim_time').value:
            self.health.clear('clock')
            return
        stamp, wall = self.get_clock().now().nanoseconds, time.monotonic()
        if self._clock_seen is None or stamp != self._clock_seen[0]:
            self._clock_seen = (stamp, wall)
            self.health.clear('clock', 'the clock runs')
            return
        waited = wall - self._clock_seen[1]
        if stamp == 0 and waited > self.get_parameter('clock_timeout_s').value:
            self.health.report('clock', ERROR, 'use_sim_time is true but nothing came on /clock within '
                               f'{waited:.1f} s: start the simulator (or bag play --clock), '
                               'or set use_sim_time to false')
        elif stamp != 0 and waited > CLOCK_STANDSTILL_S:
            self.health.report('clock', WARN, f'/clock has stood still for {waited:.1f} s: '
                               'is the simulator paused or gone?')

    def _check_types(self) -> None:
        for topic, expected in self._subscribed.items():
            foreign = _first(e for e in self.get_publishers_info_by_topic(topic) if e.topic_type != expected)
            if foreign is None:
                self.health.clear(f'type {topic}', f'topic {topic} has one type again')
                self._unnamed.discard(topic)
            elif 'UNKNOWN' in foreign.node_name and topic not in self._unnamed:
                self._unnamed.add(topic)  # the name of a node follows its topics by some milliseconds: look again
            else:
                name = f'{foreign.node_namespace.rstrip("/")}/{foreign.node_name}'
                publisher = 'a publisher that is no ROS node' if 'UNKNOWN' in name else name
                self.health.report(f'type {topic}', ERROR, f'topic {topic} is published by {publisher} as '
                                   f'{foreign.topic_type}, but {self.get_name()} needs {expected}: '
                                   'remap one of them or correct the robot contract')


def _first(items: Iterable):
    return next(iter(items), None)
