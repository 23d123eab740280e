"""Sends an organ of a checkpoint to the running agent as a `ModelUpdate`, and says who took it (design §3).

For what is learned beside the agent: a policy that `jepa-ros distill` made comes into force without a restart. What the
agent cannot use is refused here, before anything is sent; what its nodes refuse is told in their words.
"""
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
import time
from typing import Any, TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticStatus
import rclpy
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient

from .. import checkpoint
from ..errors import CheckpointError, ConfigError
from ..msg import ModelUpdate
from ..robot.learned import LEARNED, learned_versions
from .model_update import FIXED, pack, PARTIAL, TOPIC
from .qos import EVENTS, HEARTBEATS
from .ros import init
from .spinner import Spinner

if TYPE_CHECKING:
    from torch import Tensor

    from ..agent import Agent

DISCOVERY_S = 5.0       # how long to look for the agent
ANNOUNCED_S = 3.5       # within which every process of the network has said that it is there (DDS: every 3 s)
ACKNOWLEDGED_S = 5.0    # wall seconds that others who listen have to get it
ANSWER_S = 10.0         # how long its nodes have to take an update; a plan that runs ends first
POLL_S = 0.02
REFUSED = f'dropped {TOPIC}: '      # of the figures in a heartbeat, see `ManagedNode.drop`


@dataclass(frozen=True)
class Sent:
    """What became of an update."""

    organ: str
    version: int
    note: str
    taken: tuple[str, ...]                                      # nodes in which it is in force
    refused: dict[str, str] = field(default_factory=dict)       # node -> its line

    @property
    def in_force(self) -> bool:
        """Whether all that use the organ took it."""
        return not self.refused


def users(organ: str) -> tuple[str, ...]:
    """Names of the nodes that use an organ's learned weights."""
    from .composition import NODES
    return tuple(node.ORGAN for node in NODES if organ in node.LEARNED)


def tensors_for(agent: 'Agent', folder: Path, organ: str, version: int = 0) -> tuple[dict[str, 'Tensor'], str]:
    """What a checkpoint holds of an organ for the running `agent`, and what is to be said of it.

    `version` is the one in force. CheckpointError where it belongs to another robot or was learned on the states of
    another encoder, or brings nothing new; whether its tensors fit is `check`'s to say.
    """
    card, tensors = checkpoint.read(folder, agent.contract)
    own = agent.networks.state_dict()
    strange = [name for name in own if name.startswith('world_model.encoder.')
               and (name not in tensors or not tensors[name].equal(own[name].cpu()))]
    if strange:
        raise CheckpointError(f'{folder}: its {organ} was learned on the states of another encoder than that of '
                              f'{agent.card.name}, which runs: make it from that checkpoint (jepa-ros distill)')
    found = {name.removeprefix(f'{organ}.'): value for name, value in tensors.items() if name.startswith(f'{organ}.')}
    note = f'from {card.name} {card.sha256[:12]}'
    if organ == 'policy' and agent.networks.policy.doubt is None and any(n.startswith('doubt.') for n in found):
        found = {name: value for name, value in found.items() if not name.startswith('doubt.')}
        note += ', without its doubt: the running policy has none, and mode auto always plans'
    elif organ == 'policy' and card.policy_threshold != agent.card.policy_threshold:
        note += (f'; mode auto goes on with the threshold {agent.card.policy_threshold:.3g} (calibrated for this one: '
                 f'{card.policy_threshold:.3g})')
    new = {name: value for name, value in found.items()
           if f'{organ}.{name}' not in own or not value.equal(own[f'{organ}.{name}'].cpu())}
    if not new and not version:
        raise CheckpointError(f'{folder}: its {organ} is the one of {agent.card.name}, which runs: there is nothing '
                              'to send')
    if organ in PARTIAL:    # what adaptation may have changed has to come too
        found = {name: value for name, value in found.items()
                 if name in new or name.startswith('levels.0.') and not FIXED.match(name)}
    return found, note


def publish(folder: str | Path, organ: str, model: str = '', namespace: str = '') -> Sent:
    """Send the organ of a checkpoint to the agent of a namespace; `model`: the checkpoint it runs, '' asks the actor.

    ConfigError where no agent answers or it runs another checkpoint, CheckpointError as `tensors_for`, UpdateError
    for tensors that do not fit.
    """
    where = checkpoint.find(folder)
    init(args=[])
    node = rclpy.create_node('publish_update', namespace=namespace or None)
    try:
        return _Publisher(node, organ, namespace).run(where, model)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


class _Publisher:
    """One update from the agent's discovery to the answers of its nodes."""

    def __init__(self, node, organ: str, namespace: str):
        self._node, self._organ, self._namespace = node, organ, namespace
        self._said: dict[str, dict[str, str]] = {}      # node -> figures of its newest heartbeat
        self._users = users(organ)
        node.create_subscription(DiagnosticStatus, 'heartbeat', self._on_heartbeat, HEARTBEATS)
        self._publisher = node.create_publisher(ModelUpdate, TOPIC, EVENTS)
        self._actor = AsyncParameterClient(node, 'actor')
        self._began_s = time.monotonic()

    def run(self, folder: Path, model: str) -> Sent:
        """Find the agent, send it the organ of the checkpoint, and wait for what its nodes say."""
        with Spinner(self._node) as spinner:
            self._find()
            asked = self._ask(spinner)
            agent = self._agent(model or asked['model'])
            version = max(map(self._version, self._users))
            tensors, note = tensors_for(agent, folder, self._organ, version)
            message = pack(agent, self._organ, tensors, note, version)
            message.header.stamp = self._now(spinner, asked['use_sim_time'])
            before = {name: self._refusals(name) for name in self._users}
            self._wait(self._matched, ANNOUNCED_S + DISCOVERY_S)
            spinner.call(lambda: self._publisher.publish(message))
            self._wait(lambda: all(self._version(name) >= message.version or self._refusals(name) != before[name]
                                   for name in self._users), ANSWER_S)
            self._publisher.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_S))    # a recorder's answer is this alone
        taken = tuple(name for name in self._users if self._version(name) >= message.version)
        refused = {name: self._line(name, before[name]) for name in self._users if name not in taken}
        return Sent(self._organ, int(message.version), note, taken, refused)

    def _find(self) -> None:
        if not self._wait(lambda: all('model_id' in self._said.get(name, {}) for name in self._users), DISCOVERY_S):
            missing = [name for name in self._users if 'model_id' not in self._said.get(name, {})]
            raise ConfigError(f'no agent answers in namespace {self._namespace or "/"} ({", ".join(missing)}): start '
                              'it with jepa-ros up, or set ROS_DOMAIN_ID or --namespace to its own')

    def _ask(self, spinner: Spinner) -> dict[str, Any]:
        """The checkpoint that the actor was started with, and its clock."""
        names = ['model', 'use_sim_time']
        if not self._wait(self._actor.services_are_ready, DISCOVERY_S):
            raise ConfigError('the actor does not tell its parameters: give the checkpoint it runs with --model')
        answer = spinner.call(lambda: self._actor.get_parameters(names))
        if not self._wait(answer.done, DISCOVERY_S):
            raise ConfigError('the actor did not tell its parameters: give the checkpoint it runs with --model')
        return {name: rclpy.parameter.parameter_value_to_python(value)
                for name, value in zip(names, answer.result().values)}

    def _agent(self, model: str) -> 'Agent':
        from ..agent import Agent
        running = self._said[self._users[0]]['model_id']
        try:
            agent = Agent.load(model, device='cpu')
        except CheckpointError as error:
            raise CheckpointError(f'the checkpoint that the agent runs cannot be read here ({error}): give a copy of '
                                  'it with --model') from None
        if agent.model_id != running:
            raise ConfigError(f'the agent runs model {running}, but {model} here is {agent.model_id}: give the '
                              'checkpoint it was started with as --model')
        return agent

    def _now(self, spinner: Spinner, simulated: bool):
        """The agent's time."""
        if simulated:
            spinner.call(lambda: self._node.set_parameters([Parameter('use_sim_time', value=True)]))
            self._wait(lambda: self._node.get_clock().now().nanoseconds > 0, DISCOVERY_S)
        return self._node.get_clock().now().to_msg()

    def _matched(self) -> bool:
        """Whether all who listen are known, and connected: a recorder that is found later would miss the update."""
        if time.monotonic() - self._began_s < ANNOUNCED_S:
            return False
        return self._publisher.get_subscription_count() >= self._node.count_subscribers(TOPIC) >= len(self._users)

    # ---- what the nodes say
    def _on_heartbeat(self, message: DiagnosticStatus) -> None:
        self._said[message.name] = {pair.key: pair.value for pair in message.values}

    def _version(self, name: str) -> int:
        return learned_versions(self._said[name].get(LEARNED, '')).get(self._organ, 0)

    def _refusals(self, name: str) -> Mapping[str, str]:
        return {key: count for key, count in self._said[name].items()
                if key.startswith(f'{REFUSED}{self._organ} version')}

    def _line(self, name: str, before: Mapping[str, str]) -> str:
        new = next((key for key, count in self._refusals(name).items() if before.get(key) != count), None)
        return f'{name} did not take it within {ANSWER_S:g} s' if new is None else \
            f'{name} refused it: {new.removeprefix(REFUSED)}'

    @staticmethod
    def _wait(until: Callable[[], bool], timeout_s: float) -> bool:
        end_s = time.monotonic() + timeout_s
        while not until():
            if time.monotonic() > end_s:
                return False
            time.sleep(POLL_S)
        return True
