"""A ROS node of a test, in a context and executor of its own: it can outlive the stack that it watches."""
import signal
import subprocess
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor


class DdsClient:
    """Subclasses add topics to `node`; `wait` spins."""

    TIMEOUT_S = 15.0

    def __init__(self, name: str = 'client'):
        self.context = rclpy.Context()
        self.context.init()
        self.node = rclpy.create_node(name, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def wait(self, condition, what: str, timeout_s: float | None = None, meanwhile=lambda: None):
        """Spin until `condition()` is true; returns its value. `meanwhile` is called between."""
        timeout_s = timeout_s or self.TIMEOUT_S
        end_s = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < end_s, f'waited {timeout_s} s in vain for {what}'
            meanwhile()
            self.executor.spin_once(timeout_sec=0.02)
        return value

    def close(self) -> None:
        """Leave the domain."""
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


def end(process: subprocess.Popen) -> None:
    """End a process with SIGINT, as Ctrl-C would."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
