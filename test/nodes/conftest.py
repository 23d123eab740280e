"""A whole running stack with a simulated robot, and a client that hears everything and pursues goals."""
from functools import partial
import time

from dds_client import DdsClient
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
import pytest
from rclpy.action import ActionClient
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from jepa_ros.action import PursueGoal
from jepa_ros.msg import Action, Configuration, Energy, EpisodeEvent, Plan, Prediction, State
from jepa_ros.runtime import qos
from jepa_ros.runtime.stack import Stack
from jepa_ros.runtime.supervisor import Supervisor

HEARD = {
    'camera/image_raw': (Image, qos.SENSOR), 'state': (State, qos.STREAM), 'prediction': (Prediction, qos.STREAM),
    'imagination': (Prediction, qos.STREAM), 'action': (Action, qos.STREAM), 'plan': (Plan, qos.STREAM),
    'energy': (Energy, qos.STREAM), 'configuration': (Configuration, qos.LATCHED),
    'episode': (EpisodeEvent, qos.EVENTS), 'cmd_vel': (Twist, qos.STREAM),
    '/diagnostics': (DiagnosticArray, QoSProfile(depth=64)),
}


class Client(DdsClient):
    """Lists of (wall time, message) per topic, services and goals. Has its own context: it can outlive a stack."""

    def __init__(self):
        super().__init__()
        self._heard: dict[str, list] = {topic: [] for topic in HEARD}
        self._sent: dict[str, list] = {topic: [] for topic in HEARD}
        for topic, (kind, profile) in HEARD.items():
            self.node.create_subscription(
                kind, topic, partial(self._hear, self._heard[topic], self._sent[topic]), profile)
        self.actions = self.node.create_publisher(Action, 'action', qos.STREAM)
        self.goals = ActionClient(self.node, PursueGoal, 'pursue_goal')

    def _hear(self, heard: list, sent: list, message, info) -> None:
        now_s = time.monotonic()
        heard.append((now_s, message))
        sent.append((now_s - (time.time_ns() - info['source_timestamp']) * 1e-9, message))

    def sent(self, topic: str, since: float) -> list:
        """Messages of a topic that were sent after a moment of `time.monotonic()`, however late they came."""
        return [message for wall, message in self._sent[topic] if wall >= since]

    def heard(self, topic: str, since: float = 0.0) -> list:
        """Messages of a topic that came after a moment of `time.monotonic()`."""
        return [message for wall, message in self._heard[topic] if wall >= since]

    def times(self, topic: str, since: float = 0.0) -> list:
        """The same with the wall time of each."""
        return [(wall, message) for wall, message in self._heard[topic] if wall >= since]

    def fresh(self, topic: str, condition=lambda message: True, timeout_s: float = 15.0):
        """Wait for a message from now on that fulfils `condition`."""
        since = time.monotonic()
        return self.wait(lambda: next(filter(condition, self.heard(topic, since)), None), topic, timeout_s)

    def call(self, kind: type, name: str, /, **fields):
        """Call a service and return its response."""
        client = self.node.create_client(kind, name)
        self.wait(client.service_is_ready, f'service {name}')
        answer = client.call_async(kind.Request(**fields))
        self.wait(answer.done, f'an answer of {name}')
        self.node.destroy_client(client)
        return answer.result()

    def send(self, **fields):
        """Send a goal; returns its handle. `handle.progress` collects the feedback."""
        self.wait(self.goals.server_is_ready, 'pursue_goal')
        progress: list = []
        sent = self.goals.send_goal_async(PursueGoal.Goal(**fields), lambda m: progress.append(m.feedback))
        self.wait(sent.done, 'the goal to be accepted')
        handle = sent.result()
        handle.progress = progress
        handle.answer = handle.get_result_async()
        return handle

    def result(self, handle, timeout_s: float = 20.0):
        """Wait for the result of a goal."""
        self.wait(handle.answer.done, 'the result', timeout_s)
        return handle.answer.result().result

    def pursue(self, **fields):
        """Send a goal and wait for its result."""
        return self.result(self.send(**fields))

    def close(self) -> None:
        """Leave the domain."""
        self.goals.destroy()
        super().close()


class Running:
    """A stack and its client."""

    def __init__(self, supervisor: Supervisor, client: Client, lines: list):
        self.supervisor, self.client, self.lines = supervisor, client, lines


@pytest.fixture(scope='module')
def new_client(module_ros_domain):
    """Makes a client of a stack that a test started itself."""
    return Client


@pytest.fixture(scope='module', params=[True, False], ids=['composed', 'separate'])
def running(request, module_ros_domain, random_model):
    """The stack with world two_rooms at real time; ends without leaving a process."""
    lines: list = []
    supervisor = Supervisor(Stack(model=str(random_model), world='two_rooms', composition=request.param), lines.append)
    with supervisor:
        pids = supervisor.wait_ready(60.0) and dict(supervisor.pids)
        client = Client()
        client.wait(lambda: client.heard('state') and client.heard('configuration'), 'the first state')
        yield Running(supervisor, client, lines)
        client.close()
        pids |= supervisor.pids
    assert not [name for name, pid in pids.items() if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False
