"""Distances between states."""
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import numpy as np
import pytest
from tiny import invariant
import torch

from jepa_ros.energy.distance import DISTANCES, euclidean, huber, manhattan, squared
from jepa_ros.errors import ConfigError

pairs = hnp.arrays(np.float64, (2, 5), elements=st.floats(-100, 100)).map(torch.from_numpy)


@pytest.mark.parametrize('name', ['squared', 'euclidean', 'cosine', 'manhattan', 'huber'])
@invariant
@given(pairs)
def test_is_symmetric_and_not_negative(name, pair):
    distance = DISTANCES.get(name)
    there, back = float(distance(pair[0], pair[1])), float(distance(pair[1], pair[0]))
    assert there == pytest.approx(back, abs=1e-9)
    assert there >= -1e-9


@pytest.mark.parametrize('name', ['squared', 'euclidean', 'cosine', 'manhattan', 'huber'])
def test_is_zero_between_equal_states(name):
    s = torch.tensor([0.3, -2.0, 5.0])
    assert float(DISTANCES.get(name)(s, s)) == pytest.approx(0.0, abs=2e-6)


def test_does_not_depend_on_the_number_of_dimensions():
    assert float(squared(torch.zeros(3), torch.ones(3))) == float(squared(torch.zeros(300), torch.ones(300))) == 1.0


def test_euclidean_has_a_finite_gradient_at_the_goal():
    s = torch.zeros(4, requires_grad=True)
    euclidean(s, torch.zeros(4)).backward()
    assert bool(torch.isfinite(s.grad).all())


def test_cosine_ignores_length_and_sees_direction():
    cosine = DISTANCES.get('cosine')
    a = torch.tensor([1.0, 0.0])
    assert float(cosine(a, 7 * a)) == pytest.approx(0.0, abs=1e-6)
    assert float(cosine(a, torch.tensor([0.0, 2.0]))) == pytest.approx(1.0, abs=1e-6)
    assert float(cosine(a, -a)) == pytest.approx(2.0, abs=1e-6)


def test_huber_is_half_the_square_nearby_and_the_absolute_difference_far_away():
    near, far = torch.tensor([1e-2, -2e-2], dtype=torch.float64), torch.tensor([1e4, -3e4], dtype=torch.float64)
    zero = torch.zeros_like(near)
    assert float(huber(near, zero)) == pytest.approx(float(squared(near, zero)) / 2, rel=1e-3)
    assert float(huber(far, zero)) == pytest.approx(float(manhattan(far, zero)), rel=1e-3)


def test_manhattan_counts_one_far_dimension_once():
    assert float(manhattan(torch.tensor([4.0, 0.0]), torch.tensor([0.0, 0.0]))) == 2.0


def test_batches_keep_their_leading_dimensions():
    for name in DISTANCES.names():
        assert DISTANCES.get(name)(torch.randn(2, 3, 5), torch.randn(5)).shape == (2, 3)


def test_unknown_distance_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"unknown distance 'squard' \(did you mean squared\?\); known: cosine"):
        DISTANCES.get('squard')
