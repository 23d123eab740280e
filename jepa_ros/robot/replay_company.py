"""Who else is there during a replay: another clock, a robot that publishes the same or would obey, those who answer.

Asks an rclpy node for the graph; imports no ROS.
"""
from collections.abc import Callable, Iterable
import time

from ..errors import ConfigError
from .replay import Item
from .replay_topics import CLOCK, GLOBAL, Route
from .ros_types import message_class

ANSWER_S = 0.5      # wall time after which a tick counts as not answered, and the replay goes on
ANSWERER_WAIT_S = 3.0   # to find who answers; discovery takes so long on a busy machine
UNNAMED = 'unnamed'
NAME_WAIT_S = 0.5   # the name of a node follows its topics by some milliseconds
# Nodes that hear commands without moving anything. Whoever else listens on a command topic may be a robot.
NO_ROBOTS = frozenset({'recorder', 'rosbag2_recorder', 'world_model', 'perception', 'foxglove_bridge'})

SpinUntil = Callable[[Callable[[], object], float], None]   # condition, seconds


def refuse_company(node, routes: Iterable[Route], armed: bool, spin_until: SpinUntil, wait_s: float) -> None:
    """Look for `wait_s` seconds before anything is published. A killed node is not seen: it answers no discovery.

    Raises ConfigError when /clock or a topic of the replay has a publisher (two clocks make time jump for all), or,
    with `armed` (commands are replayed), when a command topic has a listener that may be a robot.
    """
    routes = list(routes)
    topics = [CLOCK, *(route.name for route in routes if route.name not in GLOBAL)]
    commands = [route.name for route in routes if route.command and armed]

    def found() -> list[tuple[str, str, str]]:
        rivals = [('publish', topic, _names(node.get_publishers_info_by_topic(topic))) for topic in topics]
        listeners = [('listen', topic, robots(node, topic)) for topic in commands]
        return [entry for entry in (*rivals, *listeners) if entry[2]]
    spin_until(found, wait_s)
    if found():
        spin_until(lambda: UNNAMED not in str(found()), NAME_WAIT_S)
    for what, topic, names in found():
        if what == 'publish':
            raise ConfigError(f'domain {node.context.get_domain_id()} already has a publisher of {topic}: {names}; end '
                              'it or set ROS_DOMAIN_ID to another number')
        raise ConfigError(f'{names} listens on {topic} and may be a robot, recorded commands are not sent to it: end '
                          'it, set ROS_DOMAIN_ID to another number, or replay without commands')


def robots(node, topic: str) -> str:
    """Names of the listeners on a command topic that may be robots; empty for none."""
    return _names(end for end in node.get_subscriptions_info_by_topic(topic) if end.node_name not in NO_ROBOTS)


def _names(ends) -> str:
    names = {f'{end.node_namespace.rstrip("/")}/{end.node_name}' for end in ends}
    return ', '.join(sorted(UNNAMED if 'UNKNOWN' in name else name for name in names))


class CommandGuard:
    """Holds recorded commands back while a possible robot listens. `say(topic, names)` is told of changes."""

    def __init__(self, node, say: Callable[[str, str], None]):
        self._node, self._say = node, say
        self._robots: dict[str, str] = {}     # topic -> names
        self._unnamed_s: dict[str, float] = {}     # topic -> since when one of its listeners has no name

    def undecided(self, topic: str) -> bool:
        """True while the name of a new listener is under way: the next command waits for it."""
        if UNNAMED not in robots(self._node, topic):
            self._unnamed_s.pop(topic, None)
            return False
        now_s = time.monotonic()
        return now_s - self._unnamed_s.setdefault(topic, now_s) < NAME_WAIT_S

    def held(self, topic: str) -> bool:
        """True when a command must not be sent now."""
        before, self._robots[topic] = self._robots.get(topic, ''), robots(self._node, topic)
        if self._robots[topic] != before:
            self._say(topic, self._robots[topic])
        return bool(self._robots[topic])


class Answers:
    """Lets the next control tick wait until somebody has answered the last one on a topic."""

    def __init__(self, node, topic: str, profile, spin_until: SpinUntil):
        """Raises ConfigError when nobody publishes the topic."""
        name = node.resolve_topic_name(topic)
        spin_until(lambda: node.count_publishers(name), ANSWERER_WAIT_S)
        ends = node.get_publishers_info_by_topic(name)
        if not ends:
            raise ConfigError(f'wait_for: nobody publishes {name}: start what answers there before the replay')
        self._open, self._sent_s = False, 0.0
        node.create_subscription(message_class(ends[0].topic_type, name), name, self._on_answer, profile, raw=True)

    def ready(self, item: Item) -> bool:
        """True when the item need not wait."""
        return not (item.tick and self._open) or time.monotonic() - self._sent_s > ANSWER_S

    def sent(self, item: Item, _wall_ns: int) -> None:
        """Note a tick that went out."""
        if item.tick:
            self._open, self._sent_s = True, time.monotonic()

    def _on_answer(self, _raw: bytes) -> None:
        self._open = False
