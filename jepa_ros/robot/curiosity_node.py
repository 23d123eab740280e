"""`curiosity`: drives a robot to what its world model expects to be new, for recording. The node is called `driver`.

Perception encodes the percepts (its own node), so that live ingest has one place; this node acts once per state.
"""
import sys

from jepa_ros.msg import State

from ..runtime.messages import encoded_state
from ..runtime.organ_node import AgentSource, ORGAN_PARAMETERS
from ..runtime.parameters import Param
from ..runtime.process import run
from .driver_node import Driver
from .ros_types import stamp_ns


class CuriosityDriver(Driver):
    """Episodes of a behaviour that looks for new states."""

    PARAMETERS = (
        *Driver.PARAMETERS, *(p for p in ORGAN_PARAMETERS if p.name not in ('robot', 'learn')),
        Param('candidates', 64, 'action sequences to choose among', 2, 4096),
        Param('horizon_s', 2.0, 'seconds that a sequence lasts; half of it is followed', 0.2, 60.0),
    )

    def _make_policy(self):
        """Novelty seen through the model of the checkpoint."""
        from ..actor.curiosity import Curiosity
        p = self.params
        self._agent = AgentSource().get(p.model, p.robot, p.device, threads=p.torch_threads)
        return Curiosity(self._agent.world_model, super()._make_policy().still(), self.params.seed,
                         self.params.candidates, self.params.horizon_s)

    def _watch_percepts(self) -> str:
        """States of the perception node are this driver's percepts."""
        self.subscribe(State, 'state', self._on_state)
        return 'state'

    def _on_state(self, message: State) -> None:
        stamp = stamp_ns(message.header.stamp)
        self._policy.see(stamp, encoded_state(message, self._agent.model_id, self._agent.device))
        self.health.figures['remembered'] = str(len(self._policy))
        self._on_percept(stamp)


def main(args: list[str] | None = None) -> int:
    """Run the driver until its last episode is done."""
    return run(lambda: [CuriosityDriver()], args)


if __name__ == '__main__':
    sys.exit(main())
