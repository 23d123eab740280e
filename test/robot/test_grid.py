"""Streams on the control grid."""
import numpy as np

from jepa_ros.robot.contract import RobotContract
from jepa_ros.robot.grid import actions_in_force, newest_at, runs

BASE = RobotContract.load('two_rooms').actions[0]
PERIOD = 100_000_000
STAMPS = np.arange(4, dtype=np.int64) * PERIOD  # 0, 0.1, 0.2, 0.3 s


def in_force(commands, stamps=STAMPS, lockstep=False):
    """`commands`: (ms, vx) pairs -> vx of each row, number of rows."""
    times = np.array([round(ms * 1e6) for ms, _ in commands], np.int64)
    values = [np.array([vx, 0], np.float32) for _, vx in commands]
    actions, rows = actions_in_force(BASE, times, values, stamps, PERIOD, lockstep)
    return actions[:, 0].tolist(), rows


def test_in_lockstep_a_row_has_the_first_command_after_its_percept():
    assert in_force([(0.1, 1), (100.1, 2), (200.1, 3), (300.1, 4)], lockstep=True) == ([1, 2, 3, 4], 4)


def test_in_lockstep_a_percept_without_answer_means_standing_still():
    assert in_force([(0.1, 1), (200.1, 3), (300.1, 4)], lockstep=True) == ([1, 0, 3, 4], 4)


def test_otherwise_the_command_in_force_for_most_of_the_row_counts():
    assert in_force([(10, 1), (105, 2), (190, 3), (301, 4)])[0] == [1, 2, 3, 4]


def test_repeats_of_a_command_add_up():
    assert in_force([(0, 1), (30, 2), (60, 2), (99, 5)], STAMPS[:1])[0] == [2]


def test_a_command_counts_until_the_robot_stops_by_itself():
    actions, rows = in_force([(0, 1), (390, 2)])
    assert actions == [1, 1, 1, 0] and rows == 4  # 0.25 s in force: half of the third row


def test_rows_after_the_last_command_are_not_counted():
    assert in_force([(10, 1), (110, 2)])[1] == 2
    assert in_force([])[1] == 0


def test_runs_are_cut_where_a_percept_is_missing():
    stamps = np.array([0, 1, 2, 4, 5, 9]) * PERIOD
    assert [(s.start, s.stop) for s in runs(stamps, PERIOD)] == [(0, 3), (3, 5), (5, 6)]
    assert runs(stamps[:0], PERIOD) == []


def test_rows_never_hold_a_future_sample():
    assert newest_at(np.array([10, 20]), np.array([5, 10, 19, 25])).tolist() == [-1, 0, 0, 1]
