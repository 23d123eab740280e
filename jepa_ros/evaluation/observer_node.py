"""The demo's own node: an outside observer and user of the agent. It hears topics, resets the world and gives goals.

It shares the machine with what it measures, so messages are kept as bytes and unpacked when all is over; arrival times
are those at which DDS got them, not those at which Python found time.
"""
from collections.abc import Callable
import math
import threading
import time

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
import numpy as np
import rclpy
from rclpy.action import ActionClient
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import UInt32

from jepa_ros.action import PursueGoal
from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.tape import Tape
from jepa_ros.msg import Action, Configuration, Energy, Plan, Prediction, State
from jepa_ros.robot.raw import header_ns
from jepa_ros.robot.ros_types import stamp_ns
from jepa_ros.runtime.diagnostics import heartbeat_phase
from jepa_ros.runtime.messages import tensor_array
from jepa_ros.runtime.qos import HEARTBEATS, LATCHED
from jepa_ros.runtime.ros import init
from jepa_ros.runtime.spinner import Spinner
from jepa_ros.srv import ResetWorld

QUEUE = 50                  # messages a subscription may hold while this process is busy
HEARD = {'action': Action, 'plan': Plan, 'energy': Energy, 'prediction': Prediction, 'imagination': Prediction}
ANSWER_S = 10.0             # wall time for a service or the configurator to answer
AGAIN_S = 2.0               # then a goal is sent again
SETTLE_NS = 600_000_000     # longer than the gate's surprise_hold_s
PLACED_M = 0.005            # a reset robot stands this near to where it was put
RESULTS = {value: name for name, value in vars(PursueGoal.Result).items() if name.isupper() and isinstance(value, int)}


class Observer:
    """Runs in a thread of its own. Use as a context manager."""

    def __init__(self):
        self._raw: list[tuple[str, float, bytes]] = []      # topic, wall time of arrival in s, message
        self._percept_s: dict[int, float] = {}
        self._poses: dict[int, tuple[float, float]] = {}
        self._active_since_s: float | None = None           # wall time at which the running pursuit began
        self._active_s: list[tuple[float, float]] = []      # begin and end of each pursuit
        self._news = threading.Condition()
        self._image: bytes = b''
        self._state_ns = 0                                  # stamp of the newest state, perception's answer
        self._pose: tuple[int, tuple[float, float]] = (0, (math.nan, math.nan))   # stamp, position
        self.collisions = 0                                 # since the last reset
        self._ready: set[str] = set()                       # nodes that are active and, where they say so, ready

    def __enter__(self) -> 'Observer':
        init(args=[])
        self._node = rclpy.create_node('demo')
        listen, reliability = self._node.create_subscription, ReliabilityPolicy
        sensors = QoSProfile(depth=QUEUE, reliability=reliability.BEST_EFFORT)
        streams = QoSProfile(depth=QUEUE, reliability=reliability.RELIABLE)
        listen(Image, 'camera/image_raw', self._on_image, sensors, raw=True)
        listen(Odometry, 'odom', self._on_odometry, sensors)
        listen(State, 'state', self._on_state, streams, raw=True)
        listen(UInt32, 'sim/collisions', self._on_collisions, LATCHED)
        listen(Configuration, 'configuration', self._on_configuration, LATCHED)
        listen(DiagnosticStatus, 'heartbeat', self._on_heartbeat, HEARTBEATS)
        for topic, kind in HEARD.items():
            listen(kind, topic, self._keeper(topic), streams, raw=True)
        self._reset = self._node.create_client(ResetWorld, 'sim/reset')
        self._pursue = ActionClient(self._node, PursueGoal, 'pursue_goal')
        self._spinner = Spinner(self._node, self._tell_news).__enter__()
        return self

    def __exit__(self, *_error) -> None:
        self._spinner.__exit__()
        self._pursue.destroy()
        self._node.destroy_node()
        rclpy.try_shutdown()

    @property
    def pose(self) -> tuple[float, float]:
        """Newest true position of the robot."""
        return self._pose[1]

    @property
    def now_ns(self) -> int:
        """Newest stamp of the robot's clock."""
        return self._pose[0]

    # ---- what a user does ----------------------------------------------------------------------------------------
    def wait_active(self, name: str, alive: Callable[[], None]) -> None:
        """Wait until the heartbeat of a node says that it is active and, where it says so, ready."""
        self.wait(lambda: name in self._ready, f'{name} does not become active', alive)

    def place(self, values: dict[str, float], seed: int, alive: Callable[[], None]) -> None:
        """Put the world into a state and wait until the agent has seen it. Raises ConfigError when that fails."""
        until = time.monotonic() + ANSWER_S
        while not self._reset.wait_for_service(timeout_sec=0.2):
            alive()
            if time.monotonic() > until:
                raise ConfigError('the simulator does not serve sim/reset')
        request = ResetWorld.Request(seed=seed, names=list(values), values=[float(v) for v in values.values()])
        asked = self._spinner.call(lambda: self._reset.call_async(request))
        answer = self.result(asked, 'the simulator did not answer a reset', alive)
        if not answer.success:
            raise ConfigError(f'the simulator refused a reset: {answer.message}')
        self.collisions = 0
        wanted = values['start_x_m'], values['start_y_m']
        self.wait(lambda: math.dist(self.pose, wanted) < PLACED_M, 'odom does not show the reset robot', alive)
        # Until all organs have seen it: the configurator must not judge by a state from before the reset, and the gate
        # holds a robot for a moment whose world has jumped.
        seen_ns = self.now_ns + SETTLE_NS
        self.wait(lambda: self._state_ns > seen_ns, 'perception does not answer', alive)

    def photograph(self, alive: Callable[[], None]) -> Image:
        """The next image of the camera."""
        after = self.now_ns
        self.wait(lambda: self._image and header_ns(self._image) >= after, 'no image on camera/image_raw', alive)
        return deserialize_message(self._image, Image)

    def pursue(self, image: Image, timeout_s: float, alive: Callable[[], None], task: str = ''):
        """Show the goal; returns the future of the action's result."""
        if not self._pursue.wait_for_server(timeout_sec=ANSWER_S):
            raise ConfigError('the configurator does not serve pursue_goal')
        goal = PursueGoal.Goal(kind=PursueGoal.Goal.IMAGE, image=image, timeout=timeout_s, task=task)
        until_s, sent_s, future = time.monotonic() + ANSWER_S, -math.inf, None
        while future is None or not future.done():
            # a server that was killed still counts as there for a while, and takes the first request with it
            if time.monotonic() - sent_s > AGAIN_S:
                sent_s = time.monotonic()
                future = self._spinner.call(lambda: self._pursue.send_goal_async(goal))
            self._pause(alive, until_s, f'the configurator did not answer (waited {ANSWER_S:.0f} s)')
        handle = future.result()
        if not handle.accepted:
            raise ConfigError('the configurator did not accept a goal')
        return self._spinner.call(handle.get_result_async)

    def result(self, future, line: str, alive: Callable[[], None]):
        """Wait for a future. Raises ConfigError with `line` when it takes too long."""
        self.wait(future.done, line, alive)
        return future.result()

    def wait(self, until: Callable[[], bool], line: str, alive: Callable[[], None],
             timeout_s: float = ANSWER_S) -> None:
        """Wait for `until`, looked at ten times a second at least. Raises ConfigError with `line` after `timeout_s`.

        `alive` is called as often and raises when going on makes no sense.
        """
        end_s = time.monotonic() + timeout_s
        while not until():
            self._pause(alive, end_s, f'{line} (waited {timeout_s:.0f} s)')

    def _pause(self, alive: Callable[[], None], end_s: float, line: str) -> None:
        alive()
        if time.monotonic() > end_s:
            raise ConfigError(line)
        with self._news:
            self._news.wait(0.1)

    # ---- what an observer hears ----------------------------------------------------------------------------------
    def _tell_news(self) -> None:
        with self._news:
            self._news.notify_all()

    def _on_heartbeat(self, status: DiagnosticStatus) -> None:
        said = {pair.key: pair.value for pair in status.values}
        if heartbeat_phase(status) == 'active' and said.get('ready', 'true') == 'true':
            self._ready.add(status.name.rsplit('/', 1)[-1])

    def _on_image(self, raw: bytes, info: dict) -> None:
        self._image = raw
        self._percept_s.setdefault(header_ns(raw), _arrival_s(info))

    def _on_odometry(self, message: Odometry) -> None:
        position = message.pose.pose.position
        stamp = stamp_ns(message.header.stamp)
        self._poses[stamp] = (position.x, position.y)
        self._pose = (stamp, (position.x, position.y))

    def _on_state(self, raw: bytes) -> None:
        self._state_ns = header_ns(raw)

    def _on_collisions(self, message: UInt32) -> None:
        self.collisions = message.data

    def _on_configuration(self, message: Configuration, info: dict) -> None:
        if message.active:
            self._active_since_s = self._active_since_s or _arrival_s(info)
        elif self._active_since_s is not None:
            self._active_s.append((self._active_since_s, _arrival_s(info)))
            self._active_since_s = None

    def _keeper(self, topic: str) -> Callable[[bytes, dict], None]:
        def keep(raw: bytes, info: dict) -> None:
            self._raw.append((topic, _arrival_s(info), raw))
        return keep

    def tape(self) -> Tape:
        """Unpack what was heard."""
        tape = Tape(active_s=list(self._active_s), percept_s=dict(self._percept_s), poses=dict(self._poses))
        for topic, arrival_s, raw in self._raw:
            message = deserialize_message(raw, HEARD[topic])
            _UNPACK[topic](tape, message, arrival_s)
        return tape


def _arrival_s(info: dict) -> float:
    return (info['received_timestamp'] or time.time_ns()) * 1e-9


def _action(tape: Tape, message: Action, arrival_s: float) -> None:
    tape.action_s.setdefault(stamp_ns(message.state_stamp), arrival_s)


def _plan(tape: Tape, message: Plan, _arrival: float) -> None:
    stamp = stamp_ns(message.state_stamp)
    tape.plan_ms[stamp], tape.mode[stamp] = message.latency_ms, message.mode


def _energy(tape: Tape, message: Energy, _arrival: float) -> None:
    track = tape.energy if message.subject == Energy.PERCEPT else tape.plan_energy
    track[stamp_ns(message.header.stamp)] = {term.name: term.weight * term.value for term in message.terms}


def _prediction(tape: Tape, message: Prediction, _arrival: float) -> None:
    tape.surprise[stamp_ns(message.header.stamp)] = message.surprise


def _imagination(tape: Tape, message: Prediction, _arrival: float) -> None:
    key = stamp_ns(message.header.stamp), message.level
    tape.imagined[key] = np.array(tensor_array(message.readouts, 'imagination.readouts'))


_UNPACK = {'action': _action, 'plan': _plan, 'energy': _energy, 'prediction': _prediction, 'imagination': _imagination}
