"""Closed loops in Gymnasium's environments: goals, success, and what is refused before the work."""
import json

import numpy as np
import pytest

from jepa_ros.cli.main import main
from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.gym_loop import evaluate, GymRunner, GymSettings
from jepa_ros.evaluation.gym_report import rows, summary

from . import point_env


@pytest.fixture(autouse=True)
def point():
    with point_env.registered():
        yield


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """Folder of an untrained model that sees the point's place and not where it should go."""
    folder = tmp_path_factory.mktemp('point')
    with point_env.registered():
        point_env.agent(point_env.contract(without=('desired_goal',))).save(folder)
    return folder


def runner(model, episodes=3, seed=0, **settings):
    return GymRunner(GymSettings(str(model), point_env.ID, **settings), episodes, seed)


def goes_to_the_goal(run, act):
    """Put `act`(robot) in the actor's place."""
    class Decided:
        latency_ms, deadline_hit = 1.0, False

        def __init__(self, action):
            self.action = action
    run.agent.actor.act = lambda state, previous_action=None: Decided(act(run.robot))


def towards(robot):
    seen = robot.world.observation
    return np.clip((seen['desired_goal'] - seen['place']) / 0.2, -1, 1)


def test_the_environments_own_goal_is_given_as_readouts_and_its_success_counts(model):
    run = runner(model)
    goes_to_the_goal(run, towards)
    results = evaluate(run)
    assert run.goal == 'env' and run.success == 'env' and run.notes == []
    assert [r.success for r in results] == [True] * 3 and all(r.ending == 'success' for r in results)
    assert all(max(r.goal_error.values()) < 0.15 for r in results)
    assert all(r.reward == -(r.steps - 1) for r in results)      # the last step reaches the goal: reward 0
    figures = summary(results)
    assert figures['successes'] == 3 and figures['success_interval_95'][0] == pytest.approx(0.438, abs=1e-3)
    assert figures['plan_latency_ms'] == {'p50': 1.0, 'p95': 1.0} and figures['endings'] == {'success': 3}


def test_who_stands_still_fails_after_the_environments_own_limit(model):
    run = runner(model)
    goes_to_the_goal(run, lambda robot: np.zeros(2))
    results = evaluate(run)
    assert [r.success for r in results] == [False] * 3
    assert {(r.steps, r.ending) for r in results} == {(12, 'truncated')} and results[0].reward == -12


def test_most_steps_end_an_episode_before(model):
    run = runner(model, most_steps=5)
    goes_to_the_goal(run, lambda robot: np.zeros(2))
    assert {(r.steps, r.ending) for r in evaluate(run)} == {(5, 'steps')}


def test_the_real_agent_acts_and_a_seed_gives_the_same_episodes_again(model):
    first, again, other = (evaluate(runner(model, 2, seed)) for seed in (4, 4, 5))

    def told(results):
        return [{k: v for k, v in row.items() if k != 'plan_latency_ms'} for row in rows(results)]
    assert told(first) == told(again) != told(other)
    assert all(len(r.latencies_ms) == r.steps > 0 for r in first)
    assert json.dumps(rows(first), allow_nan=False)


def test_a_goal_ahead_is_reached_by_the_actions_that_made_it(model):
    run = runner(model, goal='ahead', ahead=6, success='energy')
    from jepa_ros.robot.explore import Exploration
    contract = run.agent.contract
    for index in range(3):
        actions = Exploration(contract.action_low, contract.action_high, contract.control_period_s, run.seeds[index])
        goes_to_the_goal(run, lambda robot, actions=actions: actions.next())
        found = run(index)
        assert found.judged and found.success and found.steps <= 6
        if found.steps == 6:
            assert max(found.goal_error.values()) < 1e-6
    assert run.success == 'energy'


def test_for_a_goal_that_the_environment_does_not_know_its_success_does_not_count(model):
    run = runner(model, goal='ahead')
    assert run.success == 'energy'


def test_random_actions_are_not_those_that_made_the_goal(model):
    results = evaluate(runner(model, goal='ahead', ahead=6, mode='random', success='env'))
    assert all(r.latencies_ms == () for r in results) and max(max(r.goal_error.values()) for r in results) > 0.1


def test_without_a_goal_only_the_return_is_told(tmp_path):
    folder = tmp_path / 'model'
    point_env.agent(point_env.contract(readouts='')).save(folder)
    run = runner(folder, goal='none', arguments={'says': False})
    results = evaluate(run)
    figures = summary(results)
    assert figures['success_rate'] is None and figures['judged_reached'] is None and figures['return_mean'] < 0
    assert run.notes == ['neither the environment nor a goal says what success is: only the return is told']


def test_a_goal_as_a_picture_is_a_state_and_its_own_picture_reaches_it(tmp_path):
    contract = point_env.contract('', ('place', 'desired_goal'), point_env.PICTURES)
    point_env.agent(contract).save(tmp_path / 'pictures')
    run = GymRunner(GymSettings(str(tmp_path / 'pictures'), point_env.PICTURES, success='energy'), 3, 0)
    assert run.goal == 'env'
    run.agent.configurator.goal_tolerance = 1e-12        # only the goal's own picture will do
    goes_to_the_goal(run, lambda robot: np.clip((robot.world._env.unwrapped.goal - robot.world.observation['place'])
                                                / 0.2, -1, 1))
    results = evaluate(run)
    assert all(r.judged and r.env_success and 1 < r.steps < 12 for r in results)


@pytest.mark.parametrize('settings, words', [
    ({'goal': 'ahed'}, r"goal 'ahed' is unknown \(did you mean ahead\?\)"),
    ({'mode': 'fast'}, "mode 'fast' is unknown"),
    ({'success': 'terminated'}, "success 'terminated' is unknown; known: env, energy"),
    ({'goal': 'store'}, 'goals from a recording need both'),
    ({'start_option': ('a', 'b')}, '--start-option puts the environment into a recorded start: it needs --goal-from'),
    ({'goal': 'none', 'success': 'energy'}, '--success energy needs a goal'),
    ({'arguments': {'goals': False}}, 'whose observation place comes on topic observation/place .* has observation:'),
    ({'arguments': {'wings': 2}}, 'world gym:Point-v0: cannot be made'),
    ({'goal': 'ahead', 'arguments': {'random': True}}, 'begins differently with the same seed')])
def test_what_cannot_be_judged_is_refused_in_one_line(model, settings, words):
    from jepa_ros.errors import JepaRosError
    with pytest.raises(JepaRosError, match=words) as caught:
        runner(model, **settings)
    assert '\n' not in str(caught.value)


def test_a_robot_that_reads_nothing_of_its_goal_is_told_what_would_help(tmp_path):
    point_env.agent(point_env.contract(readouts='', without=('desired_goal',))).save(tmp_path / 'm')
    run = runner(tmp_path / 'm')
    assert run.goal == 'ahead'
    with pytest.raises(ConfigError, match='reads nothing of achieved_goal: a readout of topic observation/achieved_'):
        runner(tmp_path / 'm', goal='env')


def test_the_command_prints_a_table_and_writes_json(model, tmp_path, capsys):
    file = tmp_path / 'e.json'
    assert main(['eval', 'gym', point_env.ID, f'model={model}', 'episodes=2', 'most_steps=4', f'json={file}']) == 0
    out = capsys.readouterr().out
    assert "the environment's own" in out and 'of 2' in out and 'x_m from the goal' in out
    data = json.loads(file.read_text())
    assert (data['env'], data['goal'], data['episodes'], len(data['rows'])) == (point_env.ID, 'env', 2, 2)


@pytest.mark.parametrize('args, line', [
    (['CartPol-v1', 'model=two_rooms'], "unknown environment 'CartPol-v1' (did you mean CartPole-v1"),
    (['CartPole-v1', 'model=two_rooms'], 'the model is for robot two_rooms, whose action base goes to cmd_vel'),
    (['CartPole-v1', 'model=nope'], "model 'nope' not found"),
    (['CartPole-v1'], "Missing option '--model'"),
    (['Point-v0', 'model=two_rooms', 'start_option=state'], '--start-option state: must be NAME=KEY'),
    (['Point-v0', 'model=two_rooms', '--argument', 'x y=1'], '--argument x y=1: must be NAME=VALUE'),
    (['Point-v0', 'modl=two_rooms'], "unknown argument 'modl=' (did you mean model?)")])
def test_bad_input_is_one_line_and_code_2(args, line, capsys):
    assert main(['eval', 'gym', *args]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count('\n') == 1


def test_a_maze_of_gymnasium_robotics_with_its_own_success(tmp_path, capsys):
    pytest.importorskip('gymnasium_robotics')
    from jepa_ros.robot.contract import RobotContract
    from jepa_ros.sim.gym_contract import draft
    env_id = 'gymnasium_robotics:PointMaze_UMaze-v3'
    point_env.agent(RobotContract.parse(draft(env_id) + point_env.READOUTS)).save(tmp_path)
    run = GymRunner(GymSettings(str(tmp_path), env_id, most_steps=20), 2, 0)
    results = evaluate(run)
    assert (run.goal, run.success) == ('env', 'env') and [r.env_success is not None for r in results] == [True] * 2
    assert all(set(r.goal_error) == {'x_m', 'y_m'} for r in results)
