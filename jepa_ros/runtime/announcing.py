"""What the configurator tells the others: `configuration`, latched, and the marks of an episode."""
import time

from std_msgs.msg import Header

from ..msg import Configuration, EpisodeEvent
from .messages import fill_configuration
from .qos import EVENTS, LATCHED

MODES = {'auto': Configuration.AUTO, 'reactive': Configuration.REACTIVE, 'planned': Configuration.PLANNED}


class Announcer:
    """Publishes for `node`, a ManagedNode that is being configured."""

    def __init__(self, node):
        self._node = node
        self._version = time.time_ns() // 10**6  # grows over restarts too
        self._configuration = node.publish(Configuration, 'configuration', LATCHED)
        self._episode = node.publish(EpisodeEvent, 'episode', EVENTS)

    def configuration(self, settings=None, goal_id: str = '') -> Configuration:
        """Publish the configurator's settings as they are pursued for a goal; None: there is no goal."""
        self._version += 1
        message = Configuration(header=self._header(), version=self._version, active=settings is not None)
        if settings is not None:
            message.task, message.goal_id = settings.task, goal_id
            message.mode, message.budget_ms = MODES[settings.mode], float(settings.budget_ms)
            fill_configuration(message, settings)
        self._configuration.publish(message)
        return message

    def event(self, event: int, reason: str, goal_id: str) -> None:
        """Mark a moment of an episode."""
        self._episode.publish(EpisodeEvent(
            header=self._header(), event=event, episode_id=goal_id, goal_id=goal_id, reason=reason))

    def _header(self) -> Header:
        return Header(stamp=self._node.get_clock().now().to_msg())
