"""`teleop`: a person drives with a joystick, or with keys that `jepa-ros record` turns into one. The node is `driver`.

One action per percept, proposed to the command gate like those of the actor. Without news from the joystick for a
moment the robot is to rest.
"""
import sys
import time

from sensor_msgs.msg import Joy

from jepa_ros.msg import Action

from ..errors import ContractError
from ..runtime.diagnostics import WARN
from ..runtime.messages import time_message
from ..runtime.node import ManagedNode
from ..runtime.parameters import Param
from ..runtime.percept_ticks import PerceptTicks
from ..runtime.process import run
from .contract import RobotContract
from .teleop import axes_from, Sticks


class Teleop(ManagedNode):
    """Joystick axes to the contract's first action numbers."""

    PARAMETERS = (
        Param('robot', 'two_rooms', 'robot contract: a name or a YAML file'),
        Param('joy_topic', 'joy', 'topic of the joystick, sensor_msgs/Joy'),
        Param('axes', '1,0', "axes of the contract's first action numbers, separated by commas; -1 turns axis 1 round"),
        Param('joy_timeout_s', 0.5, 'wall time without news after which the joystick counts as let go', 0.05, 60.0),
    )

    def __init__(self, **node_options):
        self.contract: RobotContract | None = None
        super().__init__('driver', **node_options)

    def setup(self) -> None:
        """Connect to joystick and percepts."""
        self.contract = RobotContract.load(self.params.robot)
        self._sticks = Sticks(self.contract, axes_from(self.params.axes))
        self._axes: list[float] = []
        self._heard_s = -1e9
        self._steps = 0
        self._action = self.publish(Action, 'action')
        self.subscribe(Joy, self.params.joy_topic, self._on_joy)
        PerceptTicks(self, self.contract, self._on_percept)

    def check(self) -> None:
        """Show progress; warn of a joystick that is not there."""
        self.health.figures.update({'episode': '0/0', 'steps': str(self._steps)})
        if self._silent:
            self.health.report('joystick', WARN, f'waiting for a joystick on {self.params.joy_topic}')
        else:
            self.health.clear('joystick', 'the joystick is there')

    @property
    def hardware_id(self) -> str:
        """Name of the robot."""
        return self.contract.name if self.contract else ''

    @property
    def _silent(self) -> bool:
        return time.monotonic() - self._heard_s > self.params.joy_timeout_s

    def _on_joy(self, message: Joy) -> None:
        if len(message.axes) == 0:
            raise ContractError('the joystick has no axes')
        self._axes, self._heard_s = list(message.axes), time.monotonic()

    def _on_percept(self, stamp_ns: int) -> None:
        if not self.active:
            return
        values = self._sticks.rest() if self._silent else self._sticks.action(self._axes)
        self._steps += 1
        message = Action(plan_id=self._steps, mode=Action.REACTIVE, names=self.contract.action_names,
                         values=values.tolist())
        message.header.stamp = self.get_clock().now().to_msg()
        message.state_stamp = time_message(stamp_ns)
        self._action.publish(message)


def main(args: list[str] | None = None) -> int:
    """Run until a signal comes."""
    return run(lambda: [Teleop()], args)


if __name__ == '__main__':
    sys.exit(main())
