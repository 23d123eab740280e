"""The live end of `robot/ingest.py`: subscriptions, the order of sending, and what a user is told of the sensors."""
from collections.abc import Callable
from functools import partial
import time

from rclpy.clock import Clock, ClockType
from rclpy.qos import QoSProfile

from ..errors import JepaRosError
from ..robot.adapters import to_array, TRANSFORM_TYPE
from ..robot.contract import RobotContract
from ..robot.ingest import Ingest, Percept
from ..robot.intake import Convert, static_topic
from ..robot.live_order import LiveOrder
from ..robot.ros_types import message_class
from .diagnostics import WARN
from .node import ManagedNode
from .qos import LATCHED, PROFILES
from .stream_health import StreamHealth

QUEUE = 64                  # messages of a stream that is held: none is lost while a percept is encoded
SHORTEST_WAIT_NS = 50_000   # a timer of 0 is refused


def subscriptions(contract: RobotContract) -> dict[str, tuple[str, QoSProfile]]:
    """Topic -> (message type, QoS) of all observations.

    Of the stream that makes the ticks only the newest message waits: a percept that is old when its turn comes is of no
    use. Of the others none may be lost, for the tick decides which one it takes.
    """
    pacing = contract.pacing
    topics: dict[str, tuple[str, QoSProfile]] = {}
    for observation in contract.observations:
        profile = PROFILES[observation.qos]
        if pacing is None or observation.topic != pacing.topic:
            profile = QoSProfile(reliability=profile.reliability, durability=profile.durability,
                                 depth=max(profile.depth, QUEUE))
        topics.setdefault(observation.topic, (observation.type, profile))
        if observation.type == TRANSFORM_TYPE:
            topics.setdefault(static_topic(observation.topic), (observation.type, LATCHED))
    return topics


class LiveIngest:
    """Percepts of a robot for one node. Make it while configuring; `on_percepts` gets them, oldest first.

    `convert` replaces the adapters, as by those that leave images on a GPU.
    """

    def __init__(self, node: ManagedNode, contract: RobotContract, on_percepts: Callable[[list[Percept]], None],
                 convert: Convert = to_array):
        self.ingest = Ingest(contract, convert)
        self._node, self._contract, self._on_percepts = node, contract, on_percepts
        topics = subscriptions(contract)
        self._order = LiveOrder(self.ingest, topics, node.get_parameter('use_sim_time').value)
        self._health = StreamHealth(node.health, self.ingest)
        self.taken: dict[str, int] = {}      # messages per topic, also those that still wait for their turn
        self._heard_ns: dict[str, int] = {}  # ROS time of the last message per topic
        self._timer = self._make_timer() if self._order.needs_timer else None
        self._subscriptions = {
            topic: node.subscribe(message_class(kind, topic), topic, partial(self._on_message, topic), profile,
                                  with_info=True) for topic, (kind, profile) in topics.items()}

    def _make_timer(self):
        """One shot for what is due before the next message; `_arm` sets it."""
        timer = self._node.create_timer(1.0, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))
        timer.cancel()
        self._node.own(lambda: self._node.destroy_timer(timer))
        return timer

    def started(self) -> None:
        """Give the sensors their timeout from now on."""
        self._heard_ns = {o.topic: self._now_ns() for o in self._contract.observations}

    def check(self) -> None:
        """Warn of sensors that went silent. ROS time: a paused simulator is reported by the clock check."""
        now_ns, health = self._now_ns(), self._node.health
        for observation in self._contract.observations:
            silence_s = (now_ns - (self._heard_ns[observation.topic] or now_ns)) * 1e-9  # 0: before the first /clock
            if silence_s > observation.timeout_s and observation.qos != 'latched':
                health.report(f'sensor {observation.key}', WARN,
                              f'{observation.topic}: no percept for {silence_s:.1f} s')
            else:
                health.clear(f'sensor {observation.key}', f'{observation.topic}: percepts come again')
        self._health.look()

    def _on_message(self, topic: str, message, info: dict) -> None:
        percepts = self._take(topic, message, info)
        if self._timer is not None:
            percepts = self._due()
        if percepts:
            self._on_percepts(percepts)

    def _on_timer(self) -> None:
        self._timer.cancel()
        if not self._node.active:
            return
        try:
            if percepts := self._due():
                self._on_percepts(percepts)
        except JepaRosError as error:   # as `subscribe` does with those of messages
            self._node.drop('percept', error)

    def _take(self, topic: str, message, info: dict) -> list[Percept]:
        self._heard_ns[topic] = self._now_ns()
        self.taken[topic] = self.taken.get(topic, 0) + 1
        return self._order.receive(topic, message, info['source_timestamp'], time.time_ns())

    def _due(self) -> list[Percept]:
        """Percepts that are due now; sets the timer for the next ones."""
        percepts: list[Percept] = []
        due_ns = self._order.due_ns()
        if due_ns is not None and due_ns <= time.time_ns():
            # An executor that was busy has messages waiting that were sent before the one that makes the tick.
            now_ns = time.time_ns()
            for topic, subscription in self._subscriptions.items():
                while (waiting := subscription.handle.take_message(subscription.msg_type, False)) is not None:
                    self._take(topic, *waiting)
            percepts = self._order.poll(now_ns)
            due_ns = self._order.due_ns()
        if due_ns is None:
            self._timer.cancel()
        else:
            self._timer.timer_period_ns = max(due_ns - time.time_ns(), SHORTEST_WAIT_NS)
            self._timer.reset()
        return percepts

    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds
