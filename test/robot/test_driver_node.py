"""`driver` as a process, in front of a simulator of the test's own that answers each action with the next percept."""
import time

import pytest
from sensor_msgs.msg import Image

from jepa_ros.msg import Action, EpisodeEvent
from jepa_ros.runtime.qos import EVENTS, SENSOR, STREAM
from jepa_ros.sim.node import LOCKSTEP_WAIT_S
from jepa_ros.srv import ResetWorld

from .conftest import PERIOD_NS, picture, process

STEPS = 5


class LockstepWorld:
    """Percepts one period apart, the next one once the last was answered.

    After the actions of numbers `lost` it goes on by two: a command that was late for its own percept has moved the
    robot on, before anybody saw the next one.
    """

    def __init__(self, peer, lost: set[int]):
        self.events = peer.hear(EpisodeEvent, 'episode', EVENTS)
        self._actions = peer.hear(Action, 'action', STREAM)
        self._percepts = peer.node.create_publisher(Image, '/camera/image_raw', SENSOR)
        self._service = peer.node.create_service(ResetWorld, 'sim/reset', self._reset)
        self._lost, self._number, self._answered, self._moved_s = lost, 0, 0, time.monotonic()

    def _reset(self, request, response):
        response.success = True
        self._move()
        return response

    def _move(self, periods: int = 1) -> None:
        self._number += periods
        self._percepts.publish(picture(self._number, self._number * PERIOD_NS))
        self._moved_s = time.monotonic()

    def answer(self) -> None:
        """Move on for each action that has come, and where none comes, as the simulator does."""
        while self._answered < len(self._actions):
            self._answered += 1
            self._move(2 if self._answered in self._lost else 1)
        if time.monotonic() - self._moved_s > LOCKSTEP_WAIT_S:
            self._move()


def episodes(tmp_path, peer, lost: set[int]) -> list[tuple[str, int, int]]:
    """(name, steps from its start to its end, last event) of all attempts at two episodes in lockstep."""
    world = LockstepWorld(peer, lost)
    with process('jepa_ros.robot.driver_node', tmp_path / 'log', '-p', 'autostart:=true', '-p', 'robot:=two_rooms',
                 '-p', "wait_for:=''", '-p', 'lockstep:=true', '-p', 'episodes:=2', '-p', f'steps:={STEPS}') as child:
        peer.wait(lambda: child.poll() is not None, 'the end of the driver', 60, meanwhile=world.answer)
    assert child.returncode == 0, (tmp_path / 'log').read_text()
    peer.wait(lambda: sum(e.event == EpisodeEvent.STOP for e in world.events) == 2, 'all events')
    found = []
    for start, end in zip(world.events[::2], world.events[1::2]):
        assert start.event == EpisodeEvent.START and start.episode_id == end.episode_id
        ns = [e.header.stamp.sec * 10**9 + e.header.stamp.nanosec for e in (start, end)]
        found.append((start.episode_id, (ns[1] - ns[0]) // PERIOD_NS, end.event))
    return found


def finished(found: list[tuple[str, int, int]]) -> list[tuple[str, int]]:
    """Those that were driven to their end: a busy machine may need further attempts."""
    return [(name.split('~')[0], steps) for name, steps, event in found if event == EpisodeEvent.STOP]


@pytest.mark.parametrize('lost', [set(), {STEPS + 1}, {4, STEPS + 5}])     # number 1 stands still
def test_a_finished_episode_has_exactly_its_steps_whatever_percepts_are_lost(tmp_path, peer, lost):
    found = episodes(tmp_path, peer, lost)
    assert finished(found) == [('0-000000', STEPS), ('0-000001', STEPS)]
    assert len(found) >= 2 + len(lost)
