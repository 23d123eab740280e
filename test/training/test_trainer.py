"""From data to a checkpoint."""
import csv
import json
import math

import numpy as np
import pytest
import tiny
import torch

from jepa_ros import checkpoint
from jepa_ros.agent import Agent
from jepa_ros.cost.cost import Goal
from jepa_ros.errors import TrainingError
from jepa_ros.training import data as training_data
from jepa_ros.training import trainer

CONFIG = {'distillation': {'problems': 8, 'updates': 20, 'batch': 16}}


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp('data') / 'episodes.npz'
    training_data.save(tiny.episodes([40] * 6), path)
    return path


@pytest.fixture(scope='module')
def made(cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp('trained')
    planner = {'samples': 8, 'iterations': 2, 'horizon': 5, 'elites': 4}
    agent = trainer.train([cache], tiny.contract(), tiny.training_config(**CONFIG, planners=[planner] * 2),
                          folder / 'mine', folder / 'work', commands=['jepa-ros train data'])
    return agent, folder


def test_what_was_trained_is_what_is_loaded(made):
    agent, folder = made
    loaded = Agent.load(folder / 'mine', contract=tiny.contract(), device='cpu')
    decisions = []
    for each in (agent, loaded):
        state, goal = (each.perception.encode({'overhead': tiny.image(i)}) for i in (1, 2))
        each.actor.configure(goal=Goal(levels=goal.levels), budget_ms=60_000)
        decisions.append(each.actor.act(state))
    assert np.array_equal(decisions[0].actions, decisions[1].actions)
    assert decisions[1].actions.shape == (5, 2)


def test_the_card_says_how_to_make_it_again(made):
    card = checkpoint.read_card(made[1] / 'mine')
    assert (card.name, card.bags, card.commands) == ('mine', {'a': '00'}, ['jepa-ros train data'])
    assert {'effective_rank', 'policy_error', 'critic_r2', 'level1_prediction_4'} <= set(card.metrics)
    assert (card.training['episodes'], card.training['steps'], card.training['seed']) == (6, 240, 0)
    assert card.goal_tolerance > 0 and card.policy_chunk == card.planner_settings()[0].horizon == 5
    assert card.normalisation['action_low'] == [-0.5, -2.0]
    json.dumps(card.model_dump(mode='json'))


def test_nothing_is_left_to_resume_but_the_log(made):
    logs = sorted((made[1] / 'work').glob('*'))
    assert [path.name for path in logs] == ['level_0.csv', 'level_1.csv']
    for path in logs:
        rows = list(csv.DictReader(path.open()))
        assert rows and all(math.isfinite(float(row['loss'])) for row in rows)


def test_a_collapsed_model_writes_no_checkpoint(cache, tmp_path):
    config = tiny.training_config(**CONFIG, collapse={'min_effective_rank': 100})
    with pytest.raises(TrainingError, match='no checkpoint written'):
        trainer.train([cache], tiny.contract(), config, tmp_path / 'mine', tmp_path / 'work')
    assert not (tmp_path / 'mine').exists()


@pytest.mark.parametrize('change', [
    ('height: 16', 'height: 32'), ('{name: x_m', '{name: z_m'),
    ('- {name: vy_mps, field: linear.y, min: -2.0, max: 2.0, max_rate: 10.0}', ''),
])
def test_data_of_another_robot_are_refused_in_one_line(cache, tmp_path, change):
    other = tiny.contract(tiny.CONTRACT.replace(*change))
    with pytest.raises(TrainingError, match="robot 'tiny' has") as refused:
        trainer.train([cache], other, tiny.training_config(), tmp_path / 'mine', tmp_path / 'work')
    assert '\n' not in str(refused.value)


def test_two_trainings_do_not_share_a_work_folder(cache, tmp_path):
    def start(*_):
        with pytest.raises(TrainingError, match='another training is at work here: wait for its end or give another'):
            trainer.train([cache], tiny.contract(), tiny.training_config(**CONFIG), tmp_path / 'b', tmp_path / 'work')
        raise InterruptedError
    with pytest.raises(InterruptedError):
        trainer.train([cache], tiny.contract(), tiny.training_config(**CONFIG), tmp_path / 'a', tmp_path / 'work',
                      report=start)
    assert not (tmp_path / 'work' / trainer.LOCK).exists()


def test_a_device_that_is_unknown_is_refused():
    assert trainer.choose_device('cpu') == 'cpu'
    with pytest.raises(TrainingError, match="device 'gpu' is unknown: choose auto, cpu or cuda"):
        trainer.choose_device('gpu')


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_a_gpu_that_is_not_there_is_refused():
    assert trainer.choose_device('auto') == 'cpu'
    with pytest.raises(TrainingError, match='no GPU is available'):
        trainer.choose_device('cuda')
