"""Rank statistics against their definitions, and intervals over episodes."""
import math

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from tiny import invariant

from jepa_ros.evaluation.open_loop.statistics import (
    auroc,
    Bootstrap,
    detected,
    Figure,
    receiver_operating_curve,
    threshold,
)

few = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12).map(np.array)     # whole numbers: many ties


@invariant
@given(few, few)
def test_auroc_is_the_share_of_pairs_that_the_positive_wins_with_ties_as_half(positive, negative):
    pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative]
    assert auroc(positive, negative) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


@invariant
@given(few, few)
def test_auroc_is_the_area_under_the_curve(positive, negative):
    false_alarms, found = receiver_operating_curve(positive, negative)
    area = (np.diff(false_alarms) * (found[1:] + found[:-1]) / 2).sum()
    assert area == pytest.approx(auroc(positive, negative), abs=1e-12)


@invariant
@given(few, few, st.floats(0.0, 1.0))
def test_the_threshold_is_the_lowest_score_with_few_enough_false_alarms(positive, negative, rate):
    chosen = threshold(negative, rate)
    assert (negative > chosen).mean() <= rate + 1e-9
    lower = negative[negative < chosen]
    assert not len(lower) or (negative > lower.max()).mean() > rate
    assert detected(positive, negative, rate) == (positive > chosen).mean()


def test_one_percent_of_three_hundred_is_three():
    assert threshold(np.arange(300.0), 0.01) == 296.0


def test_without_one_side_there_is_nothing_to_tell():
    none = np.zeros(0)
    assert all(math.isnan(x) for x in (auroc(none, np.ones(2)), auroc(np.ones(2), none), threshold(none, 0.1)))


@invariant
@given(st.integers(0, 10_000))
def test_resampled_auroc_is_that_of_the_drawn_steps(seed):
    rng = np.random.default_rng(seed)
    positive, negative = rng.integers(0, 5, 30).astype(float), rng.integers(0, 4, 40).astype(float)
    of_positive, of_negative = rng.integers(0, 4, 30), rng.integers(0, 4, 40)
    bootstrap = Bootstrap(4, seed, resamples=5)
    seen = []
    bootstrap.figure = lambda value, resampled: seen.extend(resampled(bootstrap.weights)) or Figure(value)
    bootstrap.auroc(positive, of_positive, negative, of_negative)
    bootstrap.detected(positive, of_positive, negative, of_negative, 0.2)
    for b, weights in enumerate(bootstrap.weights.astype(int)):
        drawn = np.repeat(positive, weights[of_positive]), np.repeat(negative, weights[of_negative])
        if len(drawn[0]) and len(drawn[1]):
            assert seen[b] == pytest.approx(auroc(*drawn), abs=1e-12)
            assert seen[5 + b] == pytest.approx(detected(*drawn, 0.2), abs=1e-12)


def test_an_interval_of_a_mean_is_that_of_episodes_not_of_steps():
    rng = np.random.default_rng(0)
    means = rng.normal(3, 1, 50)                # each of 50 episodes of 1,000 steps has its own mean
    figure = Bootstrap(50).ratio(1000 * means, np.full(50, 1000.0))
    half = (figure.high - figure.low) / 2
    assert figure.low < figure.value < figure.high
    assert half == pytest.approx(1.96 * means.std() / math.sqrt(50), rel=0.15)


def test_one_episode_has_a_value_without_interval_and_nothing_has_none():
    one = Bootstrap(1)
    assert one.ratio(np.array([6.0]), np.array([3.0])) == Figure(2.0)
    assert one.ratio(np.array([6.0]), np.array([0.0])) == Figure(None)
    assert one.auroc(np.ones(3), np.zeros(3, int), np.zeros(3), np.zeros(3, int)) == Figure(1.0)
