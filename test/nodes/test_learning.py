"""Learned weights over topics: the critic learns in the cost node, the actor's process takes it over."""
import time

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import Header
import torch

from jepa_ros.actor.node import ActorNode
from jepa_ros.cost.cost import Goal
from jepa_ros.cost.node import CostNode
from jepa_ros.msg import Action, Configuration, ModelUpdate, Plan, Prediction, State
from jepa_ros.perception.perception import EncodedState
from jepa_ros.runtime import qos
from jepa_ros.runtime.messages import fill_goal, state_message, time_message
from jepa_ros.runtime.model_update import pack, TOPIC

TICK = 10**8
SUCCESS = TransitionCallbackReturn.SUCCESS


class Bench:
    """Nodes under test and one that plays perception and configurator."""

    def __init__(self, nodes):
        self.executor, self.nodes = SingleThreadedExecutor(), nodes
        self.other = rclpy.create_node('other')
        for node in (self.other, *nodes):
            self.executor.add_node(node)
        for node in nodes:
            assert node.trigger_configure() == node.trigger_activate() == SUCCESS, node.failure
        self.heard: dict[str, list] = {TOPIC: [], 'plan': [], 'action': []}
        for topic, kind, profile in ((TOPIC, ModelUpdate, qos.EVENTS), ('plan', Plan, qos.STREAM),
                                     ('action', Action, qos.STREAM)):
            self.other.create_subscription(kind, topic, self.heard[topic].append, profile)
        self.states = self.other.create_publisher(State, 'state', qos.STREAM)
        self.predictions = self.other.create_publisher(Prediction, 'prediction', qos.STREAM)
        self.updates = self.other.create_publisher(ModelUpdate, TOPIC, qos.LATCHED)
        self.configurations = self.other.create_publisher(Configuration, 'configuration', qos.LATCHED)
        self.wait(lambda: all(p.get_subscription_count() >= len(nodes) for p in (self.states, self.configurations,
                                                                                 self.updates)))
        self.agent = nodes[0].agent
        shape = self.agent.networks.world_model.encoder.specs['overhead'].shape
        self.encoded = self.agent.perception.encode({'overhead': np.full(shape, 128, np.uint8)})
        self.now = 10 * TICK

    def wait(self, condition, timeout_s: float = 90.0):
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, 'waited in vain'
            self.executor.spin_once(timeout_sec=0.02)

    def pursue(self, version: int, goal: torch.Tensor) -> None:
        configuration = Configuration(version=version, active=True, task='reach', budget_ms=50.0)
        fill_goal(configuration, Goal(levels=(goal,)))
        self.configurations.publish(configuration)
        settings = [node.agent.cost for node in self.nodes if isinstance(node, CostNode)]
        self.wait(lambda: all(c.settings.goal_state is not None and torch.equal(c.settings.goal_state, goal)
                              for c in settings))

    def ask(self, version: int, readouts: dict[str, float]) -> None:
        configuration = Configuration(version=version, active=True, task='reach', budget_ms=50.0)
        fill_goal(configuration, Goal(readouts=readouts))
        self._configure(configuration, lambda settings: settings.goal_readouts is not None)

    def rest(self, version: int) -> None:
        self._configure(Configuration(version=version, active=False), lambda settings: settings.goal_readouts is None)

    def _configure(self, configuration: Configuration, taken) -> None:
        self.configurations.publish(configuration)
        self.wait(lambda: all(taken(n.agent.cost.settings) for n in self.nodes if isinstance(n, CostNode)))

    def see(self, s: torch.Tensor | None = None, readouts: dict[str, float] | None = None) -> None:
        state = self.encoded if s is None else EncodedState((s, *self.encoded.levels[1:]), readouts or {})
        self.now += TICK
        self.states.publish(state_message(state, self.agent.model_id, Header(stamp=time_message(self.now))))
        for _ in range(3):
            self.executor.spin_once(timeout_sec=0.005)

    def close(self) -> None:
        for node in self.nodes:
            node.trigger_deactivate()
            node.trigger_cleanup()
        self.executor.shutdown()
        for node in (*self.nodes, self.other):
            node.destroy_node()


@pytest.fixture
def bench(ros, random_model):
    """Builds a bench of node classes with their parameters."""
    made = []

    def build(*kinds):
        nodes = [kind(parameter_overrides=[Parameter('model', value=str(random_model)), *(
            Parameter(name, value=value) for name, value in values.items())]) for kind, values in kinds]
        made.append(Bench(nodes))
        return made[-1]
    yield build
    for each in made:
        each.close()


def test_what_the_critic_learns_while_driving_reaches_the_actor_and_its_plans(bench):
    both = bench((CostNode, {'learn_critic': True, 'learn_every_s': 0.2, 'learn_rate': 1e-3}), (ActorNode, {}))
    cost, actor = both.nodes
    assert cost.agent is not actor.agent
    torch.manual_seed(0)
    dim = both.encoded.levels[0].shape[0]
    for episode in range(4):
        goal, start = torch.randn(dim), torch.randn(dim)
        both.pursue(episode + 1, goal)
        for step in range(25):
            both.see(goal + 0.9 ** step * (start - goal))
    both.pursue(9, torch.zeros(dim))
    both.wait(lambda: actor.agent.versions['critic'] > 0 and both.heard[TOPIC])
    update = both.heard[TOPIC][0]
    assert (update.organ, update.version, update.model_id) == ('critic', 1, cost.agent.model_id)
    assert 'held out' in update.note
    both.wait(lambda: actor.agent.versions == cost.agent.versions)
    one, other = (node.agent.networks.critic.state_dict() for node in (cost, actor))
    assert all(torch.equal(one[name], other[name]) for name in one)
    both.see()
    both.wait(lambda: both.heard['plan'] and both.heard['plan'][-1].critic_version > 0)
    both.wait(lambda: both.heard['action'][-1].critic_version > 0)
    assert both.heard['plan'][-1].policy_version == both.heard['plan'][-1].world_model_version == 0
    both.wait(lambda: cost.health.figures.get('learned', '').startswith('critic '))
    assert 'R²' in cost.health.figures['critic']


def test_goals_in_readouts_teach_the_critic_too_once_they_are_reached(bench):
    one = bench((CostNode, {'learn': True, 'learn_every_s': 0.2, 'learn_rate': 1e-3}))
    torch.manual_seed(0)
    dim, there = one.encoded.levels[0].shape[0], {'x_m': 0.5, 'y_m': -0.5}
    for episode in range(4):
        goal, start = torch.randn(dim), torch.randn(dim)
        one.ask(2 * episode + 1, {'x_m': 0.5 + 0.01 * episode})
        for step in range(25):
            one.see(goal + 0.9 ** step * (start - goal), there if step == 24 else {'x_m': -1.0, 'y_m': 0.0})
        one.rest(2 * episode + 2)
    one.wait(lambda: one.heard[TOPIC])
    assert one.heard[TOPIC][0].organ == 'critic' and one.nodes[0].agent.versions['critic'] >= 1


def test_nothing_is_learned_unless_it_is_asked_for(bench):
    one = bench((CostNode, {}))
    one.pursue(1, torch.zeros(one.encoded.levels[0].shape))
    for _ in range(5):
        one.see()
    assert one.nodes[0]._learning is None and not one.heard[TOPIC]


def test_a_refused_update_is_reported_in_one_line_and_changes_nothing(bench):
    one = bench((ActorNode, {}))
    actor = one.nodes[0]
    before = {name: value.clone() for name, value in actor.agent.networks.critic.state_dict().items()}
    message = pack(actor.agent, 'critic', {name: value + 1 for name, value in before.items()})
    message.sha256 = '0' * 64
    one.updates.publish(message)
    one.wait(lambda: any('critic version' in pair.key for pair in actor.health.status('actor', '').values))
    line = next(p for p in actor.health.status('actor', '').values if 'critic version' in p.key)
    assert 'refused: sha# does not match' in line.key and line.value == '1'
    now = actor.agent.networks.critic.state_dict()
    assert all(torch.equal(now[name], before[name]) for name in before) and actor.agent.versions['critic'] == 0


def test_an_update_given_before_the_actor_came_reaches_it(bench, random_model):
    first = bench((CostNode, {}))
    agent = first.nodes[0].agent
    new = {name: value + 1 for name, value in agent.networks.critic.state_dict().items()}
    first.updates.publish(pack(agent, 'critic', new))
    first.wait(lambda: agent.versions['critic'] == 1)
    late = ActorNode(parameter_overrides=[Parameter('model', value=str(random_model))])
    first.executor.add_node(late)
    assert late.trigger_configure() == late.trigger_activate() == SUCCESS
    first.wait(lambda: late.agent.versions['critic'] == 1)
    late.trigger_deactivate()
    late.trigger_cleanup()
    late.destroy_node()


def test_surprise_reaches_the_one_who_chooses_the_mode(bench):
    from jepa_ros.actor.arbiter import Arbiter
    one = bench((ActorNode, {}))
    one.nodes[0].agent.actor._arbiter = Arbiter(0.5)
    one.wait(lambda: one.predictions.get_subscription_count() == 1)
    one.predictions.publish(Prediction(level=0, surprise=42.0))
    one.wait(lambda: one.nodes[0].agent.actor._arbiter.surprise == 42.0)
