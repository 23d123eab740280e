"""A trained model on a machine without ROS: the agent loads and plans. Exported models: see test_export."""
import pytest
from without_ros import run

AGENT = """
import numpy as np
from jepa_ros.agent import Agent
from jepa_ros.cli.main import main
from jepa_ros.cost.cost import Goal
agent = Agent.load('two_rooms', device='cpu')
images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
state, goal = (agent.perception.encode({'overhead': image}) for image in images)
agent.actor.configure(goal=Goal(levels=goal.levels), mode='planned', budget_ms=60_000)
decision = agent.actor.act(state)
assert decision.action.shape == (2,) and np.isfinite(decision.action).all() and not decision.degradation
imagined = agent.world_model.imagine(0, state.levels[0], decision.actions)
assert main(['model', 'info', 'two_rooms']) == 0
print('state', imagined.states.shape[1], 'ros', [m for m in sys.modules if m.split('.')[0] == 'rclpy'])
"""


def test_the_shipped_model_loads_plans_and_is_described_without_ros():
    done = run(AGENT)
    assert done.returncode == 0 and 'robot: two_rooms' in done.stdout, done.stderr
    assert done.stdout.endswith('state 64 ros []\n')


@pytest.mark.parametrize('module', ['rclpy', 'sensor_msgs.msg', 'jepa_ros.msg', 'rosidl_runtime_py'])
def test_ros_really_cannot_be_imported_there(module):
    done = run(f'import {module}')
    assert done.returncode == 1 and 'is not installed here' in done.stderr
