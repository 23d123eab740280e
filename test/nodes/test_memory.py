"""The memory node alone: triplets from topics, its file, its service; and perception that fills in from memory."""
import time

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import Header
import torch

from jepa_ros.memory.node import MemoryNode
from jepa_ros.msg import Action, Energy, EnergyTerm, EpisodeEvent, Prediction, State
from jepa_ros.perception.node import PerceptionNode
from jepa_ros.perception.perception import EncodedState
from jepa_ros.runtime import qos
from jepa_ros.runtime.messages import state_message, tensor_array, tensor_message, time_message
from jepa_ros.srv import QueryMemory

S = 1_000_000_000
ASK = QueryMemory.Request
TOPICS = {'state': (State, qos.STREAM), 'energy': (Energy, qos.STREAM), 'action': (Action, qos.STREAM),
          'episode': (EpisodeEvent, qos.EVENTS), 'imagination': (Prediction, qos.STREAM)}


def s(t: int) -> np.ndarray:
    return np.random.default_rng(t).normal(size=64).astype(np.float32)


class Life:
    """An active memory node, and what the other organs would tell it."""

    def __init__(self, model, **parameters):
        self.executor, self.other = SingleThreadedExecutor(), rclpy.create_node('other')
        self.memory = MemoryNode(parameter_overrides=[
            Parameter(name, value=value) for name, value in {'model': str(model), **parameters}.items()])
        for node in (self.other, self.memory):
            self.executor.add_node(node)
        assert self.memory.trigger_configure() == self.memory.trigger_activate() == TransitionCallbackReturn.SUCCESS
        self.held = self.memory.agent.memory
        self.publishers = {topic: self.other.create_publisher(kind, topic, profile)
                           for topic, (kind, profile) in TOPICS.items()}
        self.client = self.other.create_client(QueryMemory, 'query_memory')
        silent = set() if parameters.get('remember_imagined') else {'imagination'}
        self.wait(lambda: self.client.service_is_ready() and all(
            p.get_subscription_count() for topic, p in self.publishers.items() if topic not in silent))

    def wait(self, condition) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, 'waited in vain'
            self.executor.spin_once(timeout_sec=0.05)

    def say(self, topic: str, message) -> None:
        self.publishers[topic].publish(message)

    def perceive(self, t: int, action: bool = True) -> None:
        """The percept of second t: state, energy, action, in the order in which they come."""
        header = Header(stamp=time_message(t * S))
        state = EncodedState((torch.from_numpy(s(t)),), {})
        self.say('state', state_message(state, self.memory.agent.model_id, header))
        if action:
            self.say('action', Action(state_stamp=header.stamp, names=['vx_mps', 'vy_mps'], values=[t / 10, -t / 10]))
        self.say('energy', Energy(header=header, subject=Energy.PERCEPT, terms=[
            EnergyTerm(name='goal', intrinsic=False, weight=1.0, value=99.0),
            EnergyTerm(name='effort', intrinsic=True, weight=2.0, value=float(t))]))

    def ask(self, **fields):
        answer = self.client.call_async(ASK(**fields))
        self.wait(answer.done)
        return answer.result()

    def end(self) -> None:
        self.memory.trigger_deactivate()
        self.memory.trigger_cleanup()
        self.executor.shutdown()
        self.memory.destroy_node()
        self.other.destroy_node()


@pytest.fixture
def life(ros, random_model):
    """Makes nodes with parameters; the one before is ended when the next is made."""
    made = []

    def make(**parameters):
        if made:
            made.pop().end()
        made.append(Life(random_model, **parameters))
        return made[0]
    yield make
    made.pop().end()


def event(kind: int, goal: str = '') -> EpisodeEvent:
    return EpisodeEvent(event=kind, episode_id='e1', goal_id=goal)


def test_a_learner_gets_what_was_done_in_each_state_of_a_goal(life):
    it = life()
    it.say('episode', event(EpisodeEvent.START, 'g1'))
    it.wait(lambda: any(run.goal == 'g1' for run in it.held.episodic.runs.values()))
    for t in (1, 2, 3):
        it.perceive(t, action=t != 2)
    it.wait(lambda: len(it.held) == 3)
    it.wait(lambda: it.held.episodic.actions.shape[1] == 2)
    it.say('episode', event(EpisodeEvent.SUCCESS, 'g1'))
    it.wait(lambda: list(it.held.episodic.runs.values())[-1].goal == '')
    it.perceive(4)
    it.wait(lambda: len(it.held) == 4)
    one, = it.held.trajectories()
    assert (one.run.episode, one.run.goal, one.stamps_ns.tolist()) == ('e1', 'g1', [S, 2 * S, 3 * S])
    assert one.energies.tolist() == [2.0, 4.0, 6.0]
    assert np.nan_to_num(one.actions, nan=9).tolist() == pytest.approx(np.array(
        [[0.1, -0.1], [9, 9], [0.3, -0.3]]), abs=1e-6)


def test_states_are_recalled_between_two_times_and_by_a_sentence(life):
    it = life()
    for t in (1, 2):
        it.perceive(t)
    it.wait(lambda: len(it.held) == 2)
    between = it.ask(kind=ASK.AT_TIME, stamp=time_message(S + S // 4))
    assert tensor_array(between.states, 'states') == pytest.approx(0.75 * s(1)[None] + 0.25 * s(2)[None], abs=1e-5)
    assert between.energies[0] == pytest.approx(2.5) and between.confidence > 0.0
    assert not len(it.ask(kind=ASK.AT_TIME, stamp=time_message(S + S // 4), max_gap=0.5).stamps)
    named = it.ask(kind=ASK.LABEL, label='the red  door', stamp=time_message(2 * S))
    assert named.success and named.labels == ['the red door'] and named.stamps[0].sec == 2
    it.ask(kind=ASK.LABEL, label='a corner', state=tensor_message(s(7)))
    assert it.ask(kind=ASK.BY_LABEL).labels == ['a corner', 'the red door']
    assert it.ask(kind=ASK.LABEL, label='here').stamps[0].sec == 2
    found = it.ask(kind=ASK.BY_LABEL, label='the red door')
    assert tensor_array(found.states, 'states') == pytest.approx(s(2)[None]) and np.isnan(found.energies[0])


def test_entities_are_known_with_the_time_since_which_they_are_so(life):
    it = life()
    assert it.ask(kind=ASK.ENTITIES).labels == []
    for t, door in ((1, 0.5), (2, 0.5), (3, 0.9)):
        state = EncodedState((torch.from_numpy(s(t)),), {'x_m': float(t), 'door_y_m': door})
        it.say('state', state_message(state, it.memory.agent.model_id, Header(stamp=time_message(t * S))))
    it.wait(lambda: len(it.held.known()) and it.held.known().seen_ns.max() == 3 * S)
    known = it.ask(kind=ASK.ENTITIES)
    assert known.success and known.labels == ['x_m', 'door_y_m'] and [t.sec for t in known.stamps] == [3, 3]
    assert tensor_array(known.states, 'states')[:, 0] == pytest.approx([3.0, 0.9])
    assert it.ask(kind=ASK.ENTITIES, label='door_y_m').labels == ['door_y_m'] and known.distances.tolist() == [0.0, 0.0]
    assert "nothing is called 'wall'; entities: x_m, door_y_m" in it.ask(kind=ASK.ENTITIES, label='wall').message


@pytest.mark.parametrize('fields, words', [
    ({'kind': ASK.BY_LABEL, 'label': 'red door'}, "nothing is labelled 'red door'; labels: none yet"),
    ({'kind': ASK.LABEL, 'label': '  ', 'state': tensor_message(s(1))}, 'a label needs at least one word'),
    ({'kind': ASK.LABEL, 'label': 'here'}, 'nothing is remembered yet'),
    ({'kind': ASK.LABEL, 'label': 'here', 'state': tensor_message(s(1)[:3])}, r'state has shape (3,)'),
    ({'kind': ASK.AT_TIME, 'max_gap': -1.0}, 'max_gap is -1.0'),
    ({'kind': 77}, 'kind 77 is unknown')])
def test_a_query_that_cannot_be_answered_says_why_in_one_line(life, fields, words):
    answer = life().ask(**fields)
    assert not answer.success and words in answer.message and '\n' not in answer.message


def test_imagined_states_are_marked_and_come_only_where_asked_for(life):
    it = life(remember_imagined=True)
    it.perceive(1)
    header = Header(stamp=time_message(S))
    it.say('imagination', Prediction(header=header, level=0, step_period=0.5, horizon=2,
                                     states=tensor_message(np.stack([s(5), s(6)]))))
    terms = [EnergyTerm(name='goal', weight=1.0), EnergyTerm(name='effort', intrinsic=True, weight=2.0)]
    it.say('energy', Energy(header=header, subject=Energy.PLAN, terms=terms,
                            per_step=tensor_message(np.array([[7.0, 7.0], [1.0, 3.0]], np.float32))))
    it.wait(lambda: len(it.held) == 3)
    plain = it.ask(kind=ASK.BY_TIME, stamp=time_message(2 * S))
    assert [t.sec for t in plain.stamps] == [1] and plain.imagined == [False]
    asked = it.ask(kind=ASK.BY_TIME, stamp=time_message(2 * S), imagined=True)
    assert [(t.sec, t.nanosec) for t in asked.stamps] == [(2, 0), (1, S // 2), (1, 0)]
    assert asked.imagined == [True, True, False] and asked.energies.tolist() == [6.0, 2.0, 2.0]


def test_a_memory_file_outlives_the_node(life, tmp_path):
    file = tmp_path / 'robot.memory'
    it = life(memory_file=str(file), capacity=5)
    for t in range(1, 8):
        it.perceive(t)
    it.wait(lambda: len(it.held) == 5 and 7 * S in it.held.episodic.stamps_ns)
    it.ask(kind=ASK.LABEL, label='here', stamp=time_message(7 * S))
    again = life(memory_file=str(file), capacity=5)
    assert sorted(again.held.episodic.stamps_ns.tolist()) == [t * S for t in range(3, 8)]
    assert again.ask(kind=ASK.BY_LABEL).labels == ['here'] and again.ask(kind=ASK.BY_LABEL).size == 5


def test_a_file_that_cannot_be_written_fails_the_configuration_in_one_line(ros, random_model, tmp_path):
    node = MemoryNode(parameter_overrides=[Parameter('model', value=str(random_model)),
                                           Parameter('memory_file', value=str(tmp_path))])
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert 'cannot be written' in node.failure and 'give another memory_file' in node.failure
    node.destroy_node()


@pytest.mark.parametrize('colour, failure', [('128,128,128', ''), ('grey', "hidden_colour is 'grey': give 'r,g,b'"),
                                             ('1,2,300', 'numbers from 0 to 255')])
def test_perception_fills_in_what_the_camera_marks_as_not_seen(ros, random_model, colour, failure):
    node = PerceptionNode(parameter_overrides=[Parameter('model', value=str(random_model)),
                                               Parameter('hidden_colour', value=colour)])
    done = node.trigger_configure()
    assert (done == TransitionCallbackReturn.SUCCESS) == (not failure) and failure in node.failure
    if not failure:
        shape = node.agent.perception.specs['overhead'].shape
        seen = np.random.default_rng(0).integers(0, 100, shape, np.uint8)
        hidden = np.full(shape, 128, np.uint8)
        whole = node.agent.perception.observe({'overhead': seen}, stamp_ns=1)
        assert torch.equal(node.agent.perception.observe({'overhead': hidden}, stamp_ns=2).levels[0], whole.levels[0])
        node.trigger_cleanup()
    node.destroy_node()
