"""An executor in a thread of its own, for programs that ask the agent and wait.

rclpy's action client is not made for two threads: an answer that comes before `send_goal_async` has noted its request
is dropped, and an entity destroyed while another thread waits on it ends that thread. What creates, destroys or asks
is therefore called in the executor's thread.
"""
from collections.abc import Callable
import threading
from typing import Any

from rclpy.executors import SingleThreadedExecutor

SPIN_S = 0.1


class Spinner:
    """Spins one node. Use as a context manager; `after` is called, in its thread, after each turn."""

    def __init__(self, node, after: Callable[[], None] = lambda: None):
        self._after = after
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._spin, name='ros', daemon=True)

    def __enter__(self) -> 'Spinner':
        self._thread.start()
        return self

    def __exit__(self, *_error) -> None:
        self._ending.set()
        self._thread.join()
        self._executor.shutdown()

    def call(self, function: Callable[[], Any]) -> Any:
        """What `function` returns or raises, called between two callbacks. Not for callbacks themselves."""
        done = threading.Event()
        result: list[Any] = [None, None]

        def work() -> None:
            try:
                result[0] = function()
            except BaseException as error:      # raised again in the caller's thread
                result[1] = error
            done.set()
        if self._thread.is_alive():
            self._executor.create_task(work)
        while not done.wait(SPIN_S):
            if not self._thread.is_alive():
                raise RuntimeError('the thread that spins this node has ended')
        if result[1] is not None:
            raise result[1]
        return result[0]

    def _spin(self) -> None:
        while not self._ending.is_set():
            self._executor.spin_once(timeout_sec=SPIN_S)
            self._after()
