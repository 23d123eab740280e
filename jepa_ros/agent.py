"""The agent: LeCun's six organs over one set of weights, loaded from and saved to one checkpoint (LeCun §3, Fig. 2)."""
from collections.abc import Sequence
import dataclasses
from dataclasses import dataclass, field
import logging
from pathlib import Path
import threading

import numpy as np
import torch
from torch import nn, Tensor

from jepa_ros import checkpoint
from jepa_ros.actor.actor import Actor
from jepa_ros.actor.arbiter import Arbiter
from jepa_ros.actor.explorer import Explorer
from jepa_ros.actor.planner_file import load_planners
from jepa_ros.actor.planners import PlannerConfig, PLANNERS
from jepa_ros.actor.policy import Policy
from jepa_ros.checkpoint import ModelCard
from jepa_ros.configurator.for_agent import configurator_for
from jepa_ros.cost.cost import Cost, Goal
from jepa_ros.cost.critic import Critic
from jepa_ros.cost.intrinsic import term_set_sha256
from jepa_ros.errors import CheckpointError, ConfigError, CostError
from jepa_ros.memory.memory import Memory
from jepa_ros.perception.perception import Perception
from jepa_ros.robot.contract import Observation, RobotContract
from jepa_ros.world_model.hjepa import HJEPA, ModelConfig
from jepa_ros.world_model.world_model import WorldModel

# For a model that says nothing else. Level 0 looks one macro-period ahead, level 1 five seconds.
DEFAULT_PLANNERS = (PlannerConfig(samples=32, iterations=2, horizon=8, elites=4, correlation=0.7),
                    PlannerConfig(samples=64, iterations=3, horizon=7, elites=8, correlation=0.5))

LEARNING = ('critic', 'policy', 'world_model')      # organs whose weights may change while the agent runs

# What building from a damaged card may end in: the card's inner parts are checked by being built.
_UNUSABLE = (ConfigError, TypeError, ValueError, LookupError, ArithmeticError, RuntimeError)


def _one_line(error: Exception | str) -> str:
    return ' '.join(str(error).split())[:200]


class Networks(nn.Module):
    """Everything with weights."""

    def __init__(self, config: ModelConfig, observations: Sequence[Observation], card: ModelCard):
        super().__init__()
        size = config.perception.task_dim
        for name in ('policy_tokens', 'critic_tokens'):
            if size and getattr(card, name) not in (0, size):
                raise ConfigError(f'{name} is {getattr(card, name)}: the task token of this model has {size} numbers')
        self.world_model = HJEPA(config, observations)
        recalled = self.world_model.levels[0].config.recalled
        if card.policy_recalled not in (0, recalled):
            raise ConfigError(f'policy_recalled is {card.policy_recalled}: memory says {recalled} numbers to level 0')
        self.policy = Policy(config.dim, config.action_dim, card.policy_chunk, card.policy_width, card.policy_doubts,
                             card.policy_tokens, card.policy_recalled)
        self.critic = Critic(config.dim, card.critic_width, card.critic_quantiles, card.critic_tokens)


@dataclass
class InForce:
    """Which of an organ's learned weights are in force; kept by runtime/model_update.py."""

    version: int = 0            # 0: the checkpoint's
    sha256: str = ''            # of the update they came with
    replaced: dict[str, Tensor] = field(default_factory=dict)   # values before that update, of all that it changed


class Agent:
    """Six organs sharing `networks`. Made by `load`, or by `create` for an untrained one."""

    def __init__(self, networks: Networks, card: ModelCard, contract: RobotContract, device: str = 'cpu',
                 tasks: str = ''):
        # Held while a plan is made, and while learned weights are put in their place: no plan sees half of them.
        self.weights_lock = threading.Lock()
        self.in_force = {organ: InForce() for organ in LEARNING}
        self.networks, self.card, self.contract, self.device = networks.to(device).eval(), card, contract, device
        for parameter in networks.parameters():
            parameter.requires_grad_(False)
        self.host: dict[str, Tensor] | None = None      # weights in force, where they are on another device; see mirror
        self._tasks = tasks
        model = networks.world_model
        readouts = list(contract.readout_names)[:model.config.readouts]     # an imported model may have none
        self.perception = Perception(model, readouts)
        self.world_model = WorldModel(model, contract.control_period_s, contract.action_low, contract.action_high,
                                      list(contract.action_names), readouts, contract.action_max_rate)
        self.memory = Memory(model.config.dim)
        self.world_model.recollection = self.memory.reader()
        self.cost = Cost(model, readouts, networks.critic, contract.drives)
        self.actor = self.new_actor()
        self.configurator = configurator_for(self, card.goal_tolerance, tasks)

    @property
    def model_id(self) -> str:
        """First twelve digits of the weights' sha256; 'untrained' for a fresh agent."""
        return self.card.sha256[:12] or 'untrained'

    @property
    def versions(self) -> dict[str, int]:
        """Which version of the weights of each organ that learns is in force; 0 is the checkpoint's."""
        return {organ: state.version for organ, state in self.in_force.items()}

    def mirror(self) -> None:
        """Keep the weights on the host as well, if they are elsewhere: `on_cpu` needs them when a device is lost."""
        if torch.device(self.device) != torch.device('cpu'):
            self.host = {name: value.detach().to('cpu', copy=True)
                         for name, value in self.networks.state_dict().items()}

    def on_cpu(self) -> 'Agent':
        """The same agent on the CPU: weights in force, memory and tasks; no goal. Reads nothing from its device.

        ConfigError where `mirror` was not called before.
        """
        if self.host is None:
            raise ConfigError(f'the weights are on {self.device} alone: call mirror first')
        networks = Networks(self.card.model_settings(), self.contract.observations, self.card)
        networks.load_state_dict(self.host)
        moved = Agent(networks, self.card, self.contract, 'cpu', self._tasks)
        moved.in_force, moved.memory = self.in_force, self.memory
        moved.world_model.recollection = self.world_model.recollection
        return moved

    @classmethod
    def create(cls, contract: RobotContract, seed: int = 0, name: str = 'untrained',
               config: ModelConfig | None = None, planners: Sequence[PlannerConfig] = DEFAULT_PLANNERS) -> 'Agent':
        """An agent with random weights that fits the contract; as many of `planners` as the model has levels."""
        if config is None:
            config = ModelConfig(action_dim=len(contract.action_names), readouts=len(contract.readout_names))
        torch.manual_seed(seed)
        card = ModelCard(name=name, contract_sha256=contract.sha256(), contract=contract.model_dump(mode='json'),
                         architecture=config.model_dump(mode='json'), goal_tolerance=0.02,
                         planners=[dataclasses.asdict(p) for p in planners[:len(config.levels)]],
                         policy_recalled=config.levels[0].recalled,
                         policy_chunk=planners[0].horizon, term_set_sha256=term_set_sha256())
        return cls(Networks(config, contract.observations, card), card, contract)

    @classmethod
    def load(cls, model: str | Path, *, contract: RobotContract | None = None, device: str = 'auto',
             planners: str = '', tasks: str = '') -> 'Agent':
        """Load a checkpoint for a robot; `planners`, a name or file, replaces its planner settings; `tasks`, a file or
        folder, goes before the shipped tasks.

        CheckpointError in one line when it is damaged or for another contract, ConfigError when planners do not fit.
        """
        folder = checkpoint.find(model)
        card, tensors = checkpoint.read(folder, contract)
        if device == 'auto':
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        elif device != 'cpu' and not torch.cuda.is_available():
            raise ConfigError(f'device {device!r} asked for, but no GPU is available to PyTorch here: choose cpu')
        try:
            own = contract or RobotContract.model_validate(card.contract)
            networks = Networks(card.model_settings(), own.observations, card)
            for planner in card.planner_settings():
                PLANNERS.get(planner.method)
        except _UNUSABLE as error:
            kind = '' if isinstance(error, ConfigError) else f'{type(error).__name__}: '
            raise CheckpointError(f'{folder / checkpoint.CARD}: contract, architecture or planners cannot be used '
                                  f'({kind}{_one_line(error)}): copy the checkpoint again') from None
        if own.sha256() != card.contract_sha256:
            raise CheckpointError(f'{folder / checkpoint.CARD}: contract_sha256 is not that of the contract in it: it '
                                  'was changed after training; copy the checkpoint again or train a new one')
        try:
            networks.load_state_dict(tensors)
        except RuntimeError as error:
            first = str(error).splitlines()[1:2] or [str(error)]  # below the heading: the tensor
            raise CheckpointError(f'{folder}: weights do not fit the architecture in {checkpoint.CARD} '
                                  f'({_one_line(first[0])}): copy the checkpoint again') from None
        if planners:
            chosen = load_planners(planners, len(networks.world_model.levels))
            card = card.model_copy(update={'planners': [dataclasses.asdict(p) for p in chosen]})
        warning = checkpoint.other_terms(folder, card)
        if warning:
            logging.getLogger(__name__).warning(warning)
        return cls(networks, card, own, device, tasks)

    def save(self, folder: str | Path) -> None:
        """Write the checkpoint; the card gets the hash of the weights."""
        self.card = checkpoint.write(Path(folder), self.card, self.networks.state_dict())

    def new_actor(self, mode1: bool = True) -> Actor:
        """A further actor over the same weights, with settings of its own; without Mode-1 where that is not wanted."""
        planners = self.card.planner_settings()
        if not mode1:
            return Actor(self.world_model, self.cost, planners, goal_tolerance=self.card.goal_tolerance)
        threshold = self.card.policy_threshold      # where it is known, the critic was taught by the same drives
        arbiter = Arbiter(threshold, self.contract.control_period_s, self.networks.critic) if threshold > 0 else None
        explorer = None     # what was not taught by its own drives acts as it always did
        if self.card.policy_doubts:
            rollout = self.networks.world_model.levels[0].rollout
            explorer = Explorer(self.networks.critic, rollout, len(self.world_model.action_names), planners[0].horizon)
        return Actor(self.world_model, self.cost, planners, self.networks.policy,
                     goal_tolerance=self.card.goal_tolerance, arbiter=arbiter, explorer=explorer)

    def warm_up(self) -> None:
        """Run every organ once, so that the first tick is as quick as the others. Leaves no trace in them."""
        specs = self.networks.world_model.encoder.specs
        state = self.perception.encode({key: np.zeros(spec.shape, spec.dtype) for key, spec in specs.items()})
        actor = self.new_actor()
        try:
            actor.configure(goal=Goal(levels=state.levels), budget_ms=10_000)
        except CostError:       # of an empty percept the readouts may lie where the robot must not be
            actor.configure(goal=None, budget_ms=10_000)
        for _ in range(3):
            decision = actor.act(state)
        self.actor.calibrate(state)
        self.world_model.imagine(0, state.levels[0], decision.actions)
        self.cost.evaluate(state.levels[0][None])
