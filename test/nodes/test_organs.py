"""Each organ's node on its topics and services, over real DDS, in one process and in six."""
import math
import os
import signal
import time

from action_msgs.msg import GoalStatus
import numpy as np
import pytest
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import UInt32

from jepa_ros.action import PursueGoal
from jepa_ros.msg import Action, Energy, EpisodeEvent, Tensor
from jepa_ros.runtime import qos
from jepa_ros.runtime.messages import tensor_array, tensor_message
from jepa_ros.srv import Configure, Encode, EvaluateEnergy, QueryMemory, Rollout

D, A = 64, 2
CODES = PursueGoal.Result


def key(stamp) -> tuple[int, int]:
    return stamp.sec, stamp.nanosec


def stamped(client, topic: str) -> set:
    return {key(message.header.stamp) for message in client.heard(topic)}


def far(state) -> dict:
    """A readout goal that a random model will not reach."""
    return {'kind': PursueGoal.Goal.READOUT, 'names': list(state.readout_names),
            'values': [value + 50.0 for value in state.readout_values]}


def image(encoding: str = 'rgb8', size: int = 64) -> Image:
    channels = {'rgb8': 3, 'bgr8': 3, 'mono8': 1, '32FC1': 4}[encoding]
    message = Image(height=size, width=size, encoding=encoding, step=channels * size)
    message.data.frombytes(bytes(channels * size * size))
    return message


@pytest.fixture
def client(running):
    """The client, with no goal left over from another test."""
    yield running.client
    running.client.wait(lambda: not running.client.heard('configuration')[-1].active, 'the goal to end')


@pytest.fixture
def driving(client):
    """A goal that is being pursued: the robot has had a command other than zero."""
    handle = client.send(**far(client.heard('state')[-1]))
    client.fresh('cmd_vel', lambda m: m.linear.x or m.linear.y)
    yield handle
    if not handle.answer.done():
        client.wait(handle.cancel_goal_async().done, 'the cancellation')
        client.result(handle)


def test_every_state_has_its_percept_and_comes_ten_times_a_second(client):
    since = time.monotonic()
    client.wait(lambda: len(client.heard('state', since)) >= 10, 'ten states')
    states = client.heard('state', since)
    stamps = [key(s.header.stamp) for s in states]
    client.wait(lambda: stamped(client, 'state') & stamped(client, 'camera/image_raw'),
                'a state with the stamp of an image')
    steps = np.diff([s + n * 1e-9 for s, n in stamps])
    assert np.median(steps) == pytest.approx(0.1, abs=0.02)
    assert states[0].header.frame_id == 'overhead_camera'
    assert states[0].readout_names == ['x_m', 'y_m'] and len(states[0].levels) == 2
    assert tensor_array(states[0].levels[0], 's').shape == (D,)


def test_the_world_model_predicts_one_step_and_tells_surprise(client):
    message = client.fresh('prediction', lambda m: not math.isnan(m.surprise))
    assert (message.level, message.horizon, message.step_period) == (0, 1, pytest.approx(0.1))
    assert tensor_array(message.states, 'states', (1, D)) is not None
    assert message.surprise >= 0.0


def test_every_percept_has_its_energy_term_by_term(client):
    message = client.fresh('energy', lambda m: m.subject == Energy.PERCEPT)
    assert any(term.intrinsic for term in message.terms) and any(term.guardrail for term in message.terms)
    assert message.total == pytest.approx(sum(term.weight * term.value for term in message.terms))
    assert tensor_array(message.per_step, 'per_step').shape == (len(message.terms), 1)


def test_a_plan_is_acted_imagined_and_evaluated(client, driving):
    plan = client.fresh('plan')
    action = client.wait(lambda: [a for a in client.heard('action') if a.plan_id == plan.plan_id], 'its action')[0]
    assert action.names == ['vx_mps', 'vy_mps'] and plan.state_stamp == action.state_stamp
    assert tensor_array(plan.actions, 'actions', (None, A))[0] == pytest.approx(action.values, abs=1e-6)
    assert plan.mode == Action.PLANNED
    for level, horizon in ((0, plan.actions.shape[0]), (1, plan.subgoals[0].shape[0])):
        imagined = client.wait(lambda level=level: [m for m in client.heard('imagination') if m.level == level
                                                    and m.header.stamp == plan.state_stamp], 'its imagination')[0]
        assert imagined.horizon == horizon
    energy = client.wait(lambda: [m for m in client.heard('energy') if m.plan_id == plan.plan_id], 'its energy')[0]
    assert energy.subject == Energy.PLAN and len(energy.terms) > 1
    assert 0 < plan.latency_ms < 1000


def test_feedback_tells_energy_elapsed_and_latency(client, driving):
    client.wait(lambda: len(driving.progress) >= 5 and driving.progress[-1].plan_latency_ms > 0, 'feedback')
    elapsed = [f.elapsed for f in driving.progress]
    assert elapsed == sorted(elapsed) and driving.progress[-1].energy > 10


def test_encode_gives_the_same_state_for_the_same_image(client):
    first, second = (client.call(Encode, 'encode', image=image()) for _ in range(2))
    assert first.success and first.state.levels[0].data == second.state.levels[0].data
    assert first.state.model_id == client.heard('state')[-1].model_id
    bad = client.call(Encode, 'encode', image=image('32FC1'))
    assert not bad.success and "'32FC1'" in bad.message


def test_rollout_predicts_at_both_levels_and_names_a_wrong_one(client):
    state = client.heard('state')[-1].levels[0]
    low = client.call(Rollout, 'rollout', level=0, state=state, actions=tensor_message(np.zeros((5, A), np.float32)))
    assert low.success and low.prediction.horizon == 5
    high = client.call(Rollout, 'rollout', level=1, state=state, actions=tensor_message(np.zeros((3, 8), np.float32)))
    assert high.success and high.prediction.step_period == pytest.approx(0.8)
    wrong = client.call(Rollout, 'rollout', level=7, state=state, actions=tensor_message(np.zeros((1, A), np.float32)))
    assert not wrong.success and 'level 7' in wrong.message
    short = client.call(Rollout, 'rollout', level=0, state=Tensor(dtype='float32', shape=[D], data=[0]),
                        actions=tensor_message(np.zeros((1, A), np.float32)))
    assert not short.success and short.message.startswith('state: 1 bytes')


def test_evaluate_energy_sums_over_steps_and_refuses_nan(client):
    states = np.zeros((4, D), np.float32)
    good = client.call(EvaluateEnergy, 'evaluate_energy', states=tensor_message(states),
                       actions=tensor_message(np.zeros((4, A), np.float32)))
    assert good.success and tensor_array(good.energy.per_step, 'per_step').shape[1] == 4
    states[2, 5] = math.nan
    bad = client.call(EvaluateEnergy, 'evaluate_energy', states=tensor_message(states))
    assert not bad.success and bad.message == 'states: holds NaN or infinity'


def test_memory_recalls_a_state_by_likeness_and_by_time(client):
    state = client.wait(lambda: len(client.heard('state')) >= 5, 'five states') and client.heard('state')[-5]

    def recall(**fields):
        return client.call(QueryMemory, 'query_memory', **fields)
    request = QueryMemory.Request
    client.wait(lambda: recall(kind=request.BY_TIME, stamp=state.header.stamp, count=1).distances.tolist() == [0.0],
                'its triplet')
    by_time = recall(kind=request.BY_TIME, stamp=state.header.stamp, count=3)
    assert by_time.success and by_time.stamps[0] == state.header.stamp and len(by_time.energies) == 3
    by_state = recall(kind=request.BY_STATE, state=state.levels[0], count=1)
    assert by_state.distances[0] == pytest.approx(0.0, abs=1e-4)
    assert tensor_array(by_state.value, 'value').shape == (D + 1,)
    unknown = recall(kind=9)
    assert not unknown.success and 'kind 9' in unknown.message


def test_configure_changes_the_running_task_and_keeps_guardrails(client, driving):
    good = client.call(Configure, 'configure', weight_names=['goal'], weights=[2.0], mode=255, budget_ms=30.0)
    assert good.success and good.configuration.budget_ms == 30.0
    assert dict(zip(good.configuration.weight_names, good.configuration.weights))['goal'] == 2.0
    client.fresh('plan', lambda m: m.budget_ms == 30.0)
    bad = client.call(Configure, 'configure', weight_names=['gaol'], weights=[2.0], mode=255)
    assert not bad.success and "'gaol'" in bad.message


def test_a_goal_where_the_robot_is_succeeds_at_once(client):
    state = client.heard('state')[-1]
    result = client.pursue(kind=PursueGoal.Goal.READOUT, names=list(state.readout_names),
                           values=list(state.readout_values))
    assert (result.error_code, result.message[:7]) == (CODES.NONE, 'reached')
    last = client.wait(lambda: [e for e in client.heard('episode') if e.event == EpisodeEvent.SUCCESS], 'its end')[-1]
    events = [e.event for e in client.heard('episode') if e.goal_id == last.goal_id]
    assert events == [EpisodeEvent.START, EpisodeEvent.GOAL, EpisodeEvent.SUCCESS]


def test_a_goal_image_of_what_is_seen_is_reached(client):
    result = client.pursue(kind=PursueGoal.Goal.IMAGE, image=client.heard('camera/image_raw')[-1])
    assert result.error_code == CODES.NONE and result.energy < 1.0


def test_a_place_that_was_given_a_name_is_a_goal_in_words(client):
    pytest.importorskip('wordllama', reason="the text encoder is missing: pip install 'jepa_ros[language]'")
    request = QueryMemory.Request
    client.wait(lambda: client.call(QueryMemory, 'query_memory', kind=request.LABEL, label='the red door').success,
                'something to name')
    result = client.pursue(kind=PursueGoal.Goal.SENTENCE, sentence='go to the red door')
    assert (result.error_code, result.message[:7]) == (CODES.NONE, 'reached')


@pytest.mark.parametrize('fields, code, word', [
    ({'kind': 1, 'names': ['x_m'], 'values': [0.0], 'task': 'raech'}, CODES.UNKNOWN_TASK, 'did you mean reach'),
    ({'kind': 1, 'names': ['z_m'], 'values': [0.0]}, CODES.BAD_GOAL, "'z_m'"),
    ({'kind': 1, 'names': ['x_m'], 'values': [math.nan]}, CODES.BAD_GOAL, 'x_m is nan'),
    ({'kind': 1}, CODES.BAD_GOAL, 'at least one of x_m, y_m'),
    ({'kind': 0, 'image': image('32FC1')}, CODES.BAD_GOAL, "'32FC1'"),
    ({'kind': 2, 'bag': '/nowhere', 'bag_time': 1.0}, CODES.BAG_ERROR, '/nowhere'),
    ({'kind': 9}, CODES.BAD_GOAL, 'kind 9'),
    ({'kind': 1, 'names': ['x_m'], 'values': [50.0], 'timeout': 0.3}, CODES.TIMEOUT, 'not reached within 0.'),
])
def test_a_goal_that_cannot_be_ends_with_its_code_and_one_line(client, fields, code, word):
    handle = client.send(**fields)
    result = client.result(handle)
    assert handle.answer.result().status == GoalStatus.STATUS_ABORTED
    assert (result.error_code, word in result.message, '\n' in result.message) == (code, True, False), result.message


def test_cancelling_stops_the_robot(client, driving):
    cancelled = driving.cancel_goal_async()
    client.wait(cancelled.done, 'the cancellation')
    since = time.monotonic()
    assert client.result(driving).error_code == CODES.CANCELED
    assert driving.answer.result().status == GoalStatus.STATUS_CANCELED
    client.wait(lambda: time.monotonic() > since + 0.5, 'half a second to pass')
    assert stands(client, since + 0.3)
    assert client.heard('action')[-1].values.tolist() == [0.0, 0.0]  # the last word of the actor, then silence
    client.wait(lambda: client.heard('episode')[-1].event == EpisodeEvent.STOP, 'the end of the episode')


def test_a_new_goal_preempts_the_old_one(client, driving):
    state = client.heard('state')[-1]
    second = client.send(**far(state))
    assert client.result(driving).error_code == CODES.PREEMPTED
    client.fresh('plan')
    client.wait(second.cancel_goal_async().done, 'the cancellation')
    assert client.result(second).error_code == CODES.CANCELED


def test_an_action_with_nan_never_reaches_the_robot_and_is_reported(client):
    since = time.monotonic()
    client.actions.publish(Action(names=['vx_mps', 'vy_mps'], values=[math.nan, 0.0],
                                  state_stamp=client.heard('state')[-1].header.stamp, mode=Action.PLANNED))
    status = client.wait(lambda: named(client, 'command_gate', since, 'nan'), 'a report of the gate')
    assert 'vx_mps' in str(status)
    assert all(math.isfinite(m.linear.x) and math.isfinite(m.linear.y) for m in client.heard('cmd_vel'))


def test_a_topic_of_another_type_is_reported_by_name(client):
    since = time.monotonic()
    elsewhere = rclpy.Context()
    elsewhere.init()
    stranger: Node = rclpy.create_node('stranger', context=elsewhere)
    stranger.create_publisher(UInt32, 'plan', qos.STREAM)
    words = '/plan is published by /stranger as std_msgs/msg/UInt32'
    client.wait(lambda: named(client, 'cost', since, words), 'the report')
    stranger.destroy_node()
    elsewhere.shutdown()
    client.wait(lambda: named(client, 'cost', time.monotonic() - 1.0, 'active'), 'the report to go')


def test_a_killed_organ_stops_the_robot_is_named_and_comes_back(running):
    """Kept last: it restarts what the other tests use."""
    client = running.client
    goal = client.send(**far(client.heard('state')[-1]))
    client.fresh('cmd_vel', lambda m: m.linear.x or m.linear.y)
    process, organ = ('agent', 'actor') if 'agent' in running.supervisor.pids else ('actor', 'actor')
    old, since = running.supervisor.pids[process], time.monotonic()
    os.kill(old, signal.SIGKILL)
    client.wait(lambda: client.sent('cmd_vel', since + 1.0), 'a second of commands')
    assert stands(client, since + 0.5)
    words = f'{organ} is dead: signal 9, SIGKILL'
    client.wait(lambda: named(client, 'command_gate', since, words), 'the gate to name the organ')
    client.wait(lambda: named(client, 'supervisor', since, f'{process} died (signal 9, SIGKILL)'), 'the reason')
    if process != 'agent':
        result = client.result(goal)
        assert (result.error_code, organ in result.message) == (CODES.ORGAN_LOST, True)
    client.wait(lambda: f'{process} is back' in running.lines, 'the organ to come back', 30.0)
    assert running.supervisor.pids[process] != old
    back = time.monotonic()
    client.wait(lambda: client.heard('state', back) and not client.heard('configuration')[-1].active, 'rest')
    again = client.send(**far(client.heard('state')[-1]))
    client.fresh('cmd_vel', lambda m: m.linear.x or m.linear.y)
    client.wait(again.cancel_goal_async().done, 'the cancellation')
    client.result(again)


def stands(client, since: float) -> bool:
    """True if commands were sent after `since` and all of them were zero."""
    commands = client.sent('cmd_vel', since)
    return bool(commands) and not any(m.linear.x or m.linear.y for m in commands)


def named(client, name: str, since: float, words: str):
    """Find a status of node `name` on /diagnostics with these words in its message or values."""
    for array in client.heard('/diagnostics', since):
        for status in array.status:
            if status.name == name and words in f'{status.message} {[(v.key, v.value) for v in status.values]}':
                return status
    return None
