"""Tampered sequences, and whether models notice them that must."""
from hypothesis import given
from hypothesis import strategies as st
import pytest
import tiny
import torch

from jepa_ros.errors import ConfigError
from jepa_ros.evaluation.open_loop.surprise import energies, surprise
from jepa_ros.evaluation.open_loop.tampering import (
    blocked_wheels,
    frozen_sensor,
    kinds,
    other_actions,
    reversed_time,
    teleport,
    windows,
)

from .worlds import Inertia, integrator, level_of, moved, trial


def made(lengths, index=0, seed=0):
    data = tiny.episodes(lengths, seed)
    s = moved(data)
    return level_of(integrator(), data, s, index), s, trial(data)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@tiny.invariant
@given(st.lists(st.integers(3, 40), min_size=1, max_size=4), st.integers(0, 1), st.integers(0, 100))
def test_a_teleport_goes_far_along_its_own_episode(lengths, index, seed):
    level, s, judge = made(lengths, index)
    w = windows(level, s, judge.judged, 10_000)
    if not len(w.rows):
        return
    moved_on = teleport(w, generator(seed)).rows
    assert torch.equal(moved_on[:, :w.before + 1], w.rows[:, :w.before + 1])
    ahead, would_be = moved_on[:, w.before + 1:], w.rows[:, w.before + 1]
    first, length = level.data.starts[w.owner], level.data.lengths[w.owner]
    assert (ahead >= first[:, None]).all() and (ahead < (first + length)[:, None]).all()
    assert ((ahead[:, 0] - would_be).abs() >= (0.1 * length).long()).all()
    assert ((ahead[:, 0] - would_be).abs() >= 2 * level.period).all()


def test_a_teleport_can_go_anywhere_that_is_far_enough():
    level, s, judge = made([12])
    w = windows(level, s, judge.judged, 100)
    reached = {(int(row[0]), int(row[1])) for seed in range(200) for row in teleport(w, generator(seed)).rows}
    assert reached == {(t, to) for t in range(11) for to in range(12) if abs(to - t - 1) >= 2}


def test_reversed_time_keeps_the_action_of_each_step():
    level, s, judge = made([40])
    w = reversed_time(windows(level, s, judge.judged, 100), generator())
    now, then = w.rows[:, 0], w.rows[:, 1]
    assert torch.equal(now, then + 1)
    assert torch.equal(w.actions[:, 0], level.data.actions[then]) and torch.equal(w.s[:, 0], s[now])


def test_blocked_wheels_stand_still_while_the_actions_go_on():
    level, s, judge = made([40], index=1)
    plain = windows(level, s, judge.judged, 100)
    w = blocked_wheels(plain, generator())
    assert (w.s[:, plain.before:] == plain.s[:, plain.before, None]).all() and torch.equal(w.actions, plain.actions)


def test_other_actions_are_recorded_ones_of_the_last_period_only():
    level, s, judge = made([40])
    plain = windows(level, s, judge.judged, 100)
    w = other_actions(plain, generator())
    assert torch.equal(w.s, plain.s) and not torch.equal(w.actions, plain.actions)
    assert torch.equal(w.actions[:, 0].sort(0).values, plain.actions[:, 0].sort(0).values)


@pytest.mark.parametrize('index', [0, 1])
def test_a_perfect_model_notices_everything_that_moves_what_it_sees(index):
    level, s, judge = made([60] * 6, index)
    found, scores, notes = surprise(level, judge, s)
    assert [one.kind for one in found] == ['teleport', 'reversed time', 'blocked wheels', 'other actions']
    for one in found:
        assert one.auroc.value > 0.99 and one.detected.value > 0.95
        assert one.auroc_all.value > 0.98 and 0.98 < one.auroc.low <= one.auroc.high == 1
        assert len(scores.tampered[one.kind]) == one.steps
    assert notes == []


def test_a_model_that_expects_no_change_sees_blocked_wheels_as_normal():
    level, s, judge = made([60] * 6)
    level.model.levels[0].predictor.gain = 0.0
    found = {one.kind: one for one in surprise(level, judge, s)[0]}
    assert found['blocked wheels'].auroc.value == 0.0
    assert found['other actions'].auroc.value == 0.5 and found['other actions'].detected.value <= 0.01
    assert found['reversed time'].auroc.value == 0.5
    assert found['teleport'].auroc.value > 0.9


def test_a_robot_at_rest_is_left_out_where_only_motion_tells():
    level, s, judge = made([60] * 6)
    rest = torch.arange(360) % 60 >= 25         # more than half of the steps: the median step is none
    actions = torch.where(rest[:, None], 0.0, level.data.actions)
    data = type(level.data)(**{**level.data.__dict__, 'actions': actions})
    s = moved(data)
    found = {one.kind: one for one in surprise(level_of(level.model, data, s), judge, s)[0]}
    blocked = found['blocked wheels']
    assert blocked.in_motion and blocked.steps < 360 * 0.5 and blocked.auroc.value > 0.99
    assert 0.6 < blocked.auroc_all.value < 0.75


class TwoSensors:
    """Stands for a model whose state is where the camera says, plus what the joints say."""

    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        return getattr(self.model, name)

    def encode(self, percepts, valid=None):
        return percepts['camera'] + percepts['joints']


def test_a_frozen_sensor_holds_its_percept_while_the_others_go_on():
    data = tiny.episodes([60] * 4)
    s = moved(data)
    data = type(data)(**{**data.__dict__, 'percepts': {'camera': s, 'joints': 3 * s}})
    model = TwoSensors(integrator())
    level = level_of(model, data, 4 * s)
    assert [k.name for k in kinds(level)][-2:] == ['frozen camera', 'frozen joints']
    w = windows(level, 4 * s, torch.arange(4), 10_000)
    frozen = frozen_sensor(w, generator(), 'camera')
    now, then = w.rows[:, 0], w.rows[:, 1]
    assert torch.allclose(frozen.s[:, 1], s[now] + 3 * s[then]) and torch.equal(frozen.s[:, 0], 4 * s[now])


def test_few_steps_are_not_judged_and_a_note_says_how_many_are_needed():
    level, s, judge = made([30])
    found, scores, notes = surprise(level, judge, s)
    assert (found, scores) == ([], None)
    assert notes == ['level 0: surprise is not judged: 29 steps can be tampered with, at least 100 are needed']


def test_energies_that_are_not_finite_are_refused():
    level, s, judge = made([60] * 4)
    level.model.levels[0].predictor.gain = float('nan')
    with pytest.raises(ConfigError, match='level 0: its energies are not finite'):
        surprise(level, judge, s)


def test_a_period_above_pools_its_own_windows():
    """Level 1 sees the mean of four steps: energies of untouched windows are those of the states of the whole data."""
    levels = (tiny.LevelConfig(width=8), tiny.LevelConfig(period=4, macro_dim=2, width=8, encoder='mean'))
    model = tiny.model(levels)
    data = tiny.episodes([40] * 3)
    s = torch.randn(data.steps, 6)
    level = level_of(model, data, s, 1)
    assert level.look_back == 3
    w = windows(level, s, torch.arange(3), 1000)
    found, change = energies(w)
    t = w.rows[:, w.before]
    direct = level.jepa.energy(level.s[t], level.macro(t, 1)[:, 0], level.s[t + 4])
    assert torch.allclose(found.float(), direct, atol=1e-5)
    assert torch.allclose(change.float(), (level.s[t + 4] - level.s[t]).square().mean(-1), atol=1e-5)


def test_what_came_before_decides_what_is_expected_where_the_model_remembers():
    data = tiny.episodes([60] * 4)
    model = integrator(1)
    model.levels[0].predictor = Inertia()
    steady = torch.arange(60.0)[:, None].expand(60, 2).repeat(4, 1)
    level = level_of(model, data, steady)
    w = windows(level, steady, torch.arange(4), 1000)
    assert w.before == 1 and energies(w)[0].max() == 0
    assert torch.equal(energies(blocked_wheels(w, generator()))[0], torch.ones(len(w.rows), dtype=torch.float64))
