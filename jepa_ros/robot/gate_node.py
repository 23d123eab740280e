"""`command_gate`: the only node that commands the robot. Translates for `gate.py`; loads no torch (design §8).

An accepted action is forwarded at once, as exactly one message per command topic. Between actions the command is
repeated, zeros included, as long as the node is active: a lost message or a base without a watchdog must not leave a
robot moving. In lockstep simulations, where each command is one step of time, `repeat_rate_hz: 0` turns this off.
"""
import sys
import time

from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
from rclpy.clock import Clock, ClockType
from std_srvs.srv import Trigger

from jepa_ros.msg import Action, EpisodeEvent, Prediction, State

from ..errors import ContractError
from ..runtime.diagnostics import ERROR, heartbeat_phase, WARN
from ..runtime.names import ORGANS
from ..runtime.node import ManagedNode
from ..runtime.parameters import Param
from ..runtime.process import run
from ..runtime.qos import EVENTS, HEARTBEATS, SENSOR
from .adapters import command_message, JOINT_STATE_TYPE, read_fields
from .contract import RobotContract
from .gate import Gate, Mode, Now, Output, Settings
from .ros_types import message_class, stamp_ns

TICK_RATE_HZ = 20.0     # at least: a dead organ is noticed within its timeout + 50 ms
TYPE_CHECK_PERIOD_S = 1.0


class CommandGate(ManagedNode):
    """Owns the command topics of the robot contract."""

    PARAMETERS = (
        Param('robot', 'two_rooms', 'robot contract: a name or a YAML file', read_only=True),
        Param('required_organs', ','.join(ORGANS),
              'names, separated by commas, of the nodes without whose heartbeats the robot stops'),
        Param('organ_timeout_s', 0.3, 'wall time without a heartbeat after which an organ is dead', 0.05, 60.0),
        Param('action_timeout_s', 0.35, 'ROS time: age of the percept that the action answers, at which the robot '
              'decelerates; 0 is never', 0.0, 60.0),
        Param('silence_timeout_s', 0.5, 'wall time without an action after which the robot decelerates; 0 is never',
              0.0, 60.0),
        Param('sensor_timeout_s', 0.0, 'ROS time without a new percept after which the robot stops; '
              "0 takes the contract's longest observation timeout", 0.0, 60.0),
        Param('surprise_slow', 100.0, 'surprise, relative to its mean in training, above which the robot is slowed; '
              '0 is never', 0.0, 1e6),
        Param('surprise_stop', 400.0, 'surprise above which the robot stops; 0 is never', 0.0, 1e6),
        Param('surprise_hold_s', 0.5, 'wall time for which a surprise goes on counting', 0.0, 60.0),
        Param('slow_factor', 0.5, 'share of the commanded speed that is left while surprised', 0.0, 1.0),
        Param('repeat_rate_hz', 20.0, 'rate at which the command in force is repeated; 0 only forwards actions, for '
              'lockstep simulations', 0.0, 1000.0),
    )

    def __init__(self, **node_options):
        self.contract: RobotContract | None = None
        self._gate: Gate | None = None
        self._reported: dict[str, bytes] = {}
        super().__init__('command_gate', **node_options)

    def setup(self) -> None:
        """Read the contract and connect."""
        self.contract = RobotContract.load(self.params.robot)
        self._gate = Gate(self.contract, self._settings())
        self._sent = None
        self._streams, first = [], 0  # (stream, its slice of the action vector, message class, publisher)
        for stream in self.contract.actions:
            kind = message_class(stream.type, stream.topic)
            command_message(stream, kind, [0.0] * len(stream.fields))   # says a wrong field now, not in motion
            part = slice(first, first := first + len(stream.fields))
            self._streams.append((stream, part, kind, self.publish(kind, stream.topic)))
            self._measure(stream, part)
        self.subscribe(Action, 'action', self._on_action)
        self.subscribe(EpisodeEvent, 'episode', self._on_episode, EVENTS)
        self.subscribe(State, 'state', lambda message: self._gate.percept(stamp_ns(message.header.stamp)))
        self.subscribe(Prediction, 'prediction', self._on_prediction)
        self.subscribe(DiagnosticStatus, 'heartbeat', self._on_heartbeat, HEARTBEATS, always=True)
        for name, answer in (('gate/stop', self._on_stop), ('gate/reset', self._on_reset)):
            service = self.create_service(Trigger, name, answer)  # an emergency stop is also taken while inactive
            self._entities.append(lambda service=service: self.destroy_service(service))
        self._period_s = 1 / max(TICK_RATE_HZ, self.params.repeat_rate_hz)
        timer = self.create_timer(self._period_s, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._entities.append(lambda: self.destroy_timer(timer))
        self._last_tick_s, self._next_type_check_s = time.monotonic(), 0.0
        self._accepted = 0

    def started(self) -> None:
        """Say with a first command that the robot is to stand."""
        self._send(self._gate.tick(self._now()))

    def stopped(self) -> None:
        """Leave the robot with the safe command."""
        self._publish(self._gate.safe())

    def teardown(self) -> None:
        """Forget what was reported."""
        for key in self._reported:
            self.health.clear(key)
        self._reported.clear()

    def check(self) -> None:
        """Show what the gate does, and that the command topics are its own."""
        self.health.figures['accepted actions'] = str(self._accepted)
        now_s = time.monotonic()
        if now_s >= self._next_type_check_s:
            self._next_type_check_s = now_s + TYPE_CHECK_PERIOD_S
            for stream, *_ in self._streams:
                self._check_topic(stream)

    @property
    def hardware_id(self) -> str:
        """Name of the robot."""
        return self.contract.name if self.contract else ''

    # ---- messages in

    def _on_action(self, message: Action) -> None:
        now, stamp = self._now(), stamp_ns(message.state_stamp)
        refusal = self._gate.refusal(message.names, message.values, stamp, now)
        if refusal:
            raise ContractError(refusal)  # counted and said by the base class
        self._send(self._gate.accept(message.names, message.values, stamp, now))
        self._accepted += 1

    def _on_episode(self, message: EpisodeEvent) -> None:
        if message.event in (EpisodeEvent.SUCCESS, EpisodeEvent.FAILURE, EpisodeEvent.STOP):
            self._gate.set_out()

    def _measure(self, stream, part: slice) -> None:
        """Learn where joints stand that hold their place: an episode's first command is limited from there on."""
        paths = [field.field for field in stream.fields]
        sensor = next((o for o in self.contract.observations if o.type == JOINT_STATE_TYPE
                       and {f'position[{joint}]' for joint in o.joints}.issuperset(paths)), None)
        if sensor is None or stream.safe != 'hold':
            return

        def on_joints(message) -> None:
            self._gate.measure(part, read_fields(sensor.topic, message, paths))
        self.subscribe(message_class(sensor.type, sensor.topic), sensor.topic, on_joints, SENSOR, always=True)

    def _on_prediction(self, message: Prediction) -> None:
        if message.level == 0:
            self._gate.surprise(message.surprise, self._now())

    def _on_heartbeat(self, message: DiagnosticStatus) -> None:
        name = message.name.rsplit('/', 1)[-1]
        self._gate.organs.heard(name, int.from_bytes(message.level, 'little'), time.monotonic(),
                                heartbeat_phase(message), message.message)

    def _on_stop(self, _request, response):
        self._gate.stop('gate/stop was called')
        if self.active:
            self._send(self._gate.tick(self._now()))
        response.success, response.message = True, 'stopped until gate/reset is called'
        return response

    def _on_reset(self, _request, response):
        self._gate.reset()
        left = self._gate.stops(self._now())
        response.success = True
        response.message = f'released; still stopped because {"; ".join(left.values())}' if left else 'released'
        return response

    # ---- commands out

    def _tick(self) -> None:
        now, last = self._now(), self._last_tick_s
        self._last_tick_s = now.wall_s
        if not self.active or now.wall_s - last > 2 * self._period_s:
            return  # the gate itself slept: it reads the waiting heartbeats before it judges who is dead
        output = self._gate.tick(now)
        if self.params.repeat_rate_hz > 0 or self._sent is None or \
                not np.array_equal(output.values, self._sent, equal_nan=True):
            self._send(output)
        else:
            self._report(output)

    def _send(self, output: Output) -> None:
        self._publish(output.values)
        self._report(output)

    def _publish(self, values: np.ndarray) -> None:
        stamp = self.get_clock().now().to_msg()
        for stream, part, kind, publisher in self._streams:
            if np.isfinite(values[part]).all():     # else: a stream that holds and has nothing to hold yet
                publisher.publish(command_message(stream, kind, values[part], stamp))
        self._sent = values

    def _report(self, output: Output) -> None:
        self.health.figures['mode'] = output.mode.value
        verb = {Mode.STOP: 'robot stopped', Mode.SLOW: 'robot slowed', Mode.DECELERATE: 'robot decelerates'}
        for key, reason in output.reasons.items():
            self._reported[key] = self._level(key)
            self.health.report(key, self._reported[key], f'{verb[output.mode]}: {reason}')
        for key in [key for key in self._reported if key not in output.reasons]:
            del self._reported[key]
            self.health.clear(key, '' if key == 'action' else f'{key}: well again')

    def _level(self, key: str) -> bytes:
        serious = key in ('emergency', 'sensor') or self._gate.organs.broken(key, time.monotonic())
        return ERROR if serious else WARN

    def _check_topic(self, stream) -> None:
        ends = (*self.get_subscriptions_info_by_topic(stream.topic), *self.get_publishers_info_by_topic(stream.topic))
        foreign = next((end for end in ends if end.topic_type != stream.type), None)
        if foreign is None:
            self.health.clear(f'type {stream.topic}', f'topic {stream.topic} has one type again')
        else:
            self.health.report(f'type {stream.topic}', ERROR, f'topic {stream.topic} is used by {foreign.node_name} as '
                               f'{foreign.topic_type}, but the contract of {self.contract.name} says {stream.type}')
        rivals = sorted({end.node_name for end in self.get_publishers_info_by_topic(stream.topic)} - {self.get_name()})
        if rivals:
            self.health.report(f'rival {stream.topic}', WARN, f'{", ".join(rivals)} also publishes on {stream.topic}: '
                               'remap it, the robot obeys both')
        else:
            self.health.clear(f'rival {stream.topic}')

    def _settings(self) -> Settings:
        p = self.params
        organs = tuple(name.strip() for name in p.required_organs.split(',') if name.strip())
        return Settings(
            action_timeout_s=p.action_timeout_s, silence_timeout_s=p.silence_timeout_s,
            organ_timeout_s=p.organ_timeout_s,
            sensor_timeout_s=p.sensor_timeout_s or max(o.timeout_s for o in self.contract.observations),
            surprise_slow=p.surprise_slow, surprise_stop=p.surprise_stop, surprise_hold_s=p.surprise_hold_s,
            slow_factor=p.slow_factor, required_organs=organs, forward_only=p.repeat_rate_hz == 0)

    def _now(self) -> Now:
        return Now(self.get_clock().now().nanoseconds, time.monotonic())


def main(args: list[str] | None = None) -> int:
    """Run the command gate."""
    return run(lambda: [CommandGate()], args)


if __name__ == '__main__':
    sys.exit(main())
