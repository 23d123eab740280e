"""Two simulators in one domain make time jump for all: the later one refuses to run. Used by the `sim` node."""
from collections.abc import Callable
import time

from rclpy.node import Node

from jepa_ros.errors import WorldError

GRAPH_POLL_S = 0.02                   # wall time between looks at who is in the domain
NAME_WAIT_S = 0.5


class OneClock:
    """Who else publishes /clock. `stopping` says whether the simulator is to end."""

    def __init__(self, node: Node, stopping: Callable[[], bool]):
        self._node, self._stopping = node, stopping
        self.ours = False       # this node publishes it too: one of its name is no other

    def refuse_second(self, executor, wait_s: float) -> None:
        """WorldError when another simulator shows up within `wait_s`. A killed one is not seen: it does not answer."""
        self._spin_until(executor, self.others, wait_s)
        if not self.others():
            return
        # the name of a node follows its topics by some milliseconds
        self._spin_until(executor, lambda: 'unnamed' not in self.others(), NAME_WAIT_S)
        raise self.taken()

    def taken(self) -> WorldError:
        """What to say of it."""
        return WorldError(f'domain {self._node.context.get_domain_id()} already has a simulator publishing /clock: '
                          f'{self.others()}; end it or set ROS_DOMAIN_ID to another number')

    def others(self) -> str:
        """Names of the other nodes that publish /clock."""
        publishers = self._node.get_publishers_info_by_topic('/clock')
        names = [f'{p.node_namespace.rstrip("/")}/{p.node_name}' for p in publishers]
        if self.ours and self._node.get_fully_qualified_name() in names:
            names.remove(self._node.get_fully_qualified_name())
        return ', '.join('unnamed' if 'UNKNOWN' in name else name for name in names)

    def _spin_until(self, executor, done, timeout_s: float) -> None:
        end_s = time.monotonic() + timeout_s
        while not done() and not self._stopping() and time.monotonic() < end_s:
            executor.spin_once(timeout_sec=GRAPH_POLL_S)
