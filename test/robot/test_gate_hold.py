"""The command gate of a robot with both kinds of streams: joints that hold beside wheels that stop."""
import numpy as np
import pytest

from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.gate import Gate, Mode, Now, Settings

from .arm_contract import ARM

CONTRACT = RobotContract.parse(ARM)
NAMES = ['a_rad', 'b_rad', 'vx_mps']


def now(t: float) -> Now:
    return Now(round(t * 1e9), t)


@pytest.fixture
def gate() -> Gate:
    return Gate(CONTRACT, Settings(sensor_timeout_s=0.0))


def act(gate: Gate, t: float, *values: float):
    assert gate.refusal(NAMES, values, round(t * 1e9), now(t)) == ''
    return gate.accept(NAMES, values, round(t * 1e9), now(t))


def test_before_the_first_command_there_is_nothing_to_hold_and_wheels_stand(gate):
    for output in (gate.tick(now(1.0)), gate.tick(now(1.05))):
        assert output.mode is Mode.IDLE
        np.testing.assert_array_equal(output.values, [np.nan, np.nan, 0.0])


def test_an_emergency_stop_before_the_first_command_sends_joints_nowhere(gate):
    gate.stop('test')
    np.testing.assert_array_equal(gate.tick(now(1.0)).values, [np.nan, np.nan, 0.0])


def test_the_first_command_passes_whole_when_nobody_knows_where_the_joints_stand(gate):
    np.testing.assert_allclose(act(gate, 1.0, 2.0, -1.0, 0.5).values, [2.0, -1.0, 0.5])


def test_when_actions_cease_joints_hold_and_wheels_stop(gate):
    act(gate, 1.0, 1.0, -2.0, 0.5)
    np.testing.assert_allclose(gate.tick(now(3.0)).values, [1.0, -2.0, 0.0])
    assert gate.tick(now(3.1)).mode is Mode.IDLE
