"""`perception`: the contract's observation topics in, `state` out; service `encode` (LeCun §2, perception module)."""
from functools import partial
import sys
import time

import numpy as np

from jepa_ros.msg import State
from jepa_ros.srv import Encode

from ..errors import ContractError
from ..robot.adapters import to_array
from ..robot.contract import Observation
from ..robot.ros_types import message_class, stamp_ns
from ..runtime.diagnostics import WARN
from ..runtime.messages import state_message
from ..runtime.organ_node import OrganNode
from ..runtime.process import run
from ..runtime.qos import SENSOR

IMAGE = 'sensor_msgs/msg/Image'


class PerceptionNode(OrganNode):
    """Encodes each percept. The contract's first observation sets the pace, the others are held."""

    ORGAN = 'perception'

    def connect(self) -> None:
        """Subscribe to the sensors."""
        self._newest: dict[str, np.ndarray] = {}
        self._heard_ns: dict[str, int] = {}  # ROS time of the last message per observation
        self._state = self.publish(State, 'state')
        for observation in self.contract.observations:
            self.subscribe(message_class(observation.type, observation.topic), observation.topic,
                           partial(self._on_observation, observation), SENSOR)
        self.serve(Encode, 'encode', self._on_encode)

    def started(self) -> None:
        """Give the sensors their timeout from now on."""
        self._heard_ns = {o.key: self._now_ns() for o in self.contract.observations}

    def check(self) -> None:
        """Warn of sensors that went silent. ROS time: a paused simulator is reported by the clock check."""
        now_ns = self._now_ns()
        for observation in self.contract.observations:
            silence_s = (now_ns - (self._heard_ns[observation.key] or now_ns)) * 1e-9  # 0: before the first /clock
            if silence_s > observation.timeout_s:
                self.health.report(f'sensor {observation.key}', WARN,
                                   f'{observation.topic}: no percept for {silence_s:.1f} s')
            else:
                self.health.clear(f'sensor {observation.key}', f'{observation.topic}: percepts come again')

    def _on_observation(self, observation: Observation, message) -> None:
        self._heard_ns[observation.key] = self._now_ns()
        self._newest[observation.key] = to_array(observation, message)
        if observation is not self.contract.observations[0] or len(self._newest) < len(self.contract.observations):
            return
        started = time.monotonic()
        state = self.agent.perception.encode(self._fresh(stamp_ns(message.header.stamp)))
        self._state.publish(state_message(state, self.agent.model_id, message.header))
        self.health.figures['encode_ms'] = f'{(time.monotonic() - started) * 1e3:.1f}'

    def _fresh(self, now_ns: int) -> dict[str, np.ndarray]:
        """Percept of all observations. Raises ContractError where an `asof` observation is too old to be used."""
        for observation in self.contract.observations[1:]:
            age_s = (now_ns - self._heard_ns[observation.key]) * 1e-9
            if observation.align == 'asof' and age_s > observation.timeout_s:
                raise ContractError(f'{observation.topic}: newest sample is {age_s:.1f} s old, '
                                    f'more than its timeout_s of {observation.timeout_s:g} s')
        return self._newest

    def _on_encode(self, request: Encode.Request, response: Encode.Response) -> None:
        images = [o for o in self.contract.observations if o.type == IMAGE]
        if len(self.contract.observations) != 1 or not images:
            raise ContractError(f'encode takes one image, but robot {self.contract.name} has '
                                f'{len(self.contract.observations)} observations')
        percept = {images[0].key: to_array(images[0], request.image)}
        response.state = state_message(self.agent.perception.encode(percept), self.agent.model_id, request.image.header)

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run(lambda: [PerceptionNode()], args)


if __name__ == '__main__':
    sys.exit(main())
