"""A Gymnasium environment behind real topics."""
from contextlib import contextmanager
import math
import signal
import subprocess
import sys

from dds_client import DdsClient
from diagnostic_msgs.msg import DiagnosticArray
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Float64, Float64MultiArray

from jepa_ros.cli.main import main
from jepa_ros.msg import EpisodeEvent
from jepa_ros.runtime import qos
from jepa_ros.sim.worlds.gym_world import GymWorld
from jepa_ros.srv import ResetWorld

TOPICS = {'observation': (JointState, qos.SENSOR), 'sim/reward': (Float64, qos.STREAM), '/clock': (Clock, qos.SENSOR),
          'sim/episode_over': (Bool, qos.LATCHED), 'episode': (EpisodeEvent, qos.EVENTS),
          '/diagnostics': (DiagnosticArray, qos.STREAM)}


class Client(DdsClient):
    """Hears the topics of an environment; lists of messages by topic."""

    TIMEOUT_S = 20.0

    def __init__(self):
        super().__init__()
        self.heard: dict[str, list] = {topic: [] for topic in TOPICS}
        for topic, (kind, profile) in TOPICS.items():
            self.node.create_subscription(kind, topic, self.heard[topic].append, profile)
        self.commands = self.node.create_publisher(Float64MultiArray, 'command', qos.STREAM)
        self.events = self.node.create_publisher(EpisodeEvent, 'episode', qos.EVENTS)
        self.resetting = self.node.create_client(ResetWorld, 'sim/reset')

    def step(self, *values: float) -> JointState:
        """Command and wait for what is observed then."""
        observations = self.heard['observation']
        count = len(observations)
        self.commands.publish(Float64MultiArray(data=list(values)))
        self.wait(lambda: len(observations) > count, 'an observation')
        return observations[-1]

    def reset(self, **request):
        answer = self.resetting.call_async(ResetWorld.Request(**request))
        self.wait(answer.done, 'an answer to reset')
        return answer.result()


@contextmanager
def environment(domain: dict, *arguments: str):
    """`jepa-ros sim` with these arguments and a Client that hears it."""
    process = subprocess.Popen([sys.executable, '-m', 'jepa_ros.cli.main', 'sim', *arguments], env=domain)
    client = Client()
    try:
        client.wait(lambda: client.heard['observation'] and client.commands.get_subscription_count()
                    and client.events.get_subscription_count() and client.resetting.service_is_ready(), 'the simulator')
        yield client
    finally:
        client.close()
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope='module')
def pole(module_ros_domain):
    """CartPole in lockstep; each test resets it."""
    with environment(module_ros_domain, 'gym:CartPole-v1', 'real_time_factor=0') as client:
        yield client


def stamp_ns(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def seconds_up(client) -> list[float]:
    return [message.clock.sec + message.clock.nanosec * 1e-9 for message in client.heard['/clock']]


def test_each_command_is_one_step_of_the_environment(pole):
    pole.reset(seed=3)
    world = GymWorld('CartPole-v1', seed=3)
    pole.wait(lambda: list(pole.heard['observation'][-1].position) == world.read('observation').positions.tolist(),
              'the state after the reset')
    for choice in (1.0, 0.0, 0.7, 0.2):
        before = stamp_ns(pole.heard['observation'][-1])
        seen = pole.step(choice)
        world.step([choice])
        assert list(seen.position) == world.read('observation').positions.tolist()
        assert seen.name == ['observation_0', 'observation_1', 'observation_2', 'observation_3']
        assert stamp_ns(seen) - before == 20_000_000
    pole.wait(lambda: pole.heard['sim/reward'] and pole.heard['sim/reward'][-1].data == 1.0, 'the reward')


def test_an_end_is_announced_for_the_episode_that_was_begun_and_the_world_rests(pole):
    pole.reset(seed=5)
    pole.wait(lambda: pole.heard['sim/episode_over'] and not pole.heard['sim/episode_over'][-1].data, 'a new episode')
    heard = pole.heard['episode']
    pole.events.publish(EpisodeEvent(event=EpisodeEvent.START, episode_id='mine'))
    pole.wait(lambda: any(m.event == EpisodeEvent.START and m.episode_id == 'mine' for m in heard), 'the start')
    world = GymWorld('CartPole-v1', seed=5)
    while world.ending is None:
        world.step([1.0])
        last = pole.step(1.0)
    pole.wait(lambda: pole.heard['sim/episode_over'][-1].data, 'the end')
    end = pole.wait(lambda: next((m for m in heard if m.event == EpisodeEvent.STOP and m.episode_id == 'mine'), None),
                    'the end')
    assert (end.reason, stamp_ns(end)) == ('terminated', stamp_ns(last))
    assert pole.step(0.0).position == last.position
    pole.events.publish(EpisodeEvent(event=EpisodeEvent.START, episode_id='too late'))
    pole.wait(lambda: any(m.event == EpisodeEvent.STOP and m.episode_id == 'too late' for m in heard), 'its end')
    pole.reset(seed=6)
    pole.wait(lambda: not pole.heard['sim/episode_over'][-1].data, 'the next episode')
    assert pole.step(0.0).position != last.position


@pytest.mark.parametrize(('values', 'line'), [
    ([math.nan], 'NaN or infinity'), ([], 'commands of 0 numbers'), ([0.0, 1.0], 'of 2 numbers, they must have 1')])
def test_a_command_that_is_none_is_dropped_and_reported(pole, values, line):
    pole.heard['/diagnostics'].clear()
    pole.commands.publish(Float64MultiArray(data=values))
    pole.wait(lambda: any(line in m.status[0].message for m in pole.heard['/diagnostics']), 'a report')


def test_values_to_reset_to_are_refused_in_one_line(pole):
    answer = pole.reset(seed=0, names=['x'], values=[1.0])
    assert not answer.success and "unknown value 'x'" in answer.message and '\n' not in answer.message


def test_in_real_time_it_steps_at_its_own_rate_rests_on_zeros_and_begins_anew_if_asked(ros_domain):
    with environment(ros_domain, 'gym:CartPole-v1', 'real_time_factor=2', '--auto-reset') as client:
        # pushed to the left all the time, the pole falls within ten steps; without a reset it would stay down
        client.wait(lambda: [m.data for m in client.heard['sim/episode_over']].count(True) >= 2, 'two falls')
        times = seconds_up(client)
        assert len(times) > 10
        assert {round((b - a) / 0.02, 3) for a, b in zip(times, times[1:])} <= {1.0, 2.0, 3.0}


def test_the_rendered_picture_is_published_to_who_listens(ros_domain):
    pytest.importorskip('pygame')
    with environment(ros_domain, 'gym:CartPole-v1', 'real_time_factor=0', '--render') as client:
        pictures: list[Image] = []
        client.node.create_subscription(Image, 'camera/image_raw', pictures.append, qos.SENSOR)
        while not pictures:
            client.step(0.0)
        assert (pictures[-1].width, pictures[-1].encoding, pictures[-1].header.frame_id) == (256, 'rgb8', 'camera')


@pytest.mark.parametrize(('arguments', 'line'), [
    (['gym:CartPol-v1'], 'did you mean CartPole-v1'),
    (['two_rooms', '--render'], "world two_rooms has no option 'render'"),
    (['gym:CartPole-v1', 'world=two_rooms'], 'two worlds, gym:CartPole-v1 and two_rooms: give one'),
    (['gym:CartPole-v1', 'clock_rate_hz=100'], 'clock_rate_hz = 100: must be one of 50, or 0'),
])
def test_what_cannot_be_run_ends_in_one_line(ros_domain, capsys, arguments, line):
    assert main(['sim', *arguments]) == 2
    error = capsys.readouterr().err
    assert line in error and len(error.strip().splitlines()) == 1
