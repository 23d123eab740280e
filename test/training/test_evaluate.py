"""Figures of a model and the refusal of a collapsed one."""
import math

import pytest
import tiny
import torch

from jepa_ros.errors import TrainingError
from jepa_ros.training import evaluate
from jepa_ros.training.config import Collapse

GOOD = {'effective_rank': 9.0, 'std': 0.8, 'inverse_error': 0.05, 'prediction_1': 0.1}


def test_a_sound_representation_passes():
    evaluate.refuse_collapse(GOOD, Collapse())


@pytest.mark.parametrize('figure, value, words', [
    ('effective_rank', 1.2, 'effective rank of s is 1.2 < 4.0'),
    ('std', 0.01, 'standard deviation of s is 0.010 < 0.2'),
    ('inverse_error', 0.97, r'inverse dynamics misses 97% of the actions \(> 50%\)'),
    ('prediction_1', math.nan, 'a figure is not finite'),
    ('std', math.nan, 'a figure is not finite'),
    ('inverse_error', math.inf, 'a figure is not finite'),
])
def test_a_collapse_is_refused_in_one_line_that_names_the_figure(figure, value, words):
    with pytest.raises(TrainingError, match=words) as refused:
        evaluate.refuse_collapse(GOOD | {figure: value}, Collapse())
    line = str(refused.value)
    assert line.startswith('the representation has collapsed, no checkpoint written') and '\n' not in line


def test_every_figure_that_shows_the_collapse_is_named():
    with pytest.raises(TrainingError, match='effective rank .*; standard deviation .*; inverse dynamics'):
        evaluate.refuse_collapse({'effective_rank': 1.0, 'std': 0.0, 'inverse_error': 1.0}, Collapse())


def test_problems_are_listed_without_refusing_anything():
    assert evaluate.collapse_problems(GOOD, Collapse()) == []
    collapsed = GOOD | {'effective_rank': 1.2, 'std': 0.01}
    allowed = Collapse(refuse=False)
    assert evaluate.collapse_problems(collapsed, allowed) == ['effective rank of s is 1.2 < 4.0',
                                                              'standard deviation of s is 0.010 < 0.2']
    evaluate.refuse_collapse(collapsed, allowed)


def perfect(data):
    """A model of dimension 2 whose prediction is exact on states that integrate the actions."""
    model = tiny.integrator_model(2)
    s = torch.zeros(data.steps, 2)
    for start, length in zip(data.starts, data.lengths):
        moved = 0.1 * data.actions[start:start + length - 1].cumsum(0)
        s[start + 1:start + length] = moved
    return model, s


def test_a_perfect_predictor_has_no_error_and_persistence_has_one():
    data = tiny.episodes([24, 24])
    model, s = perfect(data)
    figures = evaluate.representation(model, data, s, horizon=8)
    assert figures['prediction_1'] < 1e-9 and figures['prediction_8'] < 1e-9
    assert figures['persistence_1'] > 0.01 and figures['persistence_8'] > figures['persistence_1']
    assert set(figures) >= {'effective_rank', 'std', 'inverse_error', 'readout_rmse', 'readout_rmse_predicted_8'}


def test_figures_are_a_share_of_the_motion_within_an_episode_so_that_scale_and_furniture_do_not_flatter():
    data = tiny.episodes([24, 24])
    model, s = perfect(data)
    model.levels[0].predictor.gain = 0.0            # predicts that nothing changes
    furniture = 50.0 * torch.arange(2).repeat_interleave(24)[:, None]
    plain, furnished = (evaluate.representation(model, data, x, horizon=8) for x in (s, s + furniture))
    assert plain['prediction_8'] == pytest.approx(plain['persistence_8'], rel=1e-4)
    assert furnished['prediction_8'] == pytest.approx(plain['prediction_8'], rel=1e-3)


def test_readout_errors_are_in_the_readouts_own_unit():
    data = tiny.episodes([24, 24])
    model, s = perfect(data)
    model.readout_std.copy_(torch.tensor([0.0, 0.0]))
    model.readout_mean.copy_(torch.tensor([100.0, 100.0]))
    index = data.all_windows(9, 8)
    expected = float((100 - data.readouts[index]).square().mean().sqrt())
    assert evaluate.representation(model, data, s, horizon=8)['readout_rmse'] == pytest.approx(expected, rel=1e-5)


def test_a_level_above_is_measured_at_the_ends_of_its_periods():
    data = tiny.episodes([24, 24])
    model, s = perfect(data)
    jepa = model.levels[1]

    class MeanAction(torch.nn.Module):
        def forward(self, actions):                 # (…, 4, 2): the integrator above moves 0.4 a period
            return actions.mean(-2)
    jepa.action_encoder = MeanAction()
    figures = evaluate.upper(model, 1, data, s, periods=3)
    assert set(figures) == {f'level1_prediction_{k}' for k in (1, 2, 3)}
    assert max(figures.values()) < 1e-9


def test_a_model_without_readouts_has_no_readout_figures():
    data = tiny.episodes([24, 24])
    data = type(data)(**{**data.__dict__, 'readouts': data.readouts[:, :0], 'readout_names': ()})
    figures = evaluate.representation(tiny.model(readouts=0), data, torch.randn(48, 6), horizon=8)
    assert not any(name.startswith('readout') for name in figures)
    assert all(math.isfinite(v) for v in figures.values())
