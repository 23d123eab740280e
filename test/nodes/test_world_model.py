"""The world model's node when the robot does not do what it did in training."""
import copy
import time

from geometry_msgs.msg import Twist, Vector3
import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from jepa_ros.msg import ModelUpdate, Prediction, State
from jepa_ros.perception.perception import EncodedState
from jepa_ros.runtime import qos
from jepa_ros.runtime.messages import state_message, time_message
from jepa_ros.sim.worlds import make_planar_world
from jepa_ros.world_model.node import WorldModelNode


class Bench:
    """An active world model of the shipped agent, and a robot of which it hears states and commands."""

    def __init__(self, node, other, executor):
        self.node, self._executor = node, executor
        self.updates, self._predictions = [], []
        self._states = other.create_publisher(State, 'state', qos.STREAM)
        self._commands = other.create_publisher(Twist, 'cmd_vel', qos.STREAM)
        other.create_subscription(ModelUpdate, 'model_update', self.updates.append, qos.LATCHED)
        other.create_subscription(Prediction, 'prediction', self._predictions.append, qos.STREAM)
        self.wait(lambda: all(p.get_subscription_count() for p in (self._states, self._commands))
                  and other.count_publishers('prediction'))
        self._rng, self._stamp_ns = np.random.default_rng(0), 10**9
        agent = node.agent
        self._trained = copy.deepcopy(agent.networks.world_model.levels[0])
        image = make_planar_world('two_rooms').image(64)
        self.s = agent.perception.encode({'overhead': image}).levels[0]

    def wait(self, condition, seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, 'waited in vain'
            self._executor.spin_once(timeout_sec=0.02)

    def step(self, gain: float) -> float:
        """One control step in a world where a command does `gain` times what it did; returns the surprise."""
        command = self._rng.uniform(-0.8, 0.8, 2)
        self._commands.publish(Twist(linear=Vector3(x=command[0], y=command[1])))
        self.wait(lambda: np.allclose(np.concatenate(self.node._applied)[:2], command))
        self._tell()
        self.s = self._trained.predict(self.s, self.node.agent.world_model.scale_actions(gain * command))
        self._stamp_ns += 10**8
        return self._tell()

    def _tell(self) -> float:
        heard = len(self._predictions)
        state = EncodedState((self.s,) * 2, {'x_m': 0.0, 'y_m': 0.0})
        header = Header(stamp=time_message(self._stamp_ns))
        self._states.publish(state_message(state, self.node.agent.model_id, header))
        self.wait(lambda: len(self._predictions) > heard)
        return self._predictions[-1].surprise


@pytest.fixture
def bench(ros):
    executor = SingleThreadedExecutor()
    other = rclpy.create_node('robot')
    made: list[WorldModelNode] = []

    def make(**parameters) -> Bench:
        made.append(WorldModelNode(parameter_overrides=[Parameter(n, value=v) for n, v in parameters.items()]))
        for node in (other, made[0]):
            executor.add_node(node)
        assert made[0].trigger_configure() == made[0].trigger_activate() == TransitionCallbackReturn.SUCCESS
        return Bench(made[0], other, executor)
    yield make
    for node in made:
        node.trigger_deactivate()
        node.trigger_cleanup()
        node.destroy_node()
    executor.shutdown()
    other.destroy_node()


def test_a_reversed_robot_is_learned_told_and_foreseen(bench):
    b = bench(adapt=True)
    usual = [b.step(1.0) for _ in range(12)]
    wrong = [b.step(-1.0) for _ in range(10)]
    assert max(usual[1:]) < 1 < 3 < np.mean(wrong)
    for _ in range(60):
        b.step(-1.0)
        if b.updates:
            break
    b.wait(lambda: b.updates)
    assert b.updates[0].organ == 'world_model' and 'what actions do' in b.updates[0].note
    assert b.node.agent.world_model.model.levels[0].action_map[0, 0] < -0.8
    assert np.mean([b.step(-1.0) for _ in range(5)]) < 1


def test_nothing_is_learned_unless_asked_for(bench):
    b = bench()
    assert np.mean([b.step(-1.0) for _ in range(40)]) > 3
    assert b.updates == [] and b.node.agent.versions['world_model'] == 0
