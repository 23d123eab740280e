"""The agent: six organs over one set of weights."""
import subprocess
import sys

import numpy as np
import pytest
import tiny
import torch

from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.agent import Agent
from jepa_ros.cost.cost import Goal
from jepa_ros.errors import ConfigError, CostError
from jepa_ros.robot.contract import RobotContract

ORGANS = ('perception', 'world_model', 'cost', 'actor', 'memory', 'configurator')


@pytest.fixture
def agent() -> Agent:
    return tiny.agent()


@pytest.fixture
def twins(agent, tmp_path) -> tuple[Agent, Agent]:
    agent.save(tmp_path / 'tiny')
    return agent, Agent.load(tmp_path / 'tiny', contract=tiny.contract(), device='cpu')


def test_has_the_six_organs_of_the_paper(agent):
    """LeCun §2, Fig. 2: perception, world model, cost, actor, short-term memory, configurator."""
    assert all(hasattr(agent, organ) for organ in ORGANS)


def test_organs_share_one_set_of_weights(agent):
    with torch.no_grad():
        next(agent.networks.world_model.levels[0].predictor.parameters()).add_(1.0)
    s = torch.zeros(6)
    assert torch.equal(agent.world_model.predict(s, np.zeros(2)),
                       agent.actor._world.model.levels[0].predict(s, agent.world_model.scale_actions(np.zeros(2))))


def test_a_loaded_agent_perceives_predicts_values_and_plans_like_the_saved_one(twins):
    results = []
    for agent in twins:
        state = agent.perception.encode({'overhead': tiny.image(1)})
        goal = Goal(levels=agent.perception.encode({'overhead': tiny.image(2)}).levels)
        agent.cost.configure(goal=goal, weights={'critic': 1.0})
        agent.actor.configure(goal=goal, budget_ms=60_000)
        actions = agent.actor.act(state).actions
        imagined = agent.world_model.imagine(0, state.levels[0], actions)
        agent.actor.configure(goal=goal, mode='reactive')
        results.append((state.levels[0], actions, imagined.states, imagined.readouts,
                        agent.cost.evaluate(imagined.states).total, agent.actor.act(state).actions))
    for one, other in zip(*results):
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_the_model_id_begins_the_hash_of_the_weights(twins):
    saved, loaded = twins
    assert saved.model_id == loaded.model_id == loaded.card.sha256[:12] != 'untrained'
    assert tiny.agent().model_id == 'untrained'


def test_a_checkpoint_brings_its_own_contract(agent, tmp_path):
    agent.save(tmp_path / 'tiny')
    assert Agent.load(tmp_path / 'tiny').contract == tiny.contract()


def test_a_policy_s_chunk_is_as_long_as_the_plans_it_learns_from(tmp_path):
    agent = Agent.create(tiny.contract(), config=tiny.model_config(), planners=[PlannerConfig(horizon=5)] * 2)
    agent.save(tmp_path / 'five')
    assert agent.networks.policy.chunk == Agent.load(tmp_path / 'five').networks.policy.chunk == 5


def test_an_agent_can_be_made_for_a_shipped_robot():
    agent = Agent.create(RobotContract.load('two_rooms'))
    state = agent.perception.encode({'overhead': np.zeros((64, 64, 3), np.uint8)})
    assert list(state.readouts) == ['x_m', 'y_m'] and agent.world_model.action_names == ['vx_mps', 'vy_mps']


def test_the_same_seed_makes_the_same_agent():
    one, other, third = (tiny.agent(seed=seed).networks.state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], third[name]) for name in one)


def test_nothing_is_left_to_train_and_norms_are_frozen(agent):
    assert not any(p.requires_grad for p in agent.networks.parameters())
    assert not agent.networks.training


def test_warming_up_leaves_no_trace(agent):
    other = tiny.agent()
    agent.warm_up()
    assert len(agent.memory) == 0
    assert agent.cost.settings == other.cost.settings
    with pytest.raises(ConfigError, match='the actor has no goal'):
        agent.actor.act(agent.perception.encode({'overhead': tiny.image()}))
    state, goal = (agent.perception.encode({'overhead': tiny.image(i)}) for i in (1, 2))
    plans = []
    for each in (agent, other):
        each.actor.configure(goal=Goal(levels=goal.levels), budget_ms=60_000)
        plans.append(each.actor.act(state).actions)
    assert np.array_equal(*plans)


def test_a_robot_without_readouts_can_be_driven_to_a_goal_state():
    contract = tiny.contract().model_copy(update={'readouts': []})
    agent = Agent.create(contract, config=tiny.model_config(readouts=0))
    agent.warm_up()
    state = agent.perception.encode({'overhead': tiny.image()})
    agent.actor.configure(goal=Goal(levels=state.levels), budget_ms=60_000)
    decision = agent.actor.act(state)
    assert agent.world_model.imagine(0, state.levels[0], decision.actions).readouts.shape == (8, 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_a_gpu_that_is_not_there_is_refused_in_one_line(agent, tmp_path):
    agent.save(tmp_path / 'tiny')
    with pytest.raises(ConfigError, match="device 'cuda' asked for, but no GPU"):
        Agent.load(tmp_path / 'tiny', device='cuda')


def test_organs_agent_and_training_import_no_ros():
    """They run on a machine without ROS: nothing of rclpy or of the generated messages is loaded with them."""
    code = f"""
import importlib, pkgutil, sys
for organ in ("energy", *{ORGANS}, "training"):
    package = importlib.import_module("jepa_ros." + organ)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith(".node"):
            importlib.import_module(module.name)
import jepa_ros.agent
print([m for m in sys.modules if m.split(".")[0] in ("rclpy", "rosidl_runtime_py", "sensor_msgs")
       or m.startswith(("jepa_ros.runtime", "jepa_ros.msg", "jepa_ros.srv", "jepa_ros.action"))])
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, '[]'), done.stderr


DRIVES = 'drives:\n  limits: [{readout: x_m, low: 100.0, high: 101.0}]\n  clearance: [{readout: y_m, least: 2.0}]\n'


def test_drives_of_the_contract_are_felt_also_by_a_model_that_was_trained_before(agent, tmp_path):
    agent.save(tmp_path / 'tiny')
    fearful = Agent.load(tmp_path / 'tiny', contract=tiny.contract(tiny.CONTRACT + DRIVES), device='cpu')
    terms = {t.name: t.value for t in fearful.cost.evaluate(torch.zeros(1, 6)).terms}
    assert terms['readout_limits'] > 1000 and terms['clearance'] > 0
    assert {t.name: t.value for t in agent.cost.evaluate(torch.zeros(1, 6)).terms}['readout_limits'] == 0


def test_warms_up_and_calibrates_where_no_goal_can_be():
    """What an empty percept reads out may be forbidden; so may be the place where the robot wakes up."""
    agent = Agent.create(tiny.contract(tiny.CONTRACT + DRIVES), config=tiny.model_config())
    agent.warm_up()
    state = agent.perception.encode({'overhead': tiny.image(1)})
    agent.actor.calibrate(state)
    with pytest.raises(CostError, match='drives.limits of the robot contract for x_m'):
        agent.actor.configure(goal=Goal(levels=state.levels))
