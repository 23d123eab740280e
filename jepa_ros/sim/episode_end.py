"""Episodes that a world ends by itself, told to the recorder and to the driver. Used by the `sim` node.

Who began the episode has named it in a START on topic `episode`; the end that is announced there carries that name.
"""
from rclpy.node import Node
from std_msgs.msg import Bool, Float64

from jepa_ros.msg import EpisodeEvent
from jepa_ros.runtime import qos
from jepa_ros.sim.worlds.base import Ending, Episodic

EVENTS = {'success': EpisodeEvent.SUCCESS, 'failure': EpisodeEvent.FAILURE, 'stop': EpisodeEvent.STOP}
ENDS = frozenset(EVENTS.values())


class EpisodeEnd:
    """Publishes `sim/reward` with each percept, `sim/episode_over`, and the end itself on `episode`."""

    def __init__(self, node: Node, world: Episodic):
        self._world = world
        self._said_over: bool | None = None
        self._running = ''   # id of the episode that somebody has begun
        self._reward = node.create_publisher(Float64, 'sim/reward', qos.STREAM)
        self._over = node.create_publisher(Bool, 'sim/episode_over', qos.LATCHED)
        self._events = node.create_publisher(EpisodeEvent, 'episode', qos.EVENTS)
        node.create_subscription(EpisodeEvent, 'episode', self._on_event, qos.EVENTS)

    def publish(self, stamp) -> str:
        """After a percept: reward, and the end if it has come; how it ended the first time it is said, else ''."""
        ending = self._world.ending
        self._reward.publish(Float64(data=self._world.reward))
        if self._said_over == (ending is not None):
            return ''
        self._said_over, self._over_stamp = ending is not None, stamp
        self._over.publish(Bool(data=self._said_over))
        if ending is None:
            return ''
        self._announce(ending)
        return f'{ending.outcome} ({ending.reason})'

    def _announce(self, ending: Ending) -> None:
        if self._running:
            event = EpisodeEvent(event=EVENTS[ending.outcome], episode_id=self._running, reason=ending.reason)
            event.header.stamp = self._over_stamp
            self._events.publish(event)

    def _on_event(self, message: EpisodeEvent) -> None:
        if message.event == EpisodeEvent.START:
            self._running = message.episode_id
            if self._said_over and self._world.ending:   # it ended before this word of its start was heard
                self._announce(self._world.ending)
        elif message.event in ENDS and message.episode_id == self._running:
            self._running = ''
