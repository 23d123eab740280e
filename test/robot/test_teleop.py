"""From sticks and keys to actions within the contract's limits."""
from hypothesis import given
from hypothesis import strategies as st
import pytest

from jepa_ros.errors import ConfigError
from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.teleop import axes_from, KeyStick, Sticks

CAR = RobotContract.load('donkeycar')
TWO_ROOMS = RobotContract.load('two_rooms')


def test_a_full_stick_is_the_limit_and_the_middle_is_rest():
    sticks = Sticks(TWO_ROOMS, axes_from('1,0'))
    assert sticks.action([0.5, -1.0]).tolist() == pytest.approx([-0.8, 0.4])
    assert sticks.action([0.0, 0.0]).tolist() == sticks.rest().tolist() == [0.0, 0.0]


def test_a_minus_turns_an_axis_round():
    assert Sticks(TWO_ROOMS, axes_from('-1, 3')).action([0, 1.0, 0, 0.5]).tolist() == pytest.approx([-0.8, 0.4])


def test_axes_that_the_joystick_does_not_have_are_at_rest():
    assert Sticks(TWO_ROOMS, axes_from('1,7')).action([0.0, 1.0]).tolist() == pytest.approx([0.8, 0.0])


@given(st.lists(st.floats(), max_size=4))
def test_whatever_a_joystick_says_the_action_is_within_the_limits(axes):
    for contract in (CAR, TWO_ROOMS):
        action = Sticks(contract, axes_from('1,0')).action(axes)
        assert (action >= contract.action_low).all() and (action <= contract.action_high).all()


@pytest.mark.parametrize(('text', 'words'), [('', 'axes is empty'), ('1,x', "'x' is no number of an axis")])
def test_axes_that_cannot_be_are_one_line(text, words):
    with pytest.raises(ConfigError, match=words):
        axes_from(text)


def test_more_axes_than_action_numbers_are_refused():
    with pytest.raises(ConfigError, match=r'names 3 axes, robot two_rooms has only 2 action numbers \(vx_mps, vy_mps'):
        Sticks(TWO_ROOMS, axes_from('1,0,2'))


def test_keys_move_axes_in_steps_and_space_lets_go():
    stick = KeyStick()
    for key in ('up', 'up', 'left', 'down', *['up'] * 9):
        assert stick.press(key)
    assert stick.axes == [0.25, 1.0]
    assert not stick.press('x') and stick.press(' ') and stick.axes == [0.0, 0.0]
