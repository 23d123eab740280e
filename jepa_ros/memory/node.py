"""`memory`: keeps triplets (time, state, intrinsic energy) and answers `query_memory` (LeCun §2, §3.3, §4.9)."""
from collections import OrderedDict
import sys

import numpy as np

from jepa_ros.msg import Action, Energy, EpisodeEvent, Prediction, State
from jepa_ros.srv import QueryMemory

from ..errors import ContractError
from ..robot.ros_types import stamp_ns
from ..runtime.diagnostics import WARN
from ..runtime.messages import (
    encoded_state,
    intrinsic_energy,
    intrinsic_energy_per_step,
    named,
    tensor_message,
    time_message,
    torch_tensor,
)
from ..runtime.organ_node import OrganNode
from ..runtime.parameters import Param
from ..runtime.process import run
from ..runtime.qos import EVENTS

WAITING = 50          # halves of triplets kept until the other half comes: five seconds at 10 Hz
DEFAULT_COUNT = 8
DEFAULT_GAP_S = 1.0
NOTHING = ([], [0])   # shapes of a Tensor that was not filled


class MemoryNode(OrganNode):
    """Joins state and intrinsic energy by their stamp."""

    ORGAN = 'memory'
    OWN_PARAMETERS = (
        Param('memory_file', '', 'file in which experience and labels outlive the process; empty: none'),
        Param('capacity', 36_000, 'triplets kept at most; 36000 are one hour at 10 Hz', low=1, high=10_000_000),
        Param('remember_imagined', False, 'also keep the states that plans foresee, marked; they give way first'),
    )

    def connect(self) -> None:
        """Open the file, then subscribe to states, energies, actions and episodes."""
        memory, p = self.agent.memory, self.params
        if memory.capacity != p.capacity:
            memory.resize(p.capacity)
        if p.memory_file:
            path = memory.keep_in(p.memory_file, self.agent.model_id)
            for line in memory.warnings:
                self.get_logger().warning(line)
            self.health.figures['memory_file'] = str(path)
            self.get_logger().info(f'{len(memory)} triplets and {len(memory.labels())} labels remembered in {path}')
        memory.attended = True
        self._halves: OrderedDict[int, dict] = OrderedDict()    # stamp in ns -> what came of its triplet
        self._imagined: OrderedDict[int, dict] = OrderedDict()  # the same of imagined futures
        self._actions: OrderedDict[int, np.ndarray] = OrderedDict()     # actions that came before their triplet
        self._episode = ''
        self.subscribe(State, 'state', self._on_state)
        self.subscribe(Energy, 'energy', self._on_energy)
        self.subscribe(Action, 'action', self._on_action)
        self.subscribe(EpisodeEvent, 'episode', self._on_episode, EVENTS)
        if p.remember_imagined:
            self.subscribe(Prediction, 'imagination', self._on_imagination)
        self.serve(QueryMemory, 'query_memory', self._on_query)

    def teardown(self) -> None:
        """Write what is left to the file."""
        if self.agent is not None:
            self.agent.memory.attended = False
            self.agent.memory.close()
        super().teardown()

    def check(self) -> None:
        """Tell of a file that cannot be written."""
        problem = self.agent.memory.problem
        if problem:
            self.health.report('memory_file', WARN, problem)
        else:
            self.health.clear('memory_file', 'the memory file is written again')

    def _on_state(self, message: State) -> None:
        state = encoded_state(message, self.agent.model_id, self.agent.device)
        stamp = stamp_ns(message.header.stamp)
        self._meet(stamp, state=state.levels[0])
        self.agent.memory.know(list(message.readout_names), list(message.readout_values), stamp)

    def _on_energy(self, message: Energy) -> None:
        stamp = stamp_ns(message.header.stamp)
        if message.subject == Energy.PERCEPT:
            self._meet(stamp, energy=intrinsic_energy(message))
        elif self.params.remember_imagined:
            self._meet_imagined(stamp, energies=intrinsic_energy_per_step(message))

    def _on_action(self, message: Action) -> None:
        values = np.array(list(named(message.names, message.values, 'action').values()), np.float32)
        stamp = stamp_ns(message.state_stamp)
        if not self.agent.memory.act(stamp, values):
            _keep(self._actions, stamp, values)

    def _on_episode(self, message: EpisodeEvent) -> None:
        if message.event in (EpisodeEvent.START, EpisodeEvent.GOAL):
            self._episode = message.episode_id
            self.agent.memory.begin(message.episode_id, message.goal_id)
        elif message.episode_id == self._episode:       # what follows belongs to no goal
            self._episode = ''
            self.agent.memory.begin('')

    def _on_imagination(self, message: Prediction) -> None:
        if message.level == 0:
            states = torch_tensor(message.states, 'imagination.states', (message.horizon, None), 'cpu')
            self._meet_imagined(stamp_ns(message.header.stamp), states=states, step_s=message.step_period)

    def _meet(self, stamp: int, **half) -> None:
        triplet = _keep(self._halves, stamp, self._halves.get(stamp, {}) | half)
        if len(triplet) == 2:
            del self._halves[stamp]
            self.agent.memory.store(stamp, **triplet, action=self._actions.pop(stamp, None))
            self.health.figures['triplets'] = str(len(self.agent.memory))

    def _meet_imagined(self, stamp: int, **half) -> None:
        future = _keep(self._imagined, stamp, self._imagined.get(stamp, {}) | half)
        if len(future) == 3:
            del self._imagined[stamp]
            self.agent.memory.foresee(stamp, **future)

    def _on_query(self, request: QueryMemory.Request, response: QueryMemory.Response) -> None:
        memory = self.agent.memory
        recall = self._answer(request, response)
        if recall is not None:
            response.stamps = [time_message(stamp) for stamp in recall.stamps_ns]
            response.states = tensor_message(recall.states)
            response.energies = [float(e) for e in recall.energies]
            response.distances = [float(d) for d in recall.distances]
            response.imagined = [bool(i) for i in recall.imagined]
            response.value = tensor_message(recall.value)
            response.confidence = recall.confidence
        response.size = len(memory)

    def _answer(self, request: QueryMemory.Request, response: QueryMemory.Response):
        """Recall of a request; None where only labels are listed."""
        kinds, memory = QueryMemory.Request, self.agent.memory
        count, stamp = request.count or DEFAULT_COUNT, stamp_ns(request.stamp)
        if request.kind == kinds.BY_STATE:
            return memory.by_state(self._state(request), count, request.imagined)
        if request.kind == kinds.BY_TIME:
            return memory.by_time(stamp, count, request.imagined)
        if request.kind == kinds.AT_TIME:
            if not request.max_gap >= 0.0:
                raise ContractError(f'max_gap is {request.max_gap}: give seconds, 0 for {DEFAULT_GAP_S}')
            return memory.at_time(stamp, request.max_gap or DEFAULT_GAP_S, request.imagined)
        if request.kind == kinds.LABEL:
            if list(request.state.shape) in NOTHING:
                response.labels = [memory.label_moment(request.label, stamp or None)]
            else:
                response.labels = [memory.remember_label(request.label, self._state(request), stamp)]
            return memory.by_label(request.label, 1)
        if request.kind == kinds.BY_LABEL and not request.label:
            response.labels = sorted(memory.labels())
            return None
        if request.kind == kinds.BY_LABEL:
            recall = memory.by_label(request.label, count)
            response.labels = [request.label] * len(recall.stamps_ns)
            return recall
        if request.kind == kinds.ENTITIES:
            self._say_known(memory.known(request.label), response)
            return None
        raise ContractError(f'kind {request.kind} is unknown; use BY_STATE (0), BY_TIME (1), AT_TIME (2), '
                            'BY_LABEL (3), LABEL (4) or ENTITIES (5)')

    def _say_known(self, known, response: QueryMemory.Response) -> None:
        """Values by name, since when they hold, and how many seconds ago they were seen."""
        newest = int(known.seen_ns.max()) if len(known) else 0
        response.labels, response.states = list(known.names), tensor_message(known.values[:, None])
        response.stamps = [time_message(max(0, int(stamp))) for stamp in known.changed_ns]
        response.distances = [(newest - int(stamp)) * 1e-9 for stamp in known.seen_ns]

    def _state(self, request: QueryMemory.Request):
        return torch_tensor(request.state, 'state', (None,), self.agent.device)


def _keep(waiting: OrderedDict, stamp: int, value):
    """Put a value under its stamp; of too many the oldest go."""
    waiting[stamp] = value
    while len(waiting) > WAITING:
        waiting.popitem(last=False)
    return value


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run(lambda: [MemoryNode()], args)


if __name__ == '__main__':
    sys.exit(main())
