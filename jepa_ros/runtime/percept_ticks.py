"""When a robot perceives, for nodes that act once per percept without looking at it. Used by driver nodes."""
from collections.abc import Callable

from ..robot.contract import RobotContract
from ..robot.raw import has_header, header_ns
from ..robot.ros_types import message_class
from .qos import PROFILES


class PerceptTicks:
    """Calls `on_tick(stamp_ns)` for each sample that makes a tick of the contract, or at each period of the clock.

    Samples stay serialised: only the stamp is read, unpacking an image would cost more than all else. A sample without
    a stamp of its own (or with `stamp: receive`) gets the ROS time at which it is seen.
    """

    def __init__(self, node, contract: RobotContract, on_tick: Callable[[int], None]):
        pacing = contract.pacing
        self.topic = 'the clock' if pacing is None else pacing.topic
        self._node, self._on_tick, self._stamped = node, on_tick, False
        if pacing is None:
            timer = node.create_timer(contract.control_period_s, lambda: on_tick(self._now_ns()))
            node._entities.append(lambda: node.destroy_timer(timer))
            return
        kind, self._stamped = message_class(pacing.type, pacing.topic), stamped(contract)
        percepts = node.create_subscription(kind, pacing.topic, self._take, PROFILES[pacing.qos], raw=True)
        node._entities.append(lambda: node.destroy_subscription(percepts))

    def _take(self, raw: bytes) -> None:
        self._on_tick(header_ns(raw) if self._stamped else self._now_ns())

    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds


def stamped(contract: RobotContract) -> bool:
    """The samples that make the ticks have stamps of their own, and these count."""
    pacing = contract.pacing
    return pacing is not None and pacing.stamp == 'header' and has_header(message_class(pacing.type, pacing.topic))
