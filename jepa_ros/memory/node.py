"""`memory`: keeps triplets (time, state, intrinsic energy) and answers `query_memory` (LeCun §4.9)."""
from collections import OrderedDict
import sys

from jepa_ros.msg import Energy, State
from jepa_ros.srv import QueryMemory

from ..errors import ContractError
from ..robot.ros_types import stamp_ns
from ..runtime.messages import encoded_state, intrinsic_energy, tensor_message, time_message, torch_tensor
from ..runtime.organ_node import OrganNode
from ..runtime.process import run

WAITING = 50          # halves of triplets kept until the other half comes: five seconds at 10 Hz
DEFAULT_COUNT = 8


class MemoryNode(OrganNode):
    """Joins state and intrinsic energy by their stamp."""

    ORGAN = 'memory'

    def connect(self) -> None:
        """Subscribe to states and energies."""
        self._halves: OrderedDict[int, dict] = OrderedDict()  # stamp in ns -> what came of its triplet
        self.subscribe(State, 'state', self._on_state)
        self.subscribe(Energy, 'energy', self._on_energy)
        self.serve(QueryMemory, 'query_memory', self._on_query)

    def _on_state(self, message: State) -> None:
        state = encoded_state(message, self.agent.model_id, self.agent.device)
        self._meet(stamp_ns(message.header.stamp), state=state.levels[0])

    def _on_energy(self, message: Energy) -> None:
        if message.subject == Energy.PERCEPT:
            self._meet(stamp_ns(message.header.stamp), energy=intrinsic_energy(message))

    def _meet(self, stamp: int, **half) -> None:
        triplet = self._halves.setdefault(stamp, {})
        triplet.update(half)
        if len(triplet) == 2:
            self.agent.memory.store(stamp, **self._halves.pop(stamp))
            self.health.figures['triplets'] = str(len(self.agent.memory))
        while len(self._halves) > WAITING:
            self._halves.popitem(last=False)

    def _on_query(self, request: QueryMemory.Request, response: QueryMemory.Response) -> None:
        count, memory = request.count or DEFAULT_COUNT, self.agent.memory
        if request.kind == QueryMemory.Request.BY_STATE:
            recall = memory.by_state(torch_tensor(request.state, 'state', (None,), self.agent.device), count)
        elif request.kind == QueryMemory.Request.BY_TIME:
            recall = memory.by_time(stamp_ns(request.stamp), count)
        else:
            raise ContractError(f'kind {request.kind} is unknown; use BY_STATE (0) or BY_TIME (1)')
        response.stamps = [time_message(stamp) for stamp in recall.stamps_ns]
        response.states = tensor_message(recall.states)
        response.energies = [float(e) for e in recall.energies]
        response.distances = [float(d) for d in recall.distances]
        response.value = tensor_message(recall.value)
        response.size = len(memory)


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run(lambda: [MemoryNode()], args)


if __name__ == '__main__':
    sys.exit(main())
