"""Readouts read off states by a linear map."""
import math

import pytest
import tiny
import torch

from jepa_ros.evaluation.open_loop.prediction import foresee
from jepa_ros.evaluation.open_loop.probe import probes

from .worlds import integrator, level_of, moved, trial


def probed(values, s=None, angles=(), lengths=(30,) * 8, periods=(1, 8), gain=0.1):
    """Probes of readouts `values`(s) in the integrator's world."""
    data = tiny.episodes(list(lengths))
    s = moved(data) if s is None else s(data)
    readouts = values(s)
    data = type(data)(**{**data.__dict__, 'readouts': readouts,
                         'readout_names': tuple(f'r{i}' for i in range(readouts.shape[1]))})
    model = integrator()
    model.levels[0].predictor.gain = gain
    level = level_of(model, data, s)
    judge = trial(data)
    return probes(level, judge, foresee(level, judge.judged, max(periods)), list(periods), angles)


def test_what_is_linear_in_s_is_read_off_perfectly_now_and_ahead():
    (first, second), scatters, notes = probed(lambda s: torch.stack([3 * s[:, 0] - s[:, 1] + 5, s[:, 1]], 1))
    for probe in (first, second):
        assert probe.r2.value == pytest.approx(1, abs=1e-4) and probe.rmse.value < 1e-2
        assert [a.r2.value for a in probe.ahead] == [pytest.approx(1, abs=1e-4)] * 2
        assert [a.seconds for a in probe.ahead] == [pytest.approx(0.1), pytest.approx(0.8)]
    assert notes == [] and [s.readout for s in scatters] == ['r0', 'r1']
    assert scatters[0].truth == pytest.approx(scatters[0].perceived, abs=0.05)


def test_what_s_does_not_hold_is_not_read_off():
    torch.manual_seed(0)
    (probe,), _, _ = probed(lambda s: torch.randn(len(s), 1))
    assert abs(probe.r2.value) < 0.1 and probe.rmse.value == pytest.approx(1, rel=0.15)


def test_a_bad_prediction_shows_in_what_is_read_off_ahead():
    (probe,), _, _ = probed(lambda s: s[:, :1], gain=0.0)
    assert probe.r2.value > 0.999 and probe.ahead[1].r2.value < probe.ahead[0].r2.value < 0.9999


def turning(data):
    angle = moved(data, lambda a: 2 * a)[:, 0]
    return torch.stack([angle.cos(), angle.sin()], 1)


def test_an_angle_is_probed_as_one_though_it_jumps():
    def yaw(s):
        return torch.atan2(s[:, 1:], s[:, :1])
    (as_angle,), (scatter,), _ = probed(yaw, turning, angles=['r0'])
    (as_number,), _, _ = probed(yaw, turning)
    assert as_angle.r2.value > 0.999 > 0.9 > as_number.r2.value
    assert as_angle.rmse.value < 0.01 and as_angle.angle and abs(scatter.perceived).max() <= math.pi + 1e-6


def test_steps_without_a_value_are_left_out():
    def holes(s):
        return torch.where(torch.arange(len(s))[:, None] % 3 == 0, torch.nan, s[:, :1])
    (probe,), (scatter,), notes = probed(holes)
    assert probe.r2.value > 0.999 and probe.ahead[1].r2.value > 0.999 and notes == []
    assert len(scatter.truth) == 160


@pytest.mark.parametrize('values, why', [
    (lambda s: torch.full((len(s), 1), 2.0), 'it never changes'),
    (lambda s: torch.full((len(s), 1), torch.nan), 'hardly a value of it is finite'),
])
def test_a_readout_that_says_nothing_is_noted(values, why):
    found, scatters, notes = probed(values)
    assert (found, scatters, notes) == ([], [], [f'level 0: readout r0 is not probed: {why}'])
