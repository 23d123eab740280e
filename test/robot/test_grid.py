"""Commands on the ticks of an episode."""
import numpy as np
import pytest

from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.grid import actions_in_force

BASE = RobotContract.load('two_rooms').actions[0]
HELD = BASE.model_copy(update={'align': 'hold'})
PERIOD = 100_000_000
STAMPS = np.arange(4, dtype=np.int64) * PERIOD  # 0, 0.1, 0.2, 0.3 s


def in_force(commands, stamps=STAMPS, lockstep=False, stream=BASE):
    """`commands`: (ms, vx) pairs -> vx of each row, rows whose command is known."""
    times = np.array([round(ms * 1e6) for ms, _ in commands], np.int64)
    values = [np.array([vx, 0], np.float32) for _, vx in commands]
    actions, known = actions_in_force(stream, times, values, stamps, PERIOD, lockstep)
    return actions[:, 0].tolist(), known


def test_in_lockstep_a_row_has_the_first_command_after_its_percept():
    assert in_force([(0.1, 1), (100.1, 2), (200.1, 3), (300.1, 4)], lockstep=True) == ([1, 2, 3, 4], range(4))


def test_in_lockstep_a_percept_without_answer_means_standing_still():
    assert in_force([(0.1, 1), (200.1, 3), (300.1, 4)], lockstep=True) == ([1, 0, 3, 4], range(4))


def test_otherwise_the_command_in_force_for_most_of_the_row_counts():
    assert in_force([(10, 1), (105, 2), (190, 3), (301, 4)])[0] == [1, 2, 3, 4]


def test_repeats_of_a_command_add_up():
    assert in_force([(0, 1), (30, 2), (60, 2), (99, 5)], STAMPS[:1])[0] == [2]


def test_a_command_counts_until_the_robot_stops_by_itself():
    actions, known = in_force([(0, 1), (390, 2)])
    assert actions == [1, 1, 1, 0] and known == range(4)  # 0.25 s in force: half of the third row


def test_rows_after_the_last_command_are_not_known():
    assert in_force([(10, 1), (110, 2)])[1] == range(2)
    assert in_force([])[1] == range(0)


def test_a_command_that_holds_is_in_force_until_the_next():
    assert in_force([(0, 1), (290, 2)], stream=HELD) == ([1, 1, 1, 2], range(4))


def test_rows_before_the_first_command_that_holds_are_not_known_and_no_zeros_are_made_up():
    assert in_force([(150, 1)], stream=HELD)[1] == range(2, 4)
    assert in_force([], stream=HELD)[1] == range(4, 4)


def test_a_command_that_held_before_the_first_row_holds_on():
    assert in_force([(-5000, 3)], stream=HELD) == ([3, 3, 3, 3], range(4))


@pytest.mark.parametrize('update', [{'align': 'hold'}, {'safe': 'hold'}])
def test_a_safe_value_of_hold_and_an_alignment_of_hold_mean_the_same_to_a_reader(update):
    assert in_force([(0, 1)], stream=BASE.model_copy(update=update)) == ([1, 1, 1, 1], range(4))
