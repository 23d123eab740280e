"""The shipped model in the simulated world, without ROS."""
from dataclasses import replace

import numpy as np
import pytest

from jepa_ros.actor.planners import PlannerConfig
from jepa_ros.errors import CheckpointError, ConfigError, WorldError
from jepa_ros.evaluation import closed_loop
from jepa_ros.evaluation.closed_loop import drive, evaluate, flat_planner, load, percept, Settings
from jepa_ros.sim.episodes import start_goal_pairs

SHORT = Settings(max_time_s=8.0)


def without_latency(results):
    return [replace(r, latencies_ms=()) for r in results]


def test_a_seed_gives_the_same_episodes_and_the_shipped_model_reaches_goals():
    first = evaluate(SHORT, 2, seed=1)
    assert without_latency(first) == without_latency(evaluate(SHORT, 2, seed=1))
    assert any(r.success for r in first)
    for r in first:
        assert r.ticks == len(r.latencies_ms) + r.escaping == round(r.duration_s * 10)
        assert r.shortest_m > 0.2
        assert not r.success or r.path_m > 0.95 * r.shortest_m


def test_worker_processes_change_no_result():
    settings = replace(SHORT, max_time_s=2.0)
    assert without_latency(evaluate(settings, 2, workers=2)) == without_latency(evaluate(settings, 2))


def test_an_episode_ends_with_the_time():
    result = evaluate(replace(SHORT, max_time_s=0.3), 1)[0]
    assert (result.duration_s, result.judged, result.ticks) == (pytest.approx(0.3), False, 3)


def test_one_level_plans_alone_with_as_many_samples():
    agent, world = load(SHORT)
    own = agent.card.planner_settings()
    flat = flat_planner(own, 20)
    total = sum(p.samples * p.iterations for p in own)
    assert flat.horizon == 20
    assert abs(flat.samples * flat.iterations - total) < flat.iterations
    agent, world = load(replace(SHORT, planners=(flat,)))
    drive(agent, world, start_goal_pairs(world, 1, 0)[0], replace(SHORT, max_time_s=0.1))
    task = start_goal_pairs(world, 1, 0)[0]
    state = agent.perception.encode(percept(agent, world.image()))
    agent.actor.configure(goal=closed_loop.Goal(levels=state.levels), budget_ms=1e4, mode='planned')
    decision = agent.actor.act(state)
    assert (decision.actions.shape, decision.samples, decision.subgoals) == ((20, 2), [flat.samples], [])
    assert task.values == start_goal_pairs(world, 1, 0)[0].values


def test_mode_2_can_be_asked_without_mode_1():
    settings = replace(SHORT, mode1=False, max_time_s=0.3)
    alone, = evaluate(replace(settings, mode='auto'), 1)
    assert alone.ticks == 3 and alone.reactive == 0
    with pytest.raises(ConfigError, match='mode reactive needs a checkpoint with a policy'):
        evaluate(replace(settings, mode='reactive'), 1)


def test_the_percept_is_what_perception_gets_from_the_topic():
    sensor_msgs = pytest.importorskip('sensor_msgs.msg')
    from jepa_ros.robot.adapters import to_array
    from jepa_ros.sim.messages import image_message
    agent, world = load(SHORT)
    message = image_message(world.image(), sensor_msgs.Image().header.stamp)
    observation = agent.contract.observations[0]
    assert np.array_equal(percept(agent, world.image())[observation.key], to_array(observation, message))


@pytest.mark.parametrize('settings, error, line', [
    (Settings(world='two_room'), WorldError, 'two_rooms'),
    (Settings(model='nope'), CheckpointError, "model 'nope' not found"),
    (Settings(mode='fast'), ConfigError, "mode 'fast' is unknown"),
    (Settings(planners=(PlannerConfig(),) * 3), ConfigError, 'has 2 level')])
def test_what_is_wrong_is_said_before_anything_runs(settings, error, line):
    with pytest.raises(error, match=line):
        evaluate(settings, 1)
