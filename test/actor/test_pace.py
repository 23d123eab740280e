"""How much of Mode-2 fits into the budget."""
import time

from hypothesis import given
from hypothesis import strategies as st
from planner_problems import generator, quadratic, solve, with_choices
import pytest
import tiny
import torch

from jepa_ros.actor.pace import ladder, LEAST_HORIZON, LEAST_SAMPLES, MARGIN, Pace, RESERVE_MARGIN, Tick
from jepa_ros.actor.planners import PlannerConfig, PLANNERS

CONFIG = PlannerConfig(samples=64, iterations=3, horizon=8, elites=20)


def work(config: PlannerConfig) -> int:
    """Steps of the predictor."""
    return config.samples * config.iterations * config.horizon


def test_gives_up_samples_then_iterations_then_the_horizon():
    rungs = [rung.configs[0] for rung in ladder([CONFIG])]
    assert [(c.samples, c.iterations, c.horizon) for c in rungs] == [
        (64, 3, 8), (32, 3, 8), (16, 3, 8), (16, 1, 8), (16, 1, 4)]
    assert rungs[0] == CONFIG


def test_each_rung_says_what_it_gives_up_of_all_levels():
    low = PlannerConfig(samples=20, iterations=1, horizon=3, elites=4)
    assert [rung.given_up for rung in ladder([low, CONFIG])] == [
        '', '42 of 84 samples', '24 of 84 samples', '24 of 84 samples, 2 of 4 iterations',
        '24 of 84 samples, 2 of 4 iterations, 7 of 11 steps']
    assert ladder([PlannerConfig(samples=8, joint=5)])[1].given_up == '1 of 3 iterations, not refined together'


configs = st.builds(
    lambda samples, elites, joint, method, **rest: PlannerConfig(
        method=method, samples=samples, elites=min(samples, elites), joint=joint, **rest),
    samples=st.integers(1, 200), elites=st.integers(1, 200), joint=st.integers(0, 3), iterations=st.integers(1, 10),
    horizon=st.integers(1, 20), method=st.sampled_from(sorted(PLANNERS.names())))


@tiny.invariant
@given(levels=st.lists(configs, min_size=1, max_size=3))
def test_every_rung_is_cheaper_than_the_one_before(levels):
    rungs = ladder(levels)
    assert rungs[0].configs == tuple(levels) and rungs[0].given_up == ''
    for before, rung in zip(rungs, rungs[1:]):
        assert rung.given_up
        pairs = list(zip(before.configs, rung.configs))
        assert all(work(less) <= work(more) and less.joint <= more.joint for more, less in pairs)
        assert any(work(less) < work(more) or less.joint < more.joint for more, less in pairs)
    for config, full in zip(rungs[-1].configs, levels):
        assert 1 <= config.elites <= config.samples and config.refine <= config.iterations
        assert config.samples >= min(full.samples, LEAST_SAMPLES)
        assert config.horizon >= min(full.horizon, LEAST_HORIZON)


@pytest.mark.parametrize('method, changes', [
    ('exhaustive', {'samples': 100, 'iterations': 66}), ('beam', {'samples': 9}), ('mcts', {'samples': 16}),
    ('cem_gradient', {'samples': 16}), ('gradient', {'samples': 16}), ('icem', {'samples': 16})])
def test_every_method_can_plan_on_every_rung(method, changes):
    """`exhaustive` needs as many samples and iterations as there are sequences, `beam` as many as there are choices."""
    values = torch.linspace(-1, 1, 3 if method == 'exhaustive' else 9)
    rungs = ladder([PlannerConfig(**{'method': method, 'elites': 4, 'horizon': 8, 'iterations': 3} | changes)])
    assert len(rungs) > 1
    for rung in rungs:
        chosen = PLANNERS.get(method)(rung.configs[0])
        search = solve(chosen, quadratic, with_choices(values[:, None].expand(-1, 2)), generator=generator())
        assert search.actions.shape == (1, rung.configs[0].horizon, 2)


def paced(*usual_ms: float) -> Pace:
    pace = Pace(len(usual_ms))
    for rung, ms in enumerate(usual_ms):
        pace.calibrate(rung, ms)
    return pace


@pytest.mark.parametrize('budget_ms, rung', [
    (1000, 0), (MARGIN * 40, 0), (45, 1), (23.1, 1), (22.9, 2), (5.8, 3), (5.7, None)])
def test_takes_the_first_rung_that_fits_with_a_margin(budget_ms, rung):
    assert paced(40, 20, 10, 5).choose(budget_ms) == rung


def test_what_is_not_known_is_tried():
    assert Pace(3).choose(0.001) == 0
    pace = Pace(3)
    pace.took(0, 50)
    assert pace.choose(20) == 1
    pace.took(1, 30)
    assert pace.choose(20) == 2
    pace.took(2, 25)
    assert pace.choose(20) is None


def test_the_least_of_several_calibrations_counts():
    pace = paced(40)
    pace.calibrate(0, 30)
    pace.calibrate(0, 90)
    assert pace.expected_ms(0) == 30


def test_a_slower_machine_steps_down_at_once_and_up_again_after_a_while():
    pace = paced(40, 20, 10)
    assert pace.choose(50) == 0
    pace.took(0, 120)
    assert pace.choose(50) == 1         # half of what was, half of what is: twice as slow
    pace.took(1, 60)
    assert pace.choose(50) == 2
    taken = []
    for _ in range(30):                 # as quick as ever
        rung = pace.choose(50)
        taken.append(rung)
        pace.took(rung, (40, 20, 10)[rung])
    assert taken == sorted(taken, reverse=True) and set(taken) == {0, 1, 2} and taken.count(0) < 20


def test_a_machine_that_stays_slow_stays_on_the_rung_that_fits():
    pace = paced(40, 20, 10)
    for _ in range(50):
        rung = pace.choose(50)
        pace.took(rung, 2 * (40, 20, 10)[rung])
    assert [pace.choose(50) for _ in range(3)] == [1] * 3
    assert pace.expected_ms(1) == pytest.approx(40, rel=0.05)


def test_a_machine_that_was_busy_at_the_calibration_is_seen_to_be_quicker():
    pace = paced(40, 20)
    for _ in range(40):
        pace.took(1, 10)
    assert pace.choose(25) == 0 and pace.expected_ms(0) == pytest.approx(20, rel=0.05)


def test_after_ticks_without_a_plan_mode_2_is_tried_again():
    pace = paced(40, 20)
    for _ in range(4):
        pace.took(0, 400)
    assert pace.choose(50) is None
    waited = 0
    while pace.choose(50) is None:
        pace.rested()
        waited += 1
        assert waited < 200
    assert waited > 10 and pace.choose(50) == 1


def left_ms(pace: Pace, budget_ms: float) -> float:
    """What a search may take."""
    return (pace.deadline(Tick(budget_ms, since_s=100.0)) - 100.0) * 1e3


def test_a_search_ends_a_tenth_of_the_budget_early_though_nothing_was_ever_late():
    pace = paced(40)
    pace.ended(-12.0)
    assert left_ms(pace, 30) == pytest.approx(27)


def test_once_too_late_searches_end_earlier_for_a_while():
    pace = paced(40)
    pace.ended(6.0)
    assert left_ms(pace, 30) == pytest.approx(30 - 6 * RESERVE_MARGIN)
    after = []
    for _ in range(3000):
        pace.ended(-1.0)
        after.append(left_ms(pace, 30))
    assert after == sorted(after) and after[500] < 26 and after[-1] == pytest.approx(27)


def test_the_reserve_takes_half_of_the_budget_at_most():
    pace = paced(40)
    pace.ended(500.0)
    assert left_ms(pace, 30) == pytest.approx(15)


def test_the_budget_counts_from_when_the_state_was_there():
    tick = Tick(30.0, since_s=time.perf_counter() - 1.0)
    assert tick.latency_ms >= 1000 and tick.thought_ms < 1000
