"""k-step errors against persistence and a linear model, in worlds whose answers are known."""
import pytest
import tiny
import torch

from jepa_ros.evaluation.open_loop.episodes import powers
from jepa_ros.evaluation.open_loop.prediction import foresee, horizons, Scale

from .worlds import Inertia, integrator, level_of, moved, trial

LENGTHS = [30] * 8


def ahead(level, judge, periods):
    return horizons(level, judge, foresee(level, judge.judged, max(periods)), periods)


@pytest.mark.parametrize('index, periods', [(0, [1, 4, 8]), (1, [1, 2, 4])])
def test_a_perfect_predictor_has_no_error_at_any_level_and_all_the_skill(index, periods):
    data = tiny.episodes(LENGTHS)
    level = level_of(integrator(), data, moved(data), index)
    for k, found in zip(periods, ahead(level, trial(data), periods)):
        assert (found.periods, found.seconds) == (k, pytest.approx(k * 0.1 * 4 ** index))
        assert found.prediction.value < 1e-9 and found.skill_persistence.value > 1 - 1e-6
        assert found.persistence.value > 0.01
        assert found.linear.value < 1e-3                 # this world is linear
        assert found.prediction.low <= found.prediction.value <= found.prediction.high


def test_a_model_that_says_nothing_changes_is_persistence():
    data = tiny.episodes(LENGTHS)
    model = integrator()
    model.levels[0].predictor.gain = 0.0
    for found in ahead(level_of(model, data, moved(data)), trial(data), [1, 8]):
        assert found.prediction == found.persistence and found.skill_persistence.value == 0


def test_a_rule_that_is_not_linear_leaves_the_linear_model_behind():
    def square(a):
        return 0.1 * a.square()
    data = tiny.episodes(LENGTHS)
    model = integrator()
    model.levels[0].predictor.forward = lambda s, a: s + square(a)
    found, = ahead(level_of(model, data, moved(data, square)), trial(data), [4])
    assert found.prediction.value < 1e-9
    assert 0.1 * found.persistence.value < found.linear.value < 1.1 * found.persistence.value
    assert found.skill_linear.value > 1 - 1e-6


def test_neither_the_scale_of_s_nor_furniture_flatters():
    data = tiny.episodes(LENGTHS)
    model = integrator()
    model.levels[0].predictor.gain = 0.05
    plain, = ahead(level_of(model, data, moved(data)), trial(data), [8])
    furniture = torch.arange(8.0).repeat_interleave(30)[:, None]
    furnished, = ahead(level_of(model, data, moved(data) + furniture), trial(data), [8])
    model.levels[0].predictor.gain = 0.5
    larger, = ahead(level_of(model, data, 10 * moved(data)), trial(data), [8])
    assert furnished.prediction.value == pytest.approx(plain.prediction.value, rel=1e-4)
    assert larger.prediction.value == pytest.approx(plain.prediction.value, rel=1e-4)


def test_the_unit_is_the_variance_about_the_mean_of_the_episode():
    data = tiny.episodes([10, 20])
    s = torch.randn(30, 2)
    judge = trial(data)
    expected = (((s[:10] - s[:10].mean(0)) ** 2).mean(-1).sum() + ((s[10:] - s[10:].mean(0)) ** 2).mean(-1).sum()) / 30
    one = Scale(level_of(integrator(), data, s), judge).figure(torch.ones(7), torch.zeros(7, dtype=torch.int64))
    assert one.value == pytest.approx(1 / float(expected), rel=1e-5)


def test_a_predictor_with_memory_is_shown_what_came_before():
    data = tiny.episodes(LENGTHS)
    model = integrator(1)
    model.levels[0].predictor = Inertia()
    steady = torch.arange(30.0)[:, None].expand(30, 2).repeat(8, 1)
    found = ahead(level_of(model, data, steady), trial(data), [1, 8])
    assert [h.prediction.value for h in found] == [pytest.approx(0, abs=1e-9)] * 2
    assert found[0].windows == 8 * (30 - 1 - 8)         # each begins with one step behind it


def test_windows_stay_inside_their_episode():
    data = tiny.episodes([30, 5, 30])
    level = level_of(integrator(), data, moved(data))
    t, owner = level.windows(torch.arange(3), 2, 8)
    assert sorted(set(owner.tolist())) == [0, 2]
    for start, of in ((0, 0), (35, 2)):
        assert t[owner == of].tolist() == list(range(start + 2, start + 22))


def test_no_more_windows_are_taken_than_asked_for_and_those_from_everywhere():
    data = tiny.episodes(LENGTHS)
    t, owner = level_of(integrator(), data, moved(data)).windows(torch.arange(8), 0, 4, most=16)
    assert len(t) == 16 and set(owner.tolist()) == set(range(8)) and t.unique().numel() == 16


def test_without_other_episodes_there_is_no_linear_model():
    data = tiny.episodes([30])
    found, = ahead(level_of(integrator(), data, moved(data)), trial(data), [4])
    assert found.linear is None and found.skill_linear is None
    assert found.prediction.value < 1e-9 and found.prediction.low is None


def test_a_collapsed_state_has_no_scale():
    data = tiny.episodes(LENGTHS)
    found, = ahead(level_of(integrator(), data, torch.ones(240, 2)), trial(data), [4])
    assert found.prediction.value is None and found.persistence.value is None


def test_horizons_are_powers_of_two_that_leave_half_of_the_episode():
    data = tiny.episodes([30] * 4)
    level, upper = (level_of(integrator(), data, moved(data), i) for i in (0, 1))
    everything = torch.arange(4)
    assert powers(level, everything, 0) == [1, 2, 4, 8] and powers(upper, everything, 0) == [1, 2]
    assert powers(level, everything, 6) == [1, 2, 4, 6] and powers(level, everything, 16) == [1, 2, 4, 8, 16]
