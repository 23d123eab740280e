"""A ROS node of a test, in a context and executor of its own: it can outlive the stack that it watches."""
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor


class DdsClient:
    """Subclasses add topics to `node`; `wait` spins."""

    def __init__(self, name: str = 'client'):
        self.context = rclpy.Context()
        self.context.init()
        self.node = rclpy.create_node(name, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def wait(self, condition, what: str, timeout_s: float = 20.0):
        """Spin until `condition()` is true; returns its value."""
        end_s = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < end_s, f'waited {timeout_s} s in vain for {what}'
            self.executor.spin_once(timeout_sec=0.05)
        return value

    def close(self) -> None:
        """Leave the domain."""
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()
