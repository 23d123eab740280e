"""The configurator when the memory is another process: sentences and landmarks over `query_memory`."""
import threading
import time

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
import torch

from jepa_ros.configurator import goals
from jepa_ros.configurator.node import ConfiguratorNode
from jepa_ros.configurator.sentences import Sentences, Silent
from jepa_ros.configurator.tasks import Task
from jepa_ros.errors import ConfigError
from jepa_ros.memory.node import MemoryNode
from jepa_ros.runtime import remote_memory
from jepa_ros.runtime.remote_memory import RemoteMemory
from jepa_ros.srv import QueryMemory

S = 1_000_000_000
LEAD = 'goal: {readouts: {x_m: 0}}\nlandmarks: true\n'


def words(texts):
    """An encoder that knows words by their letters."""
    rows = np.zeros((len(texts), 26))
    for row, text in zip(rows, texts):
        for letter in text.lower():
            if letter.isalpha():
                row[ord(letter) - 97] += 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9)


class Processes:
    """A configurator and, unless it is missing, a memory; each has an agent of its own and a thread that spins it."""

    def __init__(self, model, tasks):
        self._model, self._tasks, self._spinning, self.nodes = model, tasks, [], []
        self._ended = threading.Event()

    def start(self, kind):
        made = kind(parameter_overrides=[Parameter('model', value=str(self._model)),
                                         Parameter('tasks', value=str(self._tasks))])
        executor = SingleThreadedExecutor()
        executor.add_node(made)
        assert made.trigger_configure() == TransitionCallbackReturn.SUCCESS
        self.nodes.append((made, executor))
        return made

    def activate(self, made) -> None:
        assert made.trigger_activate() == TransitionCallbackReturn.SUCCESS
        executor = next(executor for node, executor in self.nodes if node is made)

        def spin():
            while not self._ended.is_set():
                executor.spin_once(timeout_sec=0.05)
        self._spinning.append(threading.Thread(target=spin))
        self._spinning[-1].start()

    def end(self) -> None:
        self._ended.set()
        for thread in self._spinning:
            thread.join()
        for made, executor in self.nodes:
            made.trigger_deactivate()
            made.trigger_cleanup()
            executor.shutdown()
            made.destroy_node()


@pytest.fixture
def processes(ros, random_model, tmp_path):
    (tmp_path / 'lead.yaml').write_text(LEAD)
    made = Processes(random_model, tmp_path / 'lead.yaml')
    yield made
    made.end()


def wait(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.02)


def states(count: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(count, 64, generator=torch.Generator().manual_seed(seed))


def remembering(processes) -> MemoryNode:
    memory = processes.start(MemoryNode)
    for t, state in enumerate(states(5)):
        memory.agent.memory.store((10 + t) * S // 2, state, 0.0)
    memory.agent.memory.remember_label('the red door', states(2, 1)[0])
    memory.agent.memory.remember_label('the red door', states(2, 1)[1])
    memory.agent.memory.remember_label('a corner', states(5)[2])
    processes.activate(memory)
    return memory


def test_labels_and_their_states_come_from_the_other_process(processes):
    remembering(processes)
    configurator = processes.start(ConfiguratorNode)
    processes.activate(configurator)
    remote = configurator._reader.remote
    wait(lambda: remote.ready)
    labels = remote.labels()
    assert list(labels) == ['a corner', 'the red door'] and len(labels) == 2
    torch.testing.assert_close(labels['the red door'], states(2, 1).flip(0))       # newest first
    assert 'elsewhere' not in labels


def test_a_sentence_finds_a_place_that_another_process_remembers(processes):
    remembering(processes)
    configurator = processes.start(ConfiguratorNode)
    processes.activate(configurator)
    agent, sentences = configurator.agent, Sentences(lambda: words)
    goal, task = goals.from_sentence(agent, sentences, 'the red door', '', 'reach', configurator._reader.remote)
    assert task == 'reach' and torch.equal(goal.levels[0], states(2, 1)[1])
    assert not agent.memory.labels()        # nothing of it is in this process


def test_landmarks_grow_from_what_another_process_remembers_even_if_it_comes_later(processes):
    configurator = processes.start(ConfiguratorNode)
    guide = configurator.agent.configurator.guide
    processes.activate(configurator)
    time.sleep(0.3)
    assert not guide._backlog and not len(guide.graph)
    remembering(processes)
    wait(lambda: len(guide.graph) == 5)
    seen = guide.graph.states
    assert all(bool((torch.cdist(state[None], seen) < 1e-4).any()) for state in states(5))
    assert np.isfinite(guide.graph.edges[~np.eye(5, dtype=bool)]).any()     # half a second apart: transitions


def test_a_memory_that_is_not_there_leaves_the_tasks_and_says_so(processes, monkeypatch):
    monkeypatch.setattr(remote_memory, 'PATIENCE_S', 0.1)
    configurator = processes.start(ConfiguratorNode)
    configurator._reader.remote._wait_s = 0.2
    processes.activate(configurator)
    agent, sentences, remote = configurator.agent, Sentences(lambda: words), configurator._reader.remote
    agent.configurator.tasks['pause'] = Task(description='pause', goal='stay', success={'after_s': 1.0})
    began = time.monotonic()
    assert goals.from_sentence(agent, sentences, 'pause', '', 'reach', remote) == (None, 'pause')
    assert time.monotonic() - began < 2.0
    with pytest.raises(ConfigError, match=r"^nothing matches 'zzz'; known: tasks .*; the memory \(query_memory\) is "
                       r'not there within 0.2 s, labelled states are not known: is its node active\?$'):
        goals.from_sentence(agent, sentences, 'zzz', '', 'reach', remote)
    wait(lambda: 'query_memory is not there' in configurator.health.status('', '').message)


def test_a_memory_that_does_not_answer_is_waited_for_no_longer_than_said(ros):
    asker, stuck = rclpy.create_node('asker'), rclpy.create_node('stuck')
    stuck.create_service(QueryMemory, 'query_memory', lambda request, response: response)       # nobody spins it
    asker.own = lambda destroy: None
    remote = RemoteMemory(asker, wait_s=0.3)
    wait(lambda: remote.ready)
    began = time.monotonic()
    with pytest.raises(Silent, match=r'the memory \(query_memory\) does not answer within 0.3 s'):
        remote.labels()
    assert time.monotonic() - began < 2.0
    for node in (asker, stuck):
        node.destroy_node()


def test_more_than_can_be_asked_for_is_the_newest(processes, monkeypatch):
    monkeypatch.setattr('jepa_ros.runtime.remote_memory.NEWEST', 3)
    remembering(processes)
    configurator = processes.start(ConfiguratorNode)
    processes.activate(configurator)
    wait(lambda: configurator._reader.remote.ready)
    came = []
    configurator._reader.remote.experience(came.append)
    wait(lambda: came)
    one, = came[0].trajectories()
    assert one.stamps_ns.tolist() == [(10 + t) * S // 2 for t in (2, 3, 4)]
    torch.testing.assert_close(one.states, states(5)[2:])
