"""Life of a node's process: start, autostart, spin, and an orderly end on Ctrl-C or SIGTERM.

The handlers of rclpy would shut the context down at once; ours let the nodes deactivate first, so that the actor's
last message is a stop.
"""
from collections.abc import Callable, Sequence
import gc
import signal
import sys
import time

import rclpy
from rclpy.exceptions import ROSInterruptException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn

from ..errors import ConfigError, JepaRosError
from .child import tell_parent
from .node import ManagedNode
from .ros import init

EXIT_REFUSED = 2  # a user's mistake: starting again would not help


def run(make_nodes: Callable[[], Sequence[ManagedNode]], args: list[str] | None = None) -> int:
    """Run nodes in one executor until a signal comes; returns the exit code.

    0 after a signal, 2 when a node with `autostart` cannot be configured (its log line says why).
    """
    try:
        init(args)
    except ConfigError as error:
        return _refuse(str(error))
    stop = _StopFlag()
    executor = SingleThreadedExecutor()
    nodes: Sequence[ManagedNode] = ()
    try:
        nodes = make_nodes()
        for node in nodes:
            executor.add_node(node)
        if not all(_autostart(node, stop) for node in nodes):
            return EXIT_REFUSED  # the node's log has the line
        gc.collect()
        gc.freeze()  # the model's objects live on: scanning them again and again would cost tens of milliseconds
        while not stop.wanted and rclpy.ok():
            executor.spin_once()  # returns at least at every heartbeat
        return 0
    except (ExternalShutdownException, ROSInterruptException, KeyboardInterrupt):
        return 0
    except JepaRosError as error:
        return _refuse(str(error))
    finally:
        _end(nodes, executor)


def _refuse(line: str) -> int:
    print(f'jepa_ros: {line}', file=sys.stderr)
    tell_parent(line)
    return EXIT_REFUSED


class Finished(ExternalShutdownException):
    """Raised by a node whose work is done: ends the process in an orderly way."""


class _StopFlag:
    """Set by SIGINT and SIGTERM; the second signal of a kind ends the process at once."""

    def __init__(self):
        self.wanted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._set)

    def _set(self, number, _frame) -> None:
        self.wanted = True
        signal.signal(number, signal.SIG_DFL)


def _autostart(node: ManagedNode, stop: _StopFlag) -> bool:
    """Configure and activate if the node wants it; False when it cannot and shall not be tried again."""
    success = TransitionCallbackReturn.SUCCESS
    if not node.parameter('autostart'):
        return True
    while node.trigger_configure() != success:
        pause_s = node.parameter('autostart_retry_s')
        if pause_s <= 0:
            tell_parent(f'{node.get_name()}: {node.failure}')
            return False
        again = time.monotonic() + pause_s
        while time.monotonic() < again and not stop.wanted:
            time.sleep(0.05)
        if stop.wanted:
            return True
    return node.trigger_activate() == success


def _end(nodes: Sequence[ManagedNode], executor: SingleThreadedExecutor) -> None:
    if rclpy.ok():
        for node in nodes:
            if node.active:
                node.trigger_deactivate()
        for node in nodes:
            if node.health.phase in ('unconfigured', 'inactive'):
                node.trigger_shutdown()
    executor.shutdown()
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()
