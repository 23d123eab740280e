"""Intervals, percentiles and control timing."""
import math

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from jepa_ros.evaluation.metrics import path_length_m, percentiles, timing, wilson_interval

PERIOD_NS = 100_000_000


@pytest.mark.parametrize('successes, trials, low, high', [
    (50, 100, 0.4038, 0.5962), (95, 100, 0.8882, 0.9785), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)])
def test_wilson_interval_has_its_textbook_values(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_rate_and_stays_a_probability(counts):
    low, high = wilson_interval(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1


def test_wilson_interval_of_nothing_says_nothing():
    assert wilson_interval(0, 0) == (0, 1)


def test_percentiles_of_nothing_are_none():
    assert percentiles([], (50, 95)) == {'p50': None, 'p95': None}


def test_percentiles_interpolate():
    assert percentiles(range(101)) == {'p50': 50, 'p95': 95, 'p99': 99}


def stream(delays_ms, begin_s=10.0):
    """Percepts at 10 Hz and the actions that answer them; None is no answer."""
    percepts = {i * PERIOD_NS: begin_s + 0.1 * i for i in range(len(delays_ms))}
    actions = {stamp: s + d / 1e3 for (stamp, s), d in zip(percepts.items(), delays_ms) if d is not None}
    return percepts, actions


def test_a_late_and_a_missing_action_are_deadline_misses():
    percepts, actions = stream([20, 30, 150, None, 40, 20])
    kept = timing(percepts, actions, [(9.9, 11)])
    assert (kept.percepts, kept.answered, kept.misses) == (6, 5, 2)
    assert kept.miss_rate == pytest.approx(2 / 6)
    assert sorted(kept.latencies_ms) == pytest.approx([20, 20, 30, 40, 150])


def test_percepts_outside_a_pursuit_need_no_action():
    percepts, actions = stream([None] * 5 + [20] * 5 + [None] * 5)
    kept = timing(percepts, actions, [(10.45, 11.05)])
    assert (kept.percepts, kept.misses) == (5, 0)


def test_the_percept_that_ends_a_pursuit_needs_no_action():
    percepts, actions = stream([20, 20, 20, None])
    kept = timing(percepts, actions, [(9.99, 10.31)])
    assert (kept.percepts, kept.misses) == (3, 0)


def test_control_rate_counts_only_gaps_within_a_pursuit():
    percepts, actions = stream([20] * 10)
    late_percepts, late_actions = stream([20] * 10, begin_s=100.0)
    shifted = {stamp + 10**12: s for stamp, s in late_percepts.items()}
    answers = {stamp + 10**12: s for stamp, s in late_actions.items()}
    kept = timing(percepts | shifted, actions | answers, [(9.9, 11.5), (99.9, 101.5)])
    assert kept.control_hz == pytest.approx(10)


def test_timing_of_nothing_is_zero():
    kept = timing({}, {}, [(0, 1)])
    assert (kept.control_hz, kept.miss_rate, kept.latencies_ms) == (0, 0, ())


@given(st.lists(st.one_of(st.none(), st.floats(1, 500)), max_size=30))
def test_every_percept_is_answered_in_time_or_missed(delays):
    percepts, actions = stream(delays)
    kept = timing(percepts, actions, [(0, math.inf)])
    in_time = sum(d is not None and d <= 99.999 for d in delays)
    borderline = sum(d is not None and 99.999 < d < 100.001 for d in delays)
    assert kept.percepts == len(delays)
    assert len(delays) - in_time - borderline <= kept.misses <= len(delays) - in_time


def test_path_length_adds_up():
    assert path_length_m(np.array([[0, 0], [3, 4], [3, 5]], float)) == pytest.approx(6)
