"""The actor's node when its planner does not end in time."""
import re
import threading
import time

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from jepa_ros.actor.node import ActorNode
from jepa_ros.cost.cost import Goal, Region
from jepa_ros.msg import Action, Configuration, Plan, State
from jepa_ros.runtime import qos
from jepa_ros.runtime.messages import fill_goal, fill_regions, state_message, time_message


@pytest.fixture
def bench(ros, random_model):
    """An active actor and a node that plays perception and configurator."""
    executor = SingleThreadedExecutor()
    other = rclpy.create_node('other')
    actor = ActorNode(parameter_overrides=[
        Parameter('model', value=str(random_model)), Parameter('late_s', value=0.05)])
    for node in (other, actor):
        executor.add_node(node)
    assert actor.trigger_configure() == actor.trigger_activate() == TransitionCallbackReturn.SUCCESS

    def wait(condition):
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, 'waited in vain'
            executor.spin_once(timeout_sec=0.05)
    yield actor, other, wait
    actor.trigger_deactivate()
    actor.trigger_cleanup()
    executor.shutdown()
    actor.destroy_node()
    other.destroy_node()


def test_a_planner_that_hangs_is_replaced_by_mode_1_until_it_ends(bench):
    actor, other, wait = bench
    hanging, go_on, plan = threading.Event(), threading.Event(), actor.agent.actor.act

    def hang(*args, **kwargs):
        hanging.set()
        assert go_on.wait(10)
        return plan(*args, **kwargs)
    actor.agent.actor.act = hang
    heard, see = _pursuing(bench)
    see(10**9)
    wait(hanging.is_set)
    late = time.monotonic() + 0.06
    wait(lambda: time.monotonic() > late)
    see(2 * 10**9)
    wait(lambda: heard['plan'])
    assert heard['action'][0].mode == Action.REACTIVE and heard['action'][0].state_stamp.sec == 2
    assert re.fullmatch(r'no plan for 0\.\d\d s: Mode-1 acts', heard['plan'][0].degradation)
    go_on.set()
    see(3 * 10**9)
    wait(lambda: heard['action'][-1].mode == Action.PLANNED and heard['action'][-1].state_stamp.sec == 3)
    stamps = [a.state_stamp.sec for a in heard['action']]
    assert 1 not in stamps and stamps == sorted(stamps)  # its plan came after the reflex to the second state


def test_regions_of_the_configuration_reach_the_planner(bench):
    heard, see = _pursuing(bench, [Region({'x_m': 0.5, 'y_m': 0.0}, 0.25)])
    see(10**9)
    bench[2](lambda: heard['plan'])
    bounds = bench[0].agent.actor._settings[0].bounds
    assert bounds.radius.tolist() == [0.25] and bounds.centre.tolist() == [[0.5, 0.0]]


def _pursuing(bench, regions=()):
    """The actor has a goal; what it says is heard, and `see(stamp_ns)` shows it a state."""
    actor, other, wait = bench
    heard: dict[str, list] = {'action': [], 'plan': []}
    other.create_subscription(Action, 'action', heard['action'].append, qos.STREAM)
    other.create_subscription(Plan, 'plan', heard['plan'].append, qos.STREAM)
    states = other.create_publisher(State, 'state', qos.STREAM)
    configurations = other.create_publisher(Configuration, 'configuration', qos.LATCHED)
    wait(lambda: all(p.get_subscription_count() == 1 for p in (states, configurations))
         and all(other.count_publishers(topic) for topic in heard))

    shape = actor.agent.networks.world_model.encoder.specs['overhead'].shape
    encoded = actor.agent.perception.encode({'overhead': _grey(shape)})
    configuration = Configuration(version=1, active=True, task='reach', budget_ms=50.0)
    fill_goal(configuration, Goal(levels=encoded.levels))
    fill_regions(configuration, regions)
    configurations.publish(configuration)
    wait(lambda: 'task' in actor.health.figures)

    def see(stamp_ns):
        states.publish(state_message(encoded, actor.agent.model_id, Header(stamp=time_message(stamp_ns))))
    return heard, see


def _grey(shape) -> np.ndarray:

    return np.full(shape, 128, np.uint8)
