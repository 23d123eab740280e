"""Training of all levels: it learns, refuses a collapse, and continues where it was interrupted."""
import pytest
import tiny
import torch

from jepa_ros.errors import TrainingError
from jepa_ros.training import evaluate, optimise, world_model
from jepa_ros.training.losses.regularisers import effective_rank

STAGE = {'updates': 100, 'batch': 16, 'window': 6, 'lr': 3e-3, 'warmup': 5}


@pytest.fixture(scope='module')
def data():
    return tiny.episodes([40] * 8)


@pytest.fixture(scope='module')
def trained(data):
    """One tiny run that several tests look at."""
    reports = []
    model, figures = world_model.train(data, tiny.training_config(level0=STAGE | {'updates': 300}),
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
    again = evaluate.representation(model, data.split()[1], evaluate.encode_all(model, data.images))
    assert {name: figures[name] for name in again} == pytest.approx(again)


def test_the_prediction_is_better_than_that_nothing_changes(trained, data):
    """On the episodes it has seen: one that only memorises its encoder's constants would not be."""
    model = trained[0]
    figures = evaluate.representation(model, data.split()[0], evaluate.encode_all(model, data.images), horizon=4)
    for k in (1, 2, 4):
        assert figures[f'prediction_{k}'] < figures[f'persistence_{k}']
    assert figures['inverse_error'] < 0.8 and figures['effective_rank'] > 2 and figures['std'] > 0.2


def test_the_trained_model_is_not_surprised_by_its_training_data(trained, data):
    """Surprise is measured in units of the typical error of training (LeCun §8.2.2)."""
    model = trained[0]
    training, _ = data.split()
    s = evaluate.encode_all(model, data.images)
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
    model = world_model.build(tiny.training_config(), data)
    assert torch.allclose(model.readout_mean, data.readouts.mean(0), atol=1e-5)
    assert torch.allclose(model.readout_std, data.readouts.std(0), atol=1e-5)
    assert torch.allclose(model.encoder.mean.flatten(), (data.images.float() / 255).mean((0, 1, 2)), atol=1e-4)


def test_training_without_anything_that_keeps_s_informative_is_refused(data):
    """LeCun §4.5: prediction alone is solved best by a constant representation."""
    config = tiny.training_config(
        level0=STAGE | {'updates': 200, 'lr': 1e-2}, collapse={},
        coefficients={'variance': 0, 'covariance': 0, 'inverse': 0, 'within': 0})
    with pytest.raises(TrainingError, match='the representation has collapsed.*standard deviation of s') as refused:
        world_model.train(data, config)
    assert '\n' not in str(refused.value)


def test_the_same_seed_trains_the_same_model(data):
    config = tiny.training_config(level0=STAGE | {'updates': 20})
    one, again = (world_model.train(data, config)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], again[name]) for name in one)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize('stage', ['level 0', 'level 1'])
def test_an_interrupted_training_ends_bit_for_bit_like_one_that_was_not(data, tmp_path, monkeypatch, stage):
    monkeypatch.setattr(optimise, 'SAVE_EVERY_S', -1)
    config = tiny.training_config(level0=STAGE, upper=STAGE | {'window': 3})
    whole, figures = world_model.train(data, config)

    def report(name, done, total, parts):
        if (name, done) == (stage, 100):        # the state of update 50 is on disk
            raise Interrupted
    with pytest.raises(Interrupted):
        world_model.train(data, config, report, tmp_path)
    seen = []
    resumed, figures_again = world_model.train(data, config, lambda *r: seen.append((r[0], r[1])), tmp_path)
    assert (stage, 50) not in seen and (stage, 100) in seen
    assert all(torch.equal(whole.state_dict()[name], t) for name, t in resumed.state_dict().items())
    assert figures_again == figures


@pytest.mark.parametrize('lengths, what', [
    ([40, 40, 40, 10], 'held-out'),             # found now, not after hours of training
    ([8, 8, 8, 40], 'training'),
    ([40], 'too few'),
])
def test_episodes_that_are_too_short_are_refused_before_anything_is_trained(lengths, what):
    with pytest.raises(TrainingError) as refused:
        world_model.train(tiny.episodes(lengths), tiny.training_config(), lambda *report: pytest.fail('it trained'))
    line = str(refused.value)
    assert what in line and 'record' in line and '\n' not in line


def test_the_upper_level_leaves_the_levels_below_as_they_are(trained, data):
    model = world_model.build(tiny.training_config(), data)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    s = evaluate.encode_all(model, data.images)
    world_model.train_upper(model, 1, data, s, tiny.training_config(), None)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == (not name.startswith('levels.1.') or 'inverse' in name
                                                     or 'typical_error' in name), name


def test_a_trained_representation_has_more_dimensions_than_a_collapsed_one(trained, data):
    s = evaluate.encode_all(trained[0], data.images)
    assert effective_rank(s) > 1.5 > effective_rank(torch.ones_like(s) + s[:, :1])
