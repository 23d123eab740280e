"""A task's token reaches the organs by messages alone: three nodes, each with an agent of its own."""
import time

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import Header
import torch

from jepa_ros.actor.node import ActorNode
from jepa_ros.agent import Agent, Networks
from jepa_ros.configurator.configurator import Settings
from jepa_ros.cost.cost import Goal
from jepa_ros.cost.node import CostNode
from jepa_ros.msg import Action, Configuration, Energy, Prediction, State
from jepa_ros.perception.config import PerceptionConfig
from jepa_ros.perception.perception import EncodedState
from jepa_ros.robot.contract import RobotContract
from jepa_ros.runtime import qos
from jepa_ros.runtime.messages import fill_configuration, state_message, time_message
from jepa_ros.world_model.config import LevelConfig, ModelConfig
from jepa_ros.world_model.node import WorldModelNode

HEARD = {'prediction': Prediction, 'energy': Energy, 'action': Action}
S, GOAL = torch.linspace(-1, 1, 64), torch.linspace(1, -1, 64)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A checkpoint whose predictor, policy and critic take a token, as if trained with it."""
    contract, made = RobotContract.load('two_rooms'), tmp_path_factory.mktemp('tokens')
    config = ModelConfig(perception=PerceptionConfig(task_dim=2, task_names=['hurry', 'care']),
                         levels=(LevelConfig(width=32, task=True),))
    fresh = Agent.create(contract, config=config)
    card = fresh.card.model_copy(update={'policy_tokens': 2, 'critic_tokens': 2})
    torch.manual_seed(0)
    networks = Networks(config, contract.observations, card)
    with torch.no_grad():
        networks.world_model.levels[0].task_weight.normal_(std=3.0)
    Agent(networks, card, contract).save(made)
    return made


@pytest.fixture
def bench(ros, folder):
    """`tell(version, token)`: what each organ says of the same state under that task, by topic."""
    executor, other = SingleThreadedExecutor(), rclpy.create_node('other')
    nodes = [kind(parameter_overrides=[Parameter('model', value=str(folder))])
             for kind in (WorldModelNode, CostNode, ActorNode)]
    for node in (other, *nodes):
        executor.add_node(node)
    for node in nodes:
        assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    heard: dict[str, list] = {topic: [] for topic in HEARD}
    for topic, kind in HEARD.items():
        other.create_subscription(kind, topic, heard[topic].append, qos.STREAM)
    states = other.create_publisher(State, 'state', qos.STREAM)
    configurations = other.create_publisher(Configuration, 'configuration', qos.LATCHED)

    def wait(condition):
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, 'waited in vain'
            executor.spin_once(timeout_sec=0.05)
    wait(lambda: states.get_subscription_count() == configurations.get_subscription_count() == 3)
    wait(lambda: all(other.count_publishers(topic) for topic in HEARD))

    def tell(version: int, token: dict) -> dict:
        message = Configuration(version=version, active=True, task=f'task {version}', budget_ms=50.0,
                                mode=Configuration.REACTIVE)
        fill_configuration(message, Settings(version, True, goal=Goal(levels=(GOAL,)), modulation=token))
        configurations.publish(message)
        wait(lambda: all(node.health.figures.get('task') == f'task {version}' for node in nodes[1:]))
        wait(lambda: _values(nodes[0].agent.world_model._task) == [token.get(name, 0.0) for name in ('hurry', 'care')])
        stamp = time_message(version * 10**9)
        states.publish(state_message(EncodedState((S,), {}), nodes[0].agent.model_id, Header(stamp=stamp)))

        def said():
            return {topic: m for topic, messages in heard.items() for m in messages if _of(topic, m) == stamp}
        wait(lambda: len(said()) == len(HEARD))
        return said()
    yield tell
    for node in nodes:
        node.trigger_deactivate()
        node.trigger_cleanup()
    executor.shutdown()
    for node in (*nodes, other):
        node.destroy_node()


def _values(task) -> list[float]:
    return [0.0, 0.0] if task is None else task.tolist()


def _of(topic: str, message):
    return message.state_stamp if topic == 'action' else message.header.stamp


def test_two_tasks_differ_in_prediction_energy_and_action_by_messages_alone(bench):
    plain, hurry, care, again = (bench(version, token) for version, token in enumerate(
        ({}, {'hurry': 1.0}, {'care': 1.0}, {'hurry': 1.0}), 1))

    def said(of):
        critic = next(term.value for term in of['energy'].terms if term.name == 'critic')
        return bytes(of['prediction'].states.data), critic, tuple(of['action'].values)
    assert all(len({nothing, one, other}) == 3 for nothing, one, other in zip(*map(said, (plain, hurry, care))))
    assert said(hurry)[:2] == said(again)[:2]       # the action is for a moment later, how much later is the clock's
    assert said(hurry)[2] == pytest.approx(said(again)[2], abs=3e-4)
