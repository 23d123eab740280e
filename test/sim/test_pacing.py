"""Simulated against wall time."""
from hypothesis import given
from hypothesis import strategies as st
import pytest

from jepa_ros.errors import ConfigError
from jepa_ros.sim.pacing import Pacer, substep_ns
from jepa_ros.sim.worlds import make_world

STEP_NS = 20_000_000


@given(factor=st.floats(0.1, 50.0), delays=st.lists(st.floats(0.0, 0.004), min_size=1, max_size=50))
def test_small_delays_do_not_add_up_to_drift(factor, delays):
    pacer, now_s = Pacer(factor, 0, 100.0), 100.0
    for step, delay in enumerate(delays, 1):
        due_s = pacer.due_s(step * STEP_NS, now_s)
        assert due_s == pytest.approx(100.0 + step * 0.02 / factor)
        now_s = max(now_s, due_s) + delay
    assert pacer.lost_s == 0


def test_a_long_halt_is_not_made_up_for_by_rushing():
    pacer = Pacer(1.0, 0, 0.0)
    assert pacer.due_s(STEP_NS, 5.0) == 5.0
    assert pacer.due_s(2 * STEP_NS, 5.0) == pytest.approx(5.02)
    assert pacer.lost_s == pytest.approx(4.98)


def test_after_a_restart_time_runs_on_with_the_new_factor():
    pacer = Pacer(1.0, 0, 0.0)
    pacer.restart(2.0, 10 * STEP_NS, 7.0)
    assert pacer.due_s(11 * STEP_NS, 7.0) == pytest.approx(7.01)


@pytest.mark.parametrize(('name', 'substep_s'), [
    ('two_rooms', 0.02), ('diff_drive', 0.02), ('gym:CartPole-v1', 0.02), ('gym:Hopper-v5', 0.008),
    ('gym:MountainCar-v0', 0.033333333)])
def test_the_clock_is_as_near_to_50_hz_as_the_steps_of_a_world_allow(name, substep_s):
    assert substep_ns(make_world(name), 0) == round(substep_s * 1e9)


def test_a_clock_that_does_not_go_into_the_control_period_is_refused_with_those_that_do():
    assert substep_ns(make_world('two_rooms'), 200) == 5_000_000
    with pytest.raises(ConfigError, match='clock_rate_hz = 30: must be one of 10, 20, 40, 50, 100, 200, or 0'):
        substep_ns(make_world('two_rooms'), 30)
