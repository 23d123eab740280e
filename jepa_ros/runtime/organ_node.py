"""Base of the six organs' nodes: a managed node with an Agent, loaded and warmed up while configuring.

In one process the organs share one AgentSource and with it one copy of the weights (design §3, composition).
"""
from collections.abc import Callable
import gc
import threading

from rclpy.lifecycle import TransitionCallbackReturn

from ..errors import ConfigError
from ..msg import ModelUpdate
from ..robot.contract import RobotContract
from ..robot.learned import LEARNED, learned_text
from .device_loss import described, is_device_error
from .diagnostics import WARN
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
    Param('learn', False, 'let all that can learn while the robot drives do so: learn_critic and adapt together'),
    Param('speed', 1.0, "share of the range of each action that may be used; a task's own holds where it is lower",
          low=0.01, high=1.0),
    Param('torch_threads', 0, 'CPU threads of torch in this process; 0: as many as this model gains from', high=256),
)


class AgentSource:
    """Loads each (model, robot, device, planners, tasks) once and gives the same Agent to all who ask."""

    def __init__(self):
        self._agents: dict[tuple[str, ...], object] = {}
        self._lock, self._threads = threading.Lock(), 0
        self.lost = ''      # why the device that was asked for is of no use any more; empty: it is

    def get(self, model: str, robot: str, device: str, planners: str = '', threads: int = 0, tasks: str = ''):
        """Return the warmed-up Agent; `threads` of torch, 0 for as many as it gains from.

        Raises CheckpointError, ContractError or ConfigError.
        """
        key = (model, robot, device, planners, tasks)
        device = 'cpu' if self.lost else device
        if key not in self._agents:
            self._threads = threads
            agent = self._agents[key] = self._loaded(model, robot, device, planners, tasks)
            agent.mirror()
            # what is loaded stays: else each full collection would take tens of milliseconds out of a plan
            gc.collect()
            gc.freeze()
        return self._agents[key]

    def _loaded(self, model: str, robot: str, device: str, planners: str, tasks: str):
        """A warmed-up Agent, on the CPU where the device turns out to be too small or broken."""
        # here, so that torch is loaded by a configuring organ and by nothing else
        from ..agent import Agent
        contract = RobotContract.load(robot) if robot else None
        try:
            return self._warm(Agent.load(model, contract=contract, device=device, planners=planners, tasks=tasks))
        except RuntimeError as error:
            if device == 'cpu' or not is_device_error(error):
                raise
            self.lose(described(device, error))
        return self._warm(Agent.load(model, contract=contract, device='cpu', planners=planners, tasks=tasks))

    def _warm(self, agent):
        """The agent after all its organs ran once, with as many threads as it gains from."""
        import torch

        from ..world_model import numerics
        torch.set_num_threads(self._threads or numerics.threads(agent.networks))
        agent.warm_up()     # and with that its planner's pace is that of this machine
        return agent

    def lose(self, reason: str) -> None:
        """Note, in any thread, that the device cannot be used any more; the first reason stands."""
        with self._lock:
            self.lost = self.lost or reason

    def move(self) -> None:
        """Build all agents anew on the CPU; for all nodes of a process the first that comes does it."""
        for key, agent in self._agents.items():
            if agent.host is not None:
                self._agents[key] = self._warm(agent.on_cpu())


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
        self.take_agent()
        self.subscribe(ModelUpdate, TOPIC, lambda message: self._inbox.offer(message), EVENTS, always=True)
        self.connect()

    def take_agent(self) -> None:
        """Take the agent that the source has for this node's parameters."""
        p = self.params
        self.agent = self._source.get(p.model, p.robot, p.device, p.planners, p.torch_threads, p.tasks)
        self.contract = self.agent.contract
        self._inbox = Inbox(self.agent, self.LEARNED)
        self.health.figures.update(model_id=self.agent.model_id, device=str(self.agent.device))
        if self._source.lost:
            self.health.report('device', WARN, f'{self._source.lost}: going on on the CPU, with plans as it allows; '
                               'start the agent again to use the device again')

    def connect(self) -> None:
        """Make publishers, subscriptions and services; `agent` and `contract` are there."""
        raise NotImplementedError

    # ---- a device that is lost -----------------------------------------------------------------------------------
    def lose_device(self, error: Exception) -> bool:
        """Whether an error means that the agent's device is lost; it then moves to the CPU. Any thread may ask."""
        agent = self.agent
        if agent is None or agent.host is None or not is_device_error(error):
            return False
        self._source.lose(described(str(agent.device), error))
        return True

    def heedful(self, callback: Callable) -> Callable:
        """`callback` that does nothing where the device is lost, instead of ending the process."""
        def call(*args):
            try:
                return callback(*args)
            except Exception as error:
                if not self.lose_device(error):
                    raise
        return call

    def subscribe(self, message_type: type, topic: str, callback: Callable, *args, **options):
        """As in the base class, and heedful of the device."""
        return super().subscribe(message_type, topic, self.heedful(callback), *args, **options)

    def serve(self, service_type: type, name: str, callback: Callable):
        """As in the base class; while the device is lost the answer says so."""
        def asked(request, response) -> None:
            try:
                callback(request, response)
            except Exception as error:
                if not self.lose_device(error):
                    raise
                raise ConfigError(f'{self._source.lost}: ask again when the agent runs on the CPU') from None
        return super().serve(service_type, name, asked)

    def check_device(self) -> None:
        """Move to the CPU where the device is lost; the gate stops the robot until all organs are there."""
        if self._source.lost and self.agent is not None and self.agent.host is not None:
            self._source.move()
            self.move()

    def move(self) -> None:
        """Let go of the agent and take that on the CPU, which the source has now."""
        was_active, ok = self.active, TransitionCallbackReturn.SUCCESS
        moved = (not was_active or self.trigger_deactivate() == ok) and self.trigger_cleanup() == ok \
            and self.trigger_configure() == ok
        if moved and was_active:
            self.trigger_activate()

    def _beat(self) -> None:
        self.check_device()
        if self._inbox is not None:
            self._inbox.work()      # updates that waited for the end of a plan
            versions = self.agent.versions
            self._say_learned(learned_text({organ: versions[organ] for organ in self.LEARNED}))
        super()._beat()

    def _say_learned(self, versions: str) -> None:
        """Tell which learned weights are in force here: a recording shows who took which update, and when."""
        if versions != self.health.figures.get(LEARNED, ''):
            self.health.figures[LEARNED] = versions
            self.health.changed = True

    def teardown(self) -> None:
        """Let go of the agent."""
        self.agent = self._inbox = None

    @property
    def hardware_id(self) -> str:
        """Name of the robot."""
        return self.contract.name if self.contract else ''
