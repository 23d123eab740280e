"""`perception`: the contract's observation topics in, `state` out; service `encode` (LeCun §2, perception module)."""
import sys
import time

from std_msgs.msg import Header

from jepa_ros.msg import Configuration, State
from jepa_ros.srv import Encode

from ..errors import ContractError
from ..memory.completion import Scenes
from ..robot.adapters import to_array
from ..robot.ingest import Percept
from ..runtime.live_ingest import LiveIngest
from ..runtime.messages import configured_modulation, state_message, time_message
from ..runtime.organ_node import OrganNode
from ..runtime.parameters import Param
from ..runtime.process import run
from ..runtime.qos import LATCHED

IMAGE = 'sensor_msgs/msg/Image'
MAX_GAP_PERIODS = 1.5     # percepts further apart are not one step: what was before them is forgotten


class PerceptionNode(OrganNode):
    """Encodes each percept that the streams of the contract make; `robot/ingest.py` says when and of what."""

    ORGAN = 'perception'
    OWN_PARAMETERS = (
        Param('hidden_colour', '', "colour 'r,g,b' with which the camera marks what it does not see: filled in with "
              'what was last seen there; empty: off'),
    )

    def connect(self) -> None:
        """Subscribe to the sensors."""
        self._skipped = 0
        self._observed_ns = 0
        self._state = self.publish(State, 'state')
        perception, colour = self.agent.perception, self.params.hidden_colour
        perception.completion = Scenes.of(perception.specs, colour) if colour else None
        # memory compares the camera's own colours, not normalised ones
        convert = to_array if colour else perception.intake(to_array)
        self._live = LiveIngest(self, self.contract, self.heedful(self._on_percepts), convert)
        self.serve(Encode, 'encode', self._on_encode)
        self.subscribe(Configuration, 'configuration', self._on_configuration, LATCHED, always=True)

    def started(self) -> None:
        """Give the sensors their timeout from now on."""
        self._live.started()

    def check(self) -> None:
        """Tell of silent sensors and of what is wrong with their messages."""
        self._live.check()

    def _on_configuration(self, message: Configuration) -> None:
        self.agent.perception.modulate(configured_modulation(message))

    def _on_percepts(self, percepts: list[Percept]) -> None:
        """Encode the newest percept; older ones that came with it matter only to levels that look back."""
        started = time.monotonic()
        perception, percept = self.agent.perception, percepts[-1]
        for each in percepts if perception.looks_back else (percept,):
            if each.stamp_ns - self._observed_ns > MAX_GAP_PERIODS * self.contract.control_period_s * 1e9:
                perception.reset()
            self._observed_ns = each.stamp_ns
            state = perception.observe(each.values, each.valid, each.stamp_ns)
        header = Header(stamp=time_message(percept.stamp_ns), frame_id=self._live.ingest.frame_id)
        self._state.publish(state_message(state, self.agent.model_id, header))
        self.health.figures['encode_ms'] = f'{(time.monotonic() - started) * 1e3:.1f}'
        if len(percepts) > 1:
            self._skipped += len(percepts) - 1
            self.health.figures['skipped'] = str(self._skipped)

    def _on_encode(self, request: Encode.Request, response: Encode.Response) -> None:
        images = [o for o in self.contract.observations if o.type == IMAGE]
        if len(self.contract.observations) != 1 or not images:
            raise ContractError(f'encode takes one image, but robot {self.contract.name} has '
                                f'{len(self.contract.observations)} observations')
        percept = {images[0].key: to_array(images[0], request.image)}
        response.state = state_message(self.agent.perception.encode(percept), self.agent.model_id, request.image.header)


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run(lambda: [PerceptionNode()], args)


if __name__ == '__main__':
    sys.exit(main())
