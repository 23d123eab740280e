"""Each rule of the command gate, in the order of design §8, with time given."""
import math
import subprocess
import sys

from hypothesis import example, given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.gate import Gate, Mode, Now, Settings

CONTRACT = RobotContract.load('two_rooms')
NAMES = CONTRACT.action_names
FULL = [0.8, -0.8]


class Bench:
    """A gate and one clock for both times, from 100 s on."""

    def __init__(self, contract=CONTRACT, **settings):
        self.gate = Gate(contract, Settings(**settings))
        self.t = 100.0

    @property
    def now(self) -> Now:
        return Now(round(self.t * 1e9), self.t)

    def act(self, values, names=NAMES, age_s=0.0):
        stamp = round((self.t - age_s) * 1e9)
        assert self.gate.refusal(names, values, stamp, self.now) == ''
        return self.gate.accept(names, values, stamp, self.now)

    def refusal(self, values, names=NAMES, age_s=0.0) -> str:
        return self.gate.refusal(names, values, round((self.t - age_s) * 1e9), self.now)

    def tick(self, after_s=0.05):
        self.t += after_s
        return self.gate.tick(self.now)

    def beat(self, *names, level=0, phase='active', message=''):
        for name in names:
            self.gate.organs.heard(name, level, self.t, phase, message)


def test_stands_still_before_any_action():
    output = Bench().tick()
    assert output.mode is Mode.IDLE and not output.values.any() and not output.reasons


def test_an_action_passes_at_once():
    output = Bench().act(FULL)
    assert output.mode is Mode.PASS
    np.testing.assert_allclose(output.values, FULL)


def test_names_may_come_in_any_order():
    np.testing.assert_allclose(Bench().act([0.1, 0.2], names=NAMES[::-1]).values, [0.2, 0.1])


@pytest.mark.parametrize('values, names, words', [
    ([math.nan, 0.0], NAMES, 'vx_mps is nan'), ([0.0, math.inf], NAMES, 'vy_mps is inf'),
    ([0.0, -math.inf], NAMES, 'vy_mps is -inf'), ([0.9, 0.0], NAMES, r'vx_mps is 0.9, outside [-0.8, 0.8]'),
    ([0.0], NAMES, 'with 1 values'), ([0.0, 0.0], ['vx_mps', 'wz'], "['vx_mps', 'wz']"),
    ([0.0, 0.0], ['vx_mps', 'vx_mps'], 'the contract has'), ([], [], 'with 0 values'),
])
def test_impossible_actions_are_refused_and_named(values, names, words):
    assert words in Bench().refusal(values, names)


def test_a_refused_action_leaves_the_last_one_in_force():
    bench = Bench()
    bench.act([0.5, 0.0])
    assert bench.refusal([math.nan, 0.0])
    np.testing.assert_allclose(bench.tick().values, [0.5, 0.0])


def test_up_to_one_percent_beyond_a_limit_is_clamped():
    np.testing.assert_allclose(Bench().act([0.81, -0.815]).values, FULL)


def test_action_from_a_clock_far_ahead_is_refused():
    assert 'in the future' in Bench().refusal([0.0, 0.0], age_s=-1.5)
    assert Bench().refusal([0.0, 0.0], age_s=-0.05) == ''


def test_rate_limit_ramps_over_the_time_between_percepts():
    slow = CONTRACT.model_copy(update={'actions': [CONTRACT.actions[0].model_copy(update={'fields': [
        field.model_copy(update={'max_rate': 2.0}) for field in CONTRACT.actions[0].fields]})]})
    bench = Bench(slow)
    bench.gate.tick(bench.now)
    bench.t += 0.1
    np.testing.assert_allclose(bench.act(FULL).values, [0.2, -0.2], atol=1e-5)
    np.testing.assert_allclose(bench.tick(0.05).values, [0.3, -0.3], atol=1e-5)


def test_a_lockstep_simulation_ramps_by_its_own_time():
    bench = Bench()
    for step in range(4):  # 0.1 s of simulated time, no wall time: a full reversal must pass
        now = Now(round(1e9 + step * 1e8), 5.0)
        output = bench.gate.accept(NAMES, [0.8 * (-1) ** step, 0.0], now.ros_ns, now)
    np.testing.assert_allclose(output.values, [-0.8, 0.0])


def test_an_old_action_decelerates_to_zero():
    bench = Bench(action_timeout_s=0.35, sensor_timeout_s=0)
    bench.act(FULL)
    assert bench.tick(0.34).mode is Mode.PASS
    output = bench.tick(0.02)
    assert output.mode is Mode.DECELERATE and 'percept 0.36 s old' in output.reasons['action']
    assert 0 < output.values[0] < 0.8
    for _ in range(3):
        output = bench.tick()
    assert output.mode is Mode.IDLE and not output.values.any()


def test_silence_of_the_actor_decelerates_even_when_ros_time_stands():
    bench = Bench(silence_timeout_s=0.5)
    bench.act(FULL)
    frozen = bench.now.ros_ns
    assert bench.gate.tick(Now(frozen, bench.t + 0.49)).mode is Mode.PASS
    output = bench.gate.tick(Now(frozen, bench.t + 0.51))
    assert output.mode is Mode.DECELERATE and 'no action for 0.51 s' in output.reasons['action']


def test_streams_that_hold_keep_their_last_command():
    holding = CONTRACT.model_copy(update={'actions': [CONTRACT.actions[0].model_copy(update={'safe': 'hold'})]})
    bench = Bench(holding, required_organs=('actor',))
    bench.beat('actor')
    bench.act(FULL)
    output = bench.tick(1.0)
    assert output.mode is Mode.STOP
    np.testing.assert_allclose(output.values, FULL)


def test_a_stale_sensor_stops_at_once_and_a_new_percept_releases():
    bench = Bench(sensor_timeout_s=0.3, action_timeout_s=0, silence_timeout_s=0)
    bench.act(FULL)
    assert bench.tick(0.29).mode is Mode.PASS
    output = bench.tick(0.02)
    assert output.mode is Mode.STOP and not output.values.any()
    assert 'no new percept for 0.31 s' in output.reasons['sensor']
    bench.gate.percept(bench.now.ros_ns)
    assert bench.tick().mode is Mode.PASS


def test_surprise_slows_then_stops_then_is_forgotten():
    bench = Bench(surprise_slow=10, surprise_stop=50, surprise_hold_s=0.5, slow_factor=0.5, sensor_timeout_s=0,
                  action_timeout_s=0, silence_timeout_s=0)
    bench.act(FULL)
    bench.gate.surprise(9.9, bench.now)
    assert bench.tick().mode is Mode.PASS
    bench.gate.surprise(10.0, bench.now)
    output = bench.tick()
    assert output.mode is Mode.SLOW
    np.testing.assert_allclose(output.values, [0.4, -0.4])
    bench.gate.surprise(60.0, bench.now)
    output = bench.tick()
    assert output.mode is Mode.STOP and 'surprise is 60 times' in output.reasons['surprise']
    assert bench.tick(0.6).mode is Mode.PASS


@pytest.mark.parametrize('surprise', [math.nan, 0.0, 1e9])
def test_surprise_without_thresholds_or_value_changes_nothing(surprise):
    bench = Bench(surprise_slow=0.0, surprise_stop=0.0)
    bench.act(FULL)
    bench.gate.surprise(surprise, bench.now)
    assert bench.tick().mode is Mode.PASS


def test_unknown_surprise_says_nothing():
    bench = Bench(surprise_slow=10.0, surprise_stop=50.0)
    bench.act(FULL)
    bench.gate.surprise(math.nan, bench.now)
    assert bench.tick().mode is Mode.PASS


def test_emergency_stop_holds_until_reset_and_then_waits_for_a_new_action():
    bench = Bench()
    bench.act(FULL)
    bench.gate.stop('button')
    output = bench.tick(0.01)
    assert output.mode is Mode.STOP and not output.values.any() and 'button' in output.reasons['emergency']
    assert bench.act(FULL).mode is Mode.STOP
    bench.gate.reset()
    assert bench.tick(0.01).mode is Mode.IDLE
    assert bench.act(FULL).mode is Mode.PASS


def test_a_silent_organ_stops_the_robot_and_is_named_until_it_is_back():
    bench = Bench(required_organs=('perception', 'actor'), organ_timeout_s=0.3)
    bench.beat('perception', 'actor')
    bench.act(FULL)
    bench.t += 0.2
    bench.beat('actor')
    bench.act(FULL)
    output = bench.tick(0.11)
    assert output.mode is Mode.STOP and not output.values.any()
    assert output.reasons == {'organ perception': 'perception is lost: no heartbeat for 0.3 s'}
    assert bench.gate.organs.broken('organ perception', bench.t)
    bench.beat('perception')
    assert bench.act(FULL).mode is Mode.PASS


def test_an_organ_never_heard_stops_but_is_not_broken():
    bench = Bench(required_organs=('perception', 'actor'))
    bench.beat('actor')
    output = bench.act(FULL)
    assert output.mode is Mode.STOP and output.reasons == {'organs': 'waiting for perception'}
    assert not bench.gate.organs.broken('organs', bench.t)


@pytest.mark.parametrize('beat, words', [
    (dict(phase='inactive', level=1), 'actor is inactive'),
    (dict(level=2, message='CUDA is gone'), 'actor reports an error: CUDA is gone'),
    (dict(phase='dead', level=2, message='signal 9, SIGKILL'), 'actor is dead: signal 9, SIGKILL'),
])
def test_an_organ_that_does_not_work_stops_the_robot(beat, words):
    bench = Bench(required_organs=('actor',))
    bench.beat('actor', **beat)
    output = bench.act(FULL)
    assert output.mode is Mode.STOP and output.reasons == {'organ actor': words}


def test_an_organ_said_to_be_dead_stops_the_robot_before_it_could_be_missed_and_stays_so_until_it_beats():
    bench = Bench(required_organs=('actor',), organ_timeout_s=0.3)
    bench.beat('actor')
    assert bench.act(FULL).values.any()
    bench.beat('actor', phase='dead', level=2, message='signal 9, SIGKILL')
    for later_s in (0.05, 1.0):
        output = bench.tick(later_s)
        assert (output.mode, output.reasons['organ actor']) == (Mode.STOP, 'actor is dead: signal 9, SIGKILL')
        assert not output.values.any()
    bench.beat('actor')
    assert bench.act(FULL).mode is Mode.PASS


def test_a_warning_of_an_organ_does_not_stop():
    bench = Bench(required_organs=('actor',))
    bench.beat('actor', level=1, message='late')
    assert bench.act(FULL).mode is Mode.PASS


def test_robot_stands_within_half_a_second_of_an_organs_death():
    bench = Bench(required_organs=('actor',), sensor_timeout_s=0, action_timeout_s=0, silence_timeout_s=0)
    bench.beat('actor')
    bench.act(FULL)
    died = bench.t
    while bench.tick(0.05).values.any():
        assert bench.t - died < 0.5
    assert bench.t - died <= 0.3 + 0.05 + 1e-9


@given(st.lists(st.tuples(st.lists(st.floats(allow_nan=True, width=64), min_size=2, max_size=2),
                          st.floats(0, 0.5), st.floats(-2, 2), st.sampled_from(['', 'stop', 'reset', 'beat'])),
                max_size=30))
@example([([0.0, 0.0], 0.0, 0.0, 'beat'), ([0.0, 0.5], 0.0, 0.0, ''), ([0.0, 1.0], 0.0, 0.0, 'reset')])
@settings(max_examples=80, deadline=None)
def test_whatever_comes_commands_are_finite_within_limits_and_zero_while_stopped(events):
    bench = Bench(required_organs=('actor',), surprise_slow=10, surprise_stop=50)
    for values, pause_s, age_s, event in events:
        bench.t += pause_s
        if event == 'stop':
            bench.gate.stop('x')
        elif event == 'reset':
            bench.gate.reset()
        elif event == 'beat':
            bench.beat('actor')
        else:
            bench.gate.surprise(values[0], bench.now)
        if not bench.refusal(values, age_s=age_s):
            bench.act(values, age_s=age_s)
        output = bench.tick(0.01)
        assert np.isfinite(output.values).all()
        assert (output.values >= CONTRACT.action_low).all() and (output.values <= CONTRACT.action_high).all()
        assert output.mode not in (Mode.STOP, Mode.IDLE) or not output.values.any()


def test_gate_loads_no_torch():
    code = ('import sys, jepa_ros.robot.gate_node; '
            'sys.exit(" ".join(m for m in ("torch", "cv2", "mujoco") if m in sys.modules) or 0)')
    subprocess.run([sys.executable, '-c', code], check=True)


def test_in_lockstep_nothing_is_sent_between_actions_but_stops():
    slow = CONTRACT.model_copy(update={'actions': [CONTRACT.actions[0].model_copy(update={'fields': [
        field.model_copy(update={'max_rate': 2.0}) for field in CONTRACT.actions[0].fields]})]})
    bench = Bench(slow, forward_only=True, required_organs=('driver',))
    bench.beat('driver')
    first = bench.act(FULL)
    np.testing.assert_allclose(first.values, [0.2, -0.2], atol=1e-5)
    np.testing.assert_array_equal(bench.tick(0.05).values, first.values)
    output = bench.tick(1.0)
    assert output.mode is Mode.STOP and not output.values.any()
