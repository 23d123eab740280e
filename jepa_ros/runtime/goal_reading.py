"""From a `PursueGoal` to a goal of the agent; what may take long (bags, text, other processes) has its own thread."""
from ..action import PursueGoal
from ..configurator import goals
from ..configurator.pursuit import Refused
from ..configurator.sentences import Sentences
from .off_thread import off_thread
from .remote_memory import RemoteMemory

CODES = PursueGoal.Result


class GoalReader:
    """Reads for `node`, an OrganNode that is being configured. Loads the text encoder with the first sentence."""

    def __init__(self, node):
        self._node = node
        self._sentences = Sentences()
        self.remote = RemoteMemory(node)    # asked where this process has no memory organ

    async def read(self, request: PursueGoal.Goal, task: str):
        """The goal that is given, or None for one that the task knows; and the task, which a sentence may name."""
        agent, kinds = self._node.agent, PursueGoal.Goal
        token = agent.configurator.tasks[task].modulation
        if request.kind == kinds.IMAGE:
            return goals.from_image(agent, request.image, token), task
        if request.kind == kinds.READOUT:
            return goals.from_readouts(agent, request.names, request.values), task
        if request.kind == kinds.BAG:
            return await self.off_thread(lambda: goals.from_bag(agent, request.bag, request.bag_time, token)), task
        if request.kind == kinds.SENTENCE:
            memory = agent.memory if agent.memory.attended else self.remote
            return await self.off_thread(lambda: goals.from_sentence(
                agent, self._sentences, request.sentence, request.task, task, memory))
        if request.kind == kinds.OWN:
            return None, task
        raise Refused(CODES.BAD_GOAL, f'kind {request.kind} is unknown; use IMAGE (0), READOUT (1), BAG (2), SENTENCE '
                                      '(3) or OWN (4)')

    def off_thread(self, work):
        """Await work that may take long while the executor goes on."""
        return off_thread(self._node.executor, work, 'goal')
