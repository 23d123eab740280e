"""`jepa-ros goal`: which goal its options make."""
from pathlib import Path

import pytest

from jepa_ros.action import PursueGoal
from jepa_ros.cli.goal import _line, goal_message
from jepa_ros.errors import ConfigError

NOTHING = (None, [], None, None)


def test_words_are_a_goal():
    message = goal_message(*NOTHING, say='go to the red door')
    assert (message.kind, message.sentence) == (PursueGoal.Goal.SENTENCE, 'go to the red door')


def test_a_task_alone_knows_its_goal_itself():
    assert goal_message(*NOTHING, task='patrol').kind == PursueGoal.Goal.OWN
    assert goal_message(None, ['x_m=1'], None, None, task='reach').kind == PursueGoal.Goal.READOUT


@pytest.mark.parametrize('given, line', [
    ((*NOTHING,), r'or --task alone for one that knows its goal itself \(given: none\)'),
    ((None, ['x_m=1'], None, None, 'go there'), r'\(given: --readout, --say\)'),
    ((None, ['x_m'], None, None), '--readout x_m: expected name=number'),
    ((None, [], Path('bag'), None), '--bag needs --time')])
def test_options_that_do_not_go_together_are_one_line(given, line):
    with pytest.raises(ConfigError, match=line):
        goal_message(*given)


def test_the_progress_says_which_part_runs_and_leaves_out_what_there_is_not():
    feedback = PursueGoal.Feedback(energy=float('nan'), elapsed=3.0, plan_latency_ms=8.0, part='2/4 reach', landmarks=5)
    assert _line(feedback) == '2/4 reach, 5 landmarks to go, 3.0 s, plan 8 ms'
