"""Set points of the arm's joints: bounded speed and acceleration, exact arrival."""
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from jepa_ros.sim.worlds.arm_model import ACCELERATIONS, JOINTS, SPEED_LIMITS
from jepa_ros.sim.worlds.arm_motion import LEAD, SetPoints

STEP_S = 0.004
COUNT = len(JOINTS)
REACH = np.array([1.0] * 7 + [0.04])
PERCENT = st.lists(st.integers(-100, 100), min_size=COUNT, max_size=COUNT)
TARGETS = PERCENT.map(lambda percent: np.array(percent) / 100 * REACH)


def following(points, targets, steps):
    """Positions and velocities (steps, A) where the joints follow without lag."""
    trace = []
    for _ in range(steps):
        points.advance(targets, points.positions)
        trace.append((points.positions.copy(), points.velocities.copy()))
    return tuple(np.array(column) for column in zip(*trace))


@settings(max_examples=40, deadline=None)
@given(sequence=st.lists(st.tuples(TARGETS, st.integers(1, 60)), min_size=1, max_size=5))
def test_speed_and_acceleration_stay_within_limits_whatever_is_asked(sequence):
    points = SetPoints(COUNT, STEP_S)
    traces = [following(points, targets, steps) for targets, steps in sequence]
    positions, velocities = (np.concatenate([trace[i] for trace in traces]) for i in range(2))
    assert (np.abs(velocities) <= SPEED_LIMITS).all()
    assert (np.abs(np.diff(positions, axis=0)) <= SPEED_LIMITS * STEP_S + 1e-12).all()
    # the step that ends at the target may take away a little more
    assert (np.abs(np.diff(velocities, axis=0)) <= 2 * ACCELERATIONS * STEP_S + 1e-12).all()


@settings(max_examples=30, deadline=None)
@given(targets=TARGETS)
def test_from_rest_each_joint_ends_exactly_at_its_target_and_never_beyond(targets):
    points = SetPoints(COUNT, STEP_S)
    positions, velocities = following(points, targets, 600)
    assert np.array_equal(positions[-1], targets)
    assert (velocities[-1] == 0).all()
    assert (np.abs(positions) <= np.abs(targets) + 1e-12).all()
    assert (np.diff(np.abs(positions), axis=0) >= -1e-12).all()


@settings(max_examples=30, deadline=None)
@given(targets=TARGETS, steps=st.integers(1, 300), between=st.integers(1, 20))
def test_the_stopping_place_stays_the_same_while_braking(targets, steps, between):
    points = SetPoints(COUNT, STEP_S)
    following(points, targets, steps)
    stop = points.stopping_at()
    for _ in range(300 // between):
        following(points, points.stopping_at(), between)
    assert points.positions == pytest.approx(stop, abs=5e-4)
    assert (points.velocities == 0).all()


def test_a_joint_that_is_held_up_is_not_run_away_from():
    points = SetPoints(COUNT, STEP_S)
    for _ in range(500):
        points.advance(np.full(COUNT, 1.0), np.zeros(COUNT))
    assert points.positions == pytest.approx(LEAD)
    assert np.abs(points.velocities).max() <= (ACCELERATIONS * STEP_S).max()
