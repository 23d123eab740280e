"""A recorder's subscription to one topic: takes serialised messages, and becomes reliable where all publishers are.

Best effort hears every publisher, but what is lost on the way to it stays lost. Which publishers there are is known
only a moment after the subscription is made. Then a reliable one takes over, and for a second both listen, so that
nothing is missed in between; what comes twice is told by its sending time.
"""
from collections.abc import Callable
import time

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSProfile, ReliabilityPolicy

QUEUE = 1000        # messages a subscription may hold while the executor is busy
OVERLAP_S = 1.0     # longer than two ends need to find each other


class Ear:
    """Listens to `topic` for a node; `take(raw, info)` gets each message once, `lost(count)` what DDS gave up."""

    def __init__(self, node, kind: type, topic: str, profile: QoSProfile, take: Callable, lost: Callable[[int], None]):
        self._node, self._kind, self._topic, self._take, self._lost = node, kind, topic, take, lost
        self._durability = profile.durability
        self._undecided = profile.reliability == ReliabilityPolicy.BEST_EFFORT
        self._twice: set[int] | None = None     # sending times of the overlap, while there is one
        self._overlap_until_s = 0.0
        self._subscriptions = [self._subscribe(profile.reliability)]
        node._entities.append(self._destroy)

    def adapt(self) -> None:
        """Look who publishes, once somebody does; end an overlap whose time has come."""
        if self._twice is not None and time.monotonic() > self._overlap_until_s:
            self.take_waiting()     # of both, while it is known what came twice
            self._node.destroy_subscription(self._subscriptions.pop(0))
            self._twice = None
        if not self._undecided:
            return
        offered = [p.qos_profile.reliability for p in self._node.get_publishers_info_by_topic(self._topic)]
        self._undecided = not offered
        if offered and all(reliability == ReliabilityPolicy.RELIABLE for reliability in offered):
            self._twice, self._overlap_until_s = set(), time.monotonic() + OVERLAP_S
            self._subscriptions.append(self._subscribe(ReliabilityPolicy.RELIABLE))

    def take_waiting(self) -> None:
        """Take what has come and not been taken yet."""
        for subscription in self._subscriptions:
            self._drain(subscription)

    def _subscribe(self, reliability: ReliabilityPolicy):
        profile = QoSProfile(depth=QUEUE, reliability=reliability, durability=self._durability)
        return self._node.create_subscription(
            self._kind, self._topic, self._once, profile, raw=True, event_callbacks=SubscriptionEventCallbacks(
                message_lost=lambda event: self._lost(event.total_count_change)))

    def _once(self, raw: bytes, info) -> None:
        if self._twice is not None:
            sent_ns = info['source_timestamp']
            if sent_ns in self._twice:
                return
            self._twice.add(sent_ns)
        self._take(raw, info)

    def _drain(self, subscription) -> None:
        with subscription.handle:
            while (waiting := subscription.handle.take_message(subscription.msg_type, True)) is not None:
                self._once(*waiting)

    def _destroy(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
