"""The memory of another process, asked through `query_memory` (design §3, `composition: false`).

Labels are asked for in a thread of the caller's, with a bounded wait; experience comes when it comes.
"""
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
import threading
import time

import numpy as np
from torch import Tensor

from ..configurator.sentences import Silent
from ..errors import ContractError
from ..robot.ros_types import stamp_ns
from ..srv import QueryMemory
from .diagnostics import WARN
from .messages import time_message, torch_tensor

SERVICE = 'query_memory'
WAIT_S = 2.0            # wall seconds until a question counts as not answered
NEWEST = 8192           # triplets that are asked for at most: 14 minutes at 10 Hz, 2 MB of states of 64 numbers
STATES = 16             # of a label
PATIENCE_S = 10.0       # wall seconds after which it is said that landmarks know nothing of before
NOT_THERE = ('query_memory is not there: landmarks grow from what is seen now, and know nothing of what was remembered '
             'before; start the memory node')
END_OF_TIME = 2**31 - 1     # s; the triplets nearest to it are the newest


@dataclass(frozen=True)
class Stretch:
    """Remembered states in the order of their times."""

    stamps_ns: np.ndarray   # (n,) int64
    states: Tensor          # (n, D)


class Experience:
    """What came of a memory, as `Guide.remember` takes it; where a stretch is broken, time tells."""

    def __init__(self, stamps_ns: np.ndarray, states: Tensor):
        order = np.argsort(stamps_ns, kind='stable')
        self._stretch = Stretch(stamps_ns[order], states[order])

    def trajectories(self) -> list[Stretch]:
        """All of it; none where there is nothing."""
        return [self._stretch] if len(self._stretch.stamps_ns) else []


class RemoteMemory:
    """A client of the memory node, owned by `node` while that is configured."""

    def __init__(self, node, wait_s: float = WAIT_S):
        self._client = node.create_client(QueryMemory, SERVICE)
        self._wait_s = wait_s
        node.own(lambda: node.destroy_client(self._client))

    @property
    def ready(self) -> bool:
        """Whether there is a memory to ask."""
        return self._client.service_is_ready()

    def labels(self) -> Mapping[str, Tensor]:
        """Labels with their states, which are asked for when they are looked up. Not for the executor's thread.

        Silent where no answer comes.
        """
        return _Labels(self, self.ask(QueryMemory.Request(kind=QueryMemory.Request.BY_LABEL)).labels)

    def ask(self, request: QueryMemory.Request) -> QueryMemory.Response:
        """The answer, waited for while another thread spins the executor. Silent, ContractError for a refusal."""
        if not self._client.wait_for_service(timeout_sec=self._wait_s):
            raise Silent(self._silence('is not there'))
        answered = threading.Event()
        future = self._client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(self._wait_s):
            self._client.remove_pending_request(future)
            raise Silent(self._silence('does not answer'))
        response = future.result()
        if not response.success:
            raise ContractError(f'memory: {response.message}')
        return response

    def experience(self, then: Callable[[Experience], None]) -> None:
        """Ask for the newest experience; `then` is called by the executor when it has come, or never."""
        newest = time_message(END_OF_TIME * 10**9)
        future = self._client.call_async(QueryMemory.Request(
            kind=QueryMemory.Request.BY_TIME, stamp=newest, count=NEWEST))

        def came(done) -> None:
            response = done.result()
            if response is not None and response.success and len(response.stamps):
                stamps = np.array([stamp_ns(stamp) for stamp in response.stamps], np.int64)
                then(Experience(stamps, torch_tensor(response.states, 'states', (len(stamps), None), 'cpu')))
        future.add_done_callback(came)

    def _silence(self, what: str) -> str:
        return (f'the memory ({self._client.srv_name}) {what} within {self._wait_s:g} s, labelled states are not '
                'known: is its node active?')


class Recollection:
    """Lets landmarks grow from what was remembered before the start, here or in another process when it is there."""

    def __init__(self, memory: RemoteMemory, health):
        self._remote, self._health = memory, health
        self._missing, self._until_s = False, 0.0

    def begin(self, wanted: bool) -> None:
        """An agent whose landmarks know nothing yet; not `wanted` where no task uses any."""
        self._missing, self._until_s = wanted, time.monotonic() + PATIENCE_S

    def go_on(self, agent) -> None:
        """Take over what there is; where there is nothing, at the next call."""
        if not self._missing:
            return
        guide = agent.configurator.guide
        if agent.memory.attended:
            guide.remember(agent.memory)
        elif self._remote.ready:
            self._remote.experience(guide.remember)
        else:
            if time.monotonic() > self._until_s:
                self._health.report('memory', WARN, NOT_THERE)
            return
        self._missing = False
        self._health.clear('memory', 'landmarks know what was remembered before')


class _Labels(Mapping):
    """Label -> its states (n, D), newest first, asked for at the moment."""

    def __init__(self, memory: RemoteMemory, names: list[str]):
        self._memory, self._names = memory, list(names)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        kind = QueryMemory.Request.BY_LABEL
        found = self._memory.ask(QueryMemory.Request(kind=kind, label=name, count=STATES))
        return torch_tensor(found.states, 'states', (None, None), 'cpu')

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
