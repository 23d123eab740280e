"""The node of shadow mode: it gives the goals of a recording, one part after the other, and hears what the agent does.

Goals go the way a user's do, through `pursue_goal`; while one is being taken, the replay waits on the part's first
percept. Used by `shadow_run.py`.
"""
from collections.abc import Callable
import time

from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import QoSProfile

from jepa_ros.action import PursueGoal
from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.shadow import Heard, Part, Wanted
from jepa_ros.msg import Action, Configuration, Prediction
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.raw import header_ns
from jepa_ros.robot.replay import Item
from jepa_ros.robot.restamp import stamps
from jepa_ros.robot.ros_types import stamp_ns
from jepa_ros.runtime.qos import LATCHED

QUEUE = 50              # messages a subscription may hold while this process is busy
ANSWER_S = 20.0         # wall time for the configurator to take or end a goal; reading one from a large bag is slow
LAST_ANSWER_S = 1.0     # wall time for the action on the last tick of a part
TICK_ANSWER_S = 0.5     # wall time for one tick's action where the replay waits for it (rate 0)
RESULTS = {value: name for name, value in vars(PursueGoal.Result).items() if name.isupper() and isinstance(value, int)}


class Shadow(Node):
    """Gives the goals, holds the replay back where needed, and writes down what the agent answers."""

    def __init__(self, wanted: Wanted, parts: list[Part], contract: RobotContract, goal: Callable[[Part], object]):
        super().__init__('shadow', namespace=wanted.namespace or None)
        self.heard = Heard()
        self.failure = ''
        self._parts, self._goal = parts, goal
        self._period_ns = round(contract.control_period_s * 1e9)
        stream = contract.pacing
        self._stamped = stream is not None and stamps(stream.type).header
        self._paced_by_clock = stream is None
        self._every_tick = wanted.parameters['rate'] == 0
        self._current = 0                       # part that is open, or comes next
        self._phase = 'before'                  # before, opening, open, closing
        self._phase_s = 0.0                     # wall time it began
        self._handle = None
        self._result = None
        self._active = False                    # the configuration of this part's goal is in force
        self._tick_ns, self._tick_s = 0, 0.0    # newest tick sent, and when
        self._tick_wall_ns: dict[int, int] = {}
        stream_qos = QoSProfile(depth=QUEUE)
        self.create_subscription(Action, 'action', self._on_action, stream_qos)
        self.create_subscription(Prediction, 'prediction', self._on_prediction, stream_qos)
        self.create_subscription(Configuration, 'configuration', self._on_configuration, LATCHED)
        self._client = ActionClient(self, PursueGoal, 'pursue_goal')

    def wait_for_agent(self) -> None:
        """Raises ConfigError when nobody takes goals."""
        if not self._client.wait_for_server(timeout_sec=ANSWER_S):
            raise ConfigError('the agent does not serve pursue_goal: see its log')

    # ---- what the replay asks and tells ------------------------------------------------------------------------------
    def ready(self, item: Item) -> bool:
        """May the replay go on with this message? Raises ConfigError when the agent cannot."""
        if self._phase == 'opening':
            self._check_opening()
            return self._phase == 'open'
        if not item.tick:
            return True
        if self._every_tick and self._phase != 'before' and not self._answered(TICK_ANSWER_S):
            return False
        if self._phase == 'open' and self._stamp(item) > self._part.stamps_ns[-1] + self._period_ns // 2:
            self._set('closing')
        return self._phase != 'closing' or self.closed()

    def sent(self, item: Item, wall_ns: int) -> None:
        """A message went out; the first tick of a part opens it."""
        if not item.tick:
            return
        stamp = self._stamp(item)
        self._tick_ns, self._tick_s = stamp, time.monotonic()
        if self._phase == 'open':               # the tick that opens a part waits for its goal: no latency of the agent
            self._tick_wall_ns[stamp] = wall_ns
        if self._phase == 'before' and self._current < len(self._parts):
            if stamp >= self._part.stamps_ns[0] - self._period_ns // 2:
                self._open(self._part)

    def closed(self) -> bool:
        """End the part that is open, once its last tick is answered; True when there is none any more."""
        if self._phase in ('opening', 'open'):
            self._set('closing')
        if self._phase != 'closing':
            return True
        if self._result is None:
            if not self._answered(LAST_ANSWER_S) or self._handle is None:
                return self._handle is None
            if not self._cancelled:
                self._cancelled = True
                self._handle.cancel_goal_async()
            if time.monotonic() - self._phase_s < ANSWER_S:
                return False
            raise ConfigError('the configurator does not end a goal: see the log of the agent')
        self._set('before')
        self._current += 1
        return True

    @property
    def _part(self) -> Part:
        return self._parts[self._current]

    # ---- a part's life -----------------------------------------------------------------------------------------------
    def _open(self, part: Part) -> None:
        self._set('opening')
        self.heard.begun = part.index + 1
        self._handle = self._result = None
        self._active = self._cancelled = False
        self._client.send_goal_async(self._goal(part)).add_done_callback(self._on_taken)

    def _on_taken(self, future) -> None:
        self._handle = future.result()
        self._handle.get_result_async().add_done_callback(self._on_result)

    def _on_result(self, future) -> None:
        result = future.result().result
        part = self._part
        self._result = result
        name = RESULTS[result.error_code]
        self.heard.outcomes[part.index] = 'reached' if name == 'NONE' else 'not reached' if name == 'CANCELED' \
            else f'{name}: {result.message}'
        # Canceled: at the end of the part, or where the user ended it; the last tick sent was still to be answered.
        self.heard.ends_ns[part.index] = self._tick_ns + self._period_ns if name == 'CANCELED' \
            else int(part.stamps_ns[0]) + round(result.elapsed * 1e9)

    def _check_opening(self) -> None:
        if self._result is not None and not self._active and self._result.error_code != PursueGoal.Result.NONE:
            raise ConfigError(f'the agent refused the goal of {self._part.name}: {self._result.message}')
        if self._active or self._result is not None:
            self._set('open')
        elif time.monotonic() - self._phase_s > ANSWER_S:
            raise ConfigError('the configurator does not take a goal: see the log of the agent')

    def _set(self, phase: str) -> None:
        self._phase, self._phase_s = phase, time.monotonic()

    def _answered(self, patience_s: float) -> bool:
        """The newest tick has its action, needs none, or was waited for long enough."""
        near = self._period_ns // 2
        done = self._result is not None or any(abs(k - self._tick_ns) <= near for k in reversed(self.heard.actions))
        return done or time.monotonic() - self._tick_s > patience_s

    def _stamp(self, item: Item) -> int:
        """Stamp of the tick that a message begins."""
        if self._stamped:
            return header_ns(item.raw) + item.shift_ns
        return item.play_ns // self._period_ns * self._period_ns if self._paced_by_clock else item.play_ns

    # ---- what the agent says -----------------------------------------------------------------------------------------
    def _on_action(self, message: Action, info: dict) -> None:
        stamp = stamp_ns(message.state_stamp)
        if message.plan_id == 0 or self._phase == 'before' or stamp in self.heard.actions \
                or stamp < self._part.stamps_ns[0] - self._period_ns // 2:
            return      # the actor at rest, or an answer to a percept before this goal
        self.heard.actions[stamp] = list(message.values)
        self.heard.planned[stamp] = message.mode == Action.PLANNED
        sent_ns = self._tick_wall_ns.pop(stamp, None)
        if sent_ns is not None:
            self.heard.latency_ms[stamp] = (info['received_timestamp'] - sent_ns) * 1e-6

    def _on_prediction(self, message: Prediction) -> None:
        if message.level == 0 and message.surprise == message.surprise:     # NaN without a step before
            self.heard.surprise[stamp_ns(message.header.stamp)] = message.surprise

    def _on_configuration(self, message: Configuration) -> None:
        self._active = self._active or message.active and self._phase == 'opening'
