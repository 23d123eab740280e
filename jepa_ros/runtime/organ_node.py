"""Base of the six organs' nodes: a managed node with an Agent, loaded and warmed up while configuring.

In one process the organs share one AgentSource and with it one copy of the weights (design §3, composition).
"""
import gc

from ..msg import ModelUpdate
from ..robot.contract import RobotContract
from .model_update import Inbox, TOPIC
from .node import ManagedNode
from .parameters import Param
from .qos import EVENTS

ORGAN_PARAMETERS = (
    Param('model', 'two_rooms', 'checkpoint: a folder, or the name of a shipped model'),
    Param('robot', '', 'robot contract: a name or a YAML file; empty takes the one inside the checkpoint'),
    Param('planners', '', 'planner settings: a name in config/planners or a YAML file; empty takes those of the model'),
    Param('tasks', '', 'tasks of your own: a YAML file or a folder; their names go before those of config/tasks'),
    Param('device', 'auto', 'where the model runs', choices=('auto', 'cpu', 'cuda')),
    Param('torch_threads', 0, 'CPU threads of torch in this process; 0: as many as this model gains from', high=256),
)


class AgentSource:
    """Loads each (model, robot, device, planners, tasks) once and gives the same Agent to all who ask."""

    def __init__(self):
        self._agents: dict[tuple[str, ...], object] = {}

    def get(self, model: str, robot: str, device: str, planners: str = '', threads: int = 0, tasks: str = ''):
        """Return the warmed-up Agent; `threads` of torch, 0 for as many as it gains from.

        Raises CheckpointError, ContractError or ConfigError.
        """
        key = (model, robot, device, planners, tasks)
        if key not in self._agents:
            # here, so that torch is loaded by a configuring organ and by nothing else
            import torch

            from ..agent import Agent
            from ..world_model import numerics
            agent = Agent.load(model, contract=RobotContract.load(robot) if robot else None, device=device,
                               planners=planners, tasks=tasks)
            torch.set_num_threads(threads or numerics.threads(agent.networks))
            agent.warm_up()
            self._agents[key] = agent
            # what is loaded stays: else each full collection would take tens of milliseconds out of a plan
            gc.collect()
            gc.freeze()
        return self._agents[key]


class OrganNode(ManagedNode):
    """A node that translates for one organ of `agent`. Subclasses name their organ and own parameters."""

    ORGAN = ''
    OWN_PARAMETERS: tuple[Param, ...] = ()
    LEARNED: tuple[str, ...] = ('world_model',)     # organs whose learned weights this one uses

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.PARAMETERS = (*ORGAN_PARAMETERS, *cls.OWN_PARAMETERS)

    def __init__(self, source: AgentSource | None = None, **node_options):
        self.agent = None
        self.contract: RobotContract | None = None
        self._source = source or AgentSource()
        self._inbox = None
        super().__init__(self.ORGAN, **node_options)

    def setup(self) -> None:
        """Load the agent, then let `connect` make the organ's topics and services."""
        import cv2  # noqa: F401  the adapters resize with it: loading it takes 0.5 s, which must not happen while driving
        p = self.params
        self.agent = self._source.get(p.model, p.robot, p.device, p.planners, p.torch_threads, p.tasks)
        self.contract = self.agent.contract
        self.health.figures['model_id'] = self.agent.model_id
        self._inbox = Inbox(self.agent, self.LEARNED)
        self.subscribe(ModelUpdate, TOPIC, self._inbox.offer, EVENTS, always=True)
        self.connect()

    def connect(self) -> None:
        """Make publishers, subscriptions and services; `agent` and `contract` are there."""
        raise NotImplementedError

    def _beat(self) -> None:
        if self._inbox is not None:
            self._inbox.work()      # updates that waited for the end of a plan
            learned = [f'{organ} {version}' for organ, version in self.agent.versions.items() if version]
            if learned:
                self.health.figures['learned'] = ', '.join(learned)
        super()._beat()

    def teardown(self) -> None:
        """Let go of the agent."""
        self.agent = self._inbox = None

    @property
    def hardware_id(self) -> str:
        """Name of the robot."""
        return self.contract.name if self.contract else ''
