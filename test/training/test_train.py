"""Training of all levels: it learns, refuses a collapse, and continues where it was interrupted."""
import dataclasses
import math

import numpy as np
import pytest
import tiny
import torch

from jepa_ros.cost.cost import Goal
from jepa_ros.errors import TrainingError
from jepa_ros.training import evaluate, world_model
from jepa_ros.training.engine import Engine, Settings
from jepa_ros.training.joint import Joint
from jepa_ros.training.losses.regularisers import effective_rank
from jepa_ros.training.states import encode_all

SAVING = Engine(Settings(checkpoint_minutes=0.0))    # after every update
STAGE = {'updates': 100, 'batch': 16, 'window': 6, 'lr': 3e-3, 'warmup': 5}


@pytest.fixture(scope='module')
def data():
    return tiny.episodes([40] * 8)


@pytest.fixture(scope='module')
def trained(data):
    """One tiny run that several tests look at."""
    reports = []
    model, figures = world_model.train(data, tiny.contract(), tiny.training_config(level0=STAGE | {'updates': 300}),
                                       lambda *report: reports.append(report))
    return model, figures, reports


def test_level_zero_lowers_every_part_of_its_loss(trained):
    parts = [report[3] for report in trained[2] if report[0] == 'level 0']
    for name in ('loss', 'variance', 'within', 'inverse', 'readout'):
        assert parts[-1][name] < 0.8 * parts[0][name], name


def test_levels_are_trained_one_after_the_other(trained):
    names = [report[0] for report in trained[2]]
    assert names == sorted(names) and set(names) == {'level 0', 'level 1'}


def test_figures_of_all_levels_are_measured_on_the_held_out_episodes(trained, data):
    model, figures, _ = trained
    assert {'effective_rank', 'prediction_16', 'readout_rmse', 'level1_prediction_4'} <= set(figures)
    again = evaluate.representation(model, data.split()[1], encode_all(model, data))
    assert {name: figures[name] for name in again} == pytest.approx(again)


def test_the_prediction_is_better_than_that_nothing_changes(trained, data):
    """On the episodes it has seen: one that only memorises its encoder's constants would not be."""
    model = trained[0]
    figures = evaluate.representation(model, data.split()[0], encode_all(model, data), horizon=4)
    for k in (1, 2, 4):
        assert figures[f'prediction_{k}'] < figures[f'persistence_{k}']
    assert figures['inverse_error'] < 0.8 and figures['effective_rank'] > 2 and figures['std'] > 0.2


def test_the_trained_model_is_not_surprised_by_its_training_data(trained, data):
    """Surprise is measured in units of the typical error of training (LeCun §8.2.2)."""
    model = trained[0]
    training, _ = data.split()
    s = encode_all(model, data)
    for jepa in model.levels:
        index = training.all_windows(jepa.period + 1, max(1, jepa.period // 2))
        with torch.no_grad():
            omega = jepa.action_encoder(training.actions[index[:, :-1]])
            error = (jepa.predict(s[index[:, 0]], omega) - s[index[:, -1]]).square().mean()
        assert float(error / jepa.typical_error) == pytest.approx(1.0, rel=1e-3)


def test_macro_actions_are_bounded_by_those_of_training(trained, data):
    encoder = trained[0].levels[1].action_encoder
    index = data.split()[0].all_windows(5, 4)
    with torch.no_grad():
        omega = encoder(data.actions[index[:, :-1]])
    inside = ((omega >= encoder.low) & (omega <= encoder.high)).float().mean()
    assert 0.9 < float(inside) < 1.0


def test_normalisation_comes_from_the_data(data):
    model = world_model.build(tiny.training_config(), data, tiny.contract())
    assert torch.allclose(model.readout_mean, data.readouts.mean(0), atol=1e-5)
    assert torch.allclose(model.readout_std, data.readouts.std(0), atol=1e-5)
    images = data.percepts['overhead'].float() / 255
    assert torch.allclose(model.encoder.encoder('overhead').mean.flatten(), images.mean((0, 1, 2)), atol=1e-4)


@pytest.mark.filterwarnings('error')
def test_a_robot_without_readouts_trains_without_a_warning(data):
    bare = dataclasses.replace(data, readouts=data.readouts[:, :0], readout_names=())
    short = {'level0': STAGE | {'updates': 5}, 'upper': STAGE | {'updates': 5, 'window': 3}}
    _, figures = world_model.train(bare, tiny.contract(), tiny.training_config(**short))
    assert all(math.isfinite(value) for value in figures.values())


def test_training_without_anything_that_keeps_s_informative_is_refused(data):
    """LeCun §4.5: prediction alone is solved best by a constant representation."""
    config = tiny.training_config(
        level0=STAGE | {'updates': 200, 'lr': 1e-2}, collapse={},
        losses={'prediction': {}, 'smoothness': {}})
    with pytest.raises(TrainingError, match='the representation has collapsed.*standard deviation of s') as refused:
        world_model.train(data, tiny.contract(), config)
    assert '\n' not in str(refused.value)


def test_the_same_seed_trains_the_same_model(data):
    config = tiny.training_config(level0=STAGE | {'updates': 20})
    one, again = (world_model.train(data, tiny.contract(), config)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], again[name]) for name in one)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize('stage', ['level 0', 'level 1'])
def test_an_interrupted_training_ends_bit_for_bit_like_one_that_was_not(data, tmp_path, stage):
    config = tiny.training_config(level0=STAGE, upper=STAGE | {'window': 3})
    whole, figures = world_model.train(data, tiny.contract(), config)

    def report(name, done, total, parts):
        if (name, done) == (stage, 100):        # the state of update 50 is on disk
            raise Interrupted
    with pytest.raises(Interrupted):
        world_model.train(data, tiny.contract(), config, report, tmp_path, engine=SAVING)
    seen = []
    resumed, figures_again = world_model.train(
        data, tiny.contract(), config, lambda *r: seen.append((r[0], r[1])), tmp_path, engine=SAVING)
    assert (stage, 50) not in seen and (stage, 100) in seen
    assert all(torch.equal(whole.state_dict()[name], t) for name, t in resumed.state_dict().items())
    assert figures_again == figures


@pytest.mark.parametrize('lengths, what', [
    ([40, 40, 40, 10], 'held-out'),             # found now, not after hours of training
    ([8, 8, 8, 40], 'training'),
])
def test_episodes_that_are_too_short_are_refused_before_anything_is_trained(lengths, what):
    with pytest.raises(TrainingError) as refused:
        world_model.train(tiny.episodes(lengths), tiny.contract(), tiny.training_config(),
                          lambda *report: pytest.fail('it trained'))
    line = str(refused.value)
    assert what in line and 'record' in line and '\n' not in line


def test_a_network_that_the_memory_cannot_hold_is_one_line_that_says_what_to_lower(data):
    config = tiny.training_config(levels=[{'width': 10**9}, {'period': 4, 'macro_dim': 3, 'width': 32}])
    with pytest.raises(TrainingError, match='out of memory for the network: lower dim, width or depth'):
        world_model.train(data, tiny.contract(), config)


def test_the_upper_level_leaves_the_levels_below_as_they_are(trained, data):
    model = world_model.build(tiny.training_config(), data, tiny.contract())
    before = {name: t.clone() for name, t in model.state_dict().items()}
    s = encode_all(model, data)
    world_model.Trainer(model, data, tiny.training_config()).upper(1, s)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == (not name.startswith('levels.1.') or any(
            part in name for part in ('inverse', 'typical_error', 'low', 'high', 'prior'))), name


def test_a_trained_representation_has_more_dimensions_than_a_collapsed_one(trained, data):
    s = encode_all(trained[0], data)
    assert effective_rank(s) > 1.5 > effective_rank(torch.ones_like(s) + s[:, :1])


KINDS = {
    'three levels of their own': {'levels': [
        {'width': 16}, {'period': 2, 'macro_dim': 3, 'width': 16, 'encoder': 'gru', 'dim': 5},
        {'period': 4, 'macro_dim': 2, 'width': 16, 'encoder': 'conv', 'dim': 4}]},
    'one level': {'levels': [{'width': 16}], 'planners': [tiny.PLANNER]},
    'transformer': {'levels': [{'width': 16, 'predictor': 'transformer', 'options': {'window': 3, 'heads': 2}}],
                    'planners': [tiny.PLANNER]},
    'gru ensemble': {'levels': [{'width': 16, 'predictor': 'gru', 'ensemble': 2},
                                {'period': 4, 'macro_dim': 3, 'width': 16, 'ensemble': 2}]},
    'latents': {'levels': [{'width': 16, 'latent': {'kind': 'gaussian', 'dim': 2, 'inference': 'amortised'}},
                           {'period': 4, 'macro_dim': 3, 'width': 16, 'latent': {'kind': 'discrete', 'dim': 3}}]},
    'several starts': {'level0': STAGE | {'updates': 20, 'horizon': 3, 'stride': 2}},
}


@pytest.mark.parametrize('schedule', ['levelwise', 'joint'])
@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_of_hierarchy_trains_saves_loads_and_plans(data, tmp_path, kind, schedule):
    short = {'level0': STAGE | {'updates': 20}, 'upper': STAGE | {'updates': 20, 'window': 3}}
    config = tiny.training_config(**short | KINDS[kind] | {'schedule': schedule})
    model, figures = world_model.train(data, tiny.contract(), config)
    assert all(math.isfinite(value) for value in figures.values())
    planners = config.planners
    made = tiny.Agent.create(tiny.contract(), 0, 'made', model.config, planners)
    made.networks.world_model.load_state_dict(model.state_dict())
    made.save(tmp_path)
    agent = tiny.Agent.load(tmp_path, device='cpu')
    goal = Goal(levels=agent.perception.encode({'overhead': tiny.image(1)}).levels)
    agent.actor.configure(goal=goal, mode='planned', budget_ms=1e6)
    action = None
    for number in range(4):
        decision = agent.actor.act(agent.perception.observe({'overhead': tiny.image(number)}), action)
        action = decision.action
    assert np.isfinite(action).all() and len(decision.energies) == len(planners[:len(model.levels)])


def test_with_all_levels_at_once_the_upper_levels_shape_the_encoder(data):
    """LeCun §4.6: the energy of a level above reaches the encoder below."""
    config = tiny.training_config(
        schedule='joint', losses={'readouts': {}},
        levels=[{'width': 16}, {'period': 2, 'macro_dim': 3, 'width': 16, 'encoder': 'gru'}])
    model = world_model.build(config, data, tiny.contract())
    module = Joint(model, config)
    taken = data.take(data.all_windows(module.window, 10))
    noise = torch.zeros(len(taken.actions), module.periods(1), 3)
    loss, _ = module(taken.percepts, taken.valid, taken.actions, taken.readouts, noise)
    loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in model.encoder.parameters())
