"""Tasks of the user's own, sequences and sentences through the running nodes."""
import time

import pytest

from jepa_ros.action import PursueGoal
from jepa_ros.msg import EpisodeEvent
from jepa_ros.runtime.stack import Stack
from jepa_ros.runtime.supervisor import Supervisor

GOAL, CODES = PursueGoal.Goal, PursueGoal.Result
TASKS = {
    'pause': 'description: pause here for a short moment\ngoal: stay\nsuccess: {after_s: 0.4}\n',
    'never_there': 'goal: {readouts: {x_m: 90}}\ntimeout_s: 0.5\n',
    'two_pauses': 'sequence: [pause, never_there, pause]\non_failure: next\n',
    'hopeless': 'sequence: [pause, never_there]\n',
    'far': 'landmarks: true\ntimeout_s: 1\n',
    'unpleasant': 'goal: none\ntimeout_s: 1\ndiscomfort: [{centre: {x_m: 0.0}, radius: 1.0}]\n',
    'slow': 'goal: {readouts: {x_m: 90}}\nspeed: 0.25\n', 'hurried': 'goal: {readouts: {x_m: 90}}\n',
    'tuned': 'goal: stay\nsuccess: never\nmodulation: {hurry: 1.0}\n',
}


@pytest.fixture(scope='module')
def client(new_client, random_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp('tasks')
    for name, text in TASKS.items():
        if name != 'tuned':
            (folder / f'{name}.yaml').write_text(text)
    stack = Stack(model=str(random_model), world='two_rooms', tasks=str(folder), speed=0.5)
    with Supervisor(stack, print) as supervisor:
        supervisor.wait_ready(60.0)
        made = new_client()
        made.wait(lambda: made.heard('state'), 'the first state')
        yield made
        made.close()


def test_a_task_that_knows_its_goal_is_done(client):
    result = client.pursue(kind=GOAL.OWN, task='pause')
    assert (result.error_code, result.part) == (CODES.NONE, '') and result.message.startswith('reached in 0.')


def test_a_sequence_says_which_part_runs_and_marks_how_each_ended(client):
    handle = client.send(kind=GOAL.OWN, task='two_pauses')
    result = client.result(handle)
    assert (result.error_code, result.part) == (CODES.NONE, '3/3 pause')
    told = list(dict.fromkeys(f.part for f in handle.progress))     # the last feedback may come after the result
    assert told == ['1/3 pause', '2/3 never_there', '3/3 pause'][:len(told)] and len(told) >= 2
    goal_id = bytes(handle.goal_id.uuid).hex()[:12]
    client.wait(lambda: any(e.goal_id == goal_id and e.event == EpisodeEvent.SUCCESS for e in client.heard('episode')),
                'the end')
    events = [(e.event, e.reason) for e in client.heard('episode') if e.goal_id == goal_id]
    e = EpisodeEvent
    assert [event for event, _ in events] == [e.START, e.GOAL, e.PART_SUCCESS, e.GOAL, e.PART_FAILURE, e.GOAL,
                                              e.PART_SUCCESS, e.SUCCESS]
    assert events[1][1] == 'two_pauses: 1/3 pause' and events[4][1] == '2/3 never_there: not reached within 0.5 s'
    parts = [c.part for c in client.heard('configuration') if c.goal_id == goal_id]
    assert list(dict.fromkeys(parts)) == ['1/3 pause', '2/3 never_there', '3/3 pause']


def test_a_sequence_that_fails_says_which_part_and_why(client):
    result = client.pursue(kind=GOAL.OWN, task='hopeless')
    assert (result.error_code, result.message) == (CODES.TIMEOUT, '2/2 never_there: not reached within 0.5 s')


def test_a_sequence_is_preempted_by_a_new_goal_at_once(client):
    first = client.send(kind=GOAL.OWN, task='hopeless')
    client.wait(lambda: first.progress, 'the first part to run')
    second = client.send(kind=GOAL.OWN, task='pause')
    assert client.result(first).error_code == CODES.PREEMPTED and client.result(second).error_code == CODES.NONE


def test_a_task_over_landmarks_runs_and_what_is_unpleasant_reaches_the_other_organs(client):
    state = client.heard('state')[-1]
    result = client.pursue(kind=GOAL.READOUT, names=list(state.readout_names),
                           values=[v + 50 for v in state.readout_values], task='far')
    assert result.error_code == CODES.TIMEOUT
    handle = client.send(kind=GOAL.OWN, task='unpleasant')
    client.wait(lambda: any(c.discomfort and c.discomfort[0].radius == 1.0 for c in client.heard('configuration')),
                'the region')
    assert client.result(handle).error_code == CODES.TIMEOUT


@pytest.mark.parametrize('task, share', [('slow', 0.25), ('hurried', 0.5)])
def test_no_command_is_faster_than_task_and_agent_allow(client, task, share):
    since, handle = time.monotonic(), client.send(kind=GOAL.OWN, task=task)

    def speeds() -> list[float]:
        return [max(abs(m.linear.x), abs(m.linear.y)) for m in client.sent('cmd_vel', since)]
    client.wait(lambda: sum(speed > 0 for speed in speeds()) >= 10, 'ten commands')
    client.wait(handle.cancel_goal_async().done, 'the cancellation')
    client.result(handle)
    assert max(speeds()) <= share * 0.8 + 1e-6        # m/s, of the robot contract


@pytest.mark.parametrize('fields, code, line', [
    ({'kind': GOAL.OWN, 'task': 'reach'}, CODES.BAD_GOAL, 'the goal is empty: give an image, readout values or a'),
    ({'kind': GOAL.OWN, 'task': 'pausse'}, CODES.UNKNOWN_TASK, "unknown task 'pausse' (did you mean pause?)"),
    ({'kind': GOAL.READOUT, 'names': ['x_m'], 'values': [0.0], 'task': 'pause'}, CODES.BAD_GOAL,
     "task 'pause' knows its goal itself (to stay): give none with it"),
    ({'kind': 9}, CODES.BAD_GOAL, 'kind 9 is unknown; use IMAGE (0), READOUT (1), BAG (2), SENTENCE (3) or OWN (4)'),
    ({'kind': GOAL.SENTENCE}, CODES.BAD_GOAL, 'the sentence is empty')])
def test_what_cannot_be_ends_with_its_code_and_one_line(client, fields, code, line):
    result = client.pursue(**fields)
    assert result.error_code == code and line in result.message and '\n' not in result.message


def test_a_sentence_is_a_goal(client):
    pytest.importorskip('wordllama', reason="the text encoder is missing: pip install 'jepa_ros[language]'")
    assert client.pursue(kind=GOAL.SENTENCE, sentence='pause for a moment').error_code == CODES.NONE
    result = client.pursue(kind=GOAL.SENTENCE, sentence='buy milk')
    assert result.error_code == CODES.BAD_GOAL
    assert result.message.startswith("nothing matches 'buy milk'; known: tasks explore, hopeless, hurried, never_there")


def test_a_task_that_the_model_cannot_do_is_refused_before_anything_starts(random_model, tmp_path):
    from jepa_ros.agent import Agent
    from jepa_ros.errors import ConfigError
    path = tmp_path / 'tuned.yaml'
    path.write_text(TASKS['tuned'])
    with pytest.raises(ConfigError, match='tuned.yaml: .*this model was trained without task tokens'):
        Agent.load(random_model, device='cpu', tasks=str(path))
