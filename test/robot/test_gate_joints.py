"""The command gate and streams that hold: joint positions, which have no zero to go back to."""
import numpy as np
import pytest

from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.gate import Gate, Mode, Now, Settings

ARM = RobotContract.load('arm')
MIDDLE = (ARM.action_low + ARM.action_high) / 2
STEP = ARM.action_max_rate * ARM.control_period_s
EVERYTHING = slice(0, len(ARM.action_names))


class Bench:
    """A gate of an arm, percepts and clock ticking together."""

    def __init__(self):
        self.gate, self.t = Gate(ARM, Settings()), 100.0

    def act(self, values):
        self.t += ARM.control_period_s
        now = Now(round(self.t * 1e9), self.t)
        assert self.gate.refusal(ARM.action_names, values, now.ros_ns, now) == ''
        return self.gate.accept(ARM.action_names, values, now.ros_ns, now).values


def test_the_first_command_sets_out_from_where_the_joints_stand():
    bench = Bench()
    bench.gate.measure(EVERYTHING, ARM.action_low)
    np.testing.assert_allclose(bench.act(ARM.action_high), ARM.action_low + STEP, rtol=1e-4, atol=1e-6)


def test_later_commands_go_on_from_the_last_one_not_from_where_a_slow_joint_is():
    bench = Bench()
    bench.gate.measure(EVERYTHING, ARM.action_low)
    first = bench.act(ARM.action_high)
    limited = np.minimum(first + STEP, ARM.action_high)
    np.testing.assert_allclose(bench.act(ARM.action_high), limited, rtol=1e-4, atol=1e-5)


def test_a_new_episode_sets_out_from_where_the_joints_were_put():
    bench = Bench()
    bench.gate.measure(EVERYTHING, ARM.action_low)
    for _ in range(3):
        bench.act(ARM.action_low)
    bench.gate.measure(EVERYTHING, ARM.action_high)
    bench.gate.set_out()
    np.testing.assert_allclose(bench.act(MIDDLE), np.maximum(ARM.action_high - STEP, MIDDLE), rtol=1e-4, atol=1e-5)


def test_a_new_episode_changes_nothing_where_joints_are_not_measured():
    bench = Bench()
    first = bench.act(ARM.action_low)
    bench.gate.set_out()
    np.testing.assert_allclose(bench.act(ARM.action_high), first + STEP, rtol=1e-4, atol=1e-5)


def test_stopped_joints_hold_their_last_command():
    bench = Bench()
    bench.gate.measure(EVERYTHING, MIDDLE)
    last = bench.act(ARM.action_high)
    bench.gate.stop('test')
    output = bench.gate.tick(Now(round(bench.t * 1e9), bench.t))
    assert output.mode is Mode.STOP
    assert output.values == pytest.approx(last)


def test_before_any_command_there_is_nothing_to_hold():
    assert np.isnan(Bench().gate.tick(Now(0, 0.0)).values).all()
