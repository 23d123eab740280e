"""Starting and ending episodes by hand while a recorder runs: by service, by a key or by a joystick button.

A person who drives knows when an attempt begins and how it ended. `Marks` is the pure part; `EpisodeControl` gives a
recorder node the services `record/start_episode` and `record/stop_episode` and listens to a joystick.
"""
from collections.abc import Callable
from dataclasses import dataclass

from sensor_msgs.msg import Joy
from std_srvs.srv import SetBool, Trigger

from jepa_ros.msg import EpisodeEvent

from ..errors import ConfigError, JepaRosError
from .qos import EVENTS, STREAM

ENDS = (EpisodeEvent.SUCCESS, EpisodeEvent.FAILURE, EpisodeEvent.STOP)


class Marks:
    """Which episode is running, whoever began it, and what may happen next."""

    def __init__(self, prefix: str):
        self.running = ''           # id of the episode that runs
        self._prefix = prefix
        self._begun = 0

    def heard(self, event: int, episode: str) -> None:
        """Note an event of the topic `episode`, of others too."""
        if event == EpisodeEvent.START:
            self.running = episode
        elif event in ENDS and episode == self.running:
            self.running = ''

    @property
    def own(self) -> bool:
        """True while an episode runs that was begun by hand."""
        return self.running.startswith(f'{self._prefix}-')

    def begin(self) -> str:
        """Id of a new episode; JepaRosError while one runs."""
        if self.running:
            raise JepaRosError(f'episode {self.running} is still running: end it first')
        self.running = f'{self._prefix}-{self._begun:06d}'
        self._begun += 1
        return self.running

    def end(self) -> str:
        """Id of the episode that is over; JepaRosError when none runs or another node began it."""
        if not self.running:
            raise JepaRosError('no episode is running: start one first')
        if not self.own:
            raise JepaRosError(f'episode {self.running} was begun by another node, which also ends it')
        episode, self.running = self.running, ''
        return episode


@dataclass(frozen=True)
class Buttons:
    """Joystick buttons by number; −1 is none."""

    start: int = -1
    success: int = -1
    failure: int = -1

    def check(self) -> None:
        """ConfigError where one button would do two things."""
        given = [number for number in (self.start, self.success, self.failure) if number >= 0]
        if len(given) != len(set(given)):
            raise ConfigError(f'parameters button_start, button_success and button_failure are {self.start}, '
                              f'{self.success} and {self.failure}: give each a button of its own')


class EpisodeControl:
    """Services and joystick of a recorder. `stamp_ns` gives the stamp of an event, or raises a JepaRosError."""

    def __init__(self, node, prefix: str, stamp_ns: Callable[[], int], joy_topic: str, buttons: Buttons):
        self.marks = Marks(prefix)
        self._node, self._stamp_ns, self._buttons = node, stamp_ns, buttons
        self._pressed: set[int] = set()
        self._events = node.publish(EpisodeEvent, 'episode', EVENTS)
        node.serve(Trigger, 'record/start_episode', self._on_start)
        node.serve(SetBool, 'record/stop_episode', self._on_stop)
        if joy_topic:
            buttons.check()
            node.subscribe(Joy, joy_topic, self._on_joy, STREAM)

    def start(self, reason: str = '') -> str:
        """Begin an episode; returns its id."""
        stamp_ns = self._stamp_ns()
        episode = self.marks.begin()
        self._announce(EpisodeEvent.START, episode, stamp_ns, reason)
        return episode

    def stop(self, event: int, reason: str = '') -> str:
        """End the running episode with SUCCESS, FAILURE or STOP; returns its id."""
        episode = self.marks.end()
        self._announce(event, episode, self._stamp_ns(), reason)
        return episode

    def _on_start(self, _request, response) -> None:
        response.message = self.start('record/start_episode')

    def _on_stop(self, request: SetBool.Request, response: SetBool.Response) -> None:
        event = EpisodeEvent.SUCCESS if request.data else EpisodeEvent.FAILURE
        response.message = self.stop(event, 'record/stop_episode')

    def _on_joy(self, message: Joy) -> None:
        pressed = {number for number, value in enumerate(message.buttons) if value}
        new, self._pressed = pressed - self._pressed, pressed
        if self._buttons.start in new:
            self.start('joystick')
        elif self._buttons.success in new:
            self.stop(EpisodeEvent.SUCCESS, 'joystick')
        elif self._buttons.failure in new:
            self.stop(EpisodeEvent.FAILURE, 'joystick')

    def _announce(self, event: int, episode: str, stamp_ns: int, reason: str) -> None:
        message = EpisodeEvent(event=event, episode_id=episode, reason=reason)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        self._events.publish(message)
