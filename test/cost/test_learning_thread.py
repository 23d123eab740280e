"""The critic's own thread."""
import threading
import time

import torch

from jepa_ros.cost.critic import Critic
from jepa_ros.cost.critic_learner import CriticLearner, LearnerSettings, Trajectory
from jepa_ros.cost.learning_thread import LearningThread


def episode(seed: int, dim: int = 2) -> Trajectory:
    generator = torch.Generator().manual_seed(seed)
    return Trajectory(torch.randn(20, dim, generator=generator), torch.rand(20, generator=generator), torch.zeros(dim))


class Heard:
    def __init__(self):
        self.rounds, self.failures, self.news = [], [], threading.Event()

    def learned(self, done) -> None:
        self.rounds.append((done, threading.current_thread().name))
        self.news.set()

    def failed(self, line: str) -> None:
        self.failures.append(line)
        self.news.set()


def start(every_s: float = 0.01, updates: int = 3) -> tuple[LearningThread, Heard]:
    heard = Heard()
    learner = CriticLearner(Critic(2, 8), LearnerSettings(updates=updates))
    return LearningThread(learner, every_s, heard.learned, heard.failed), heard


def test_learns_from_what_it_is_given_in_a_thread_of_its_own():
    thread, heard = start()
    for seed in range(3):
        thread.add(episode(seed))
    assert heard.news.wait(20)
    thread.stop()
    assert heard.rounds[0][1] == 'critic' and heard.rounds[0][0].episodes == 3 and not heard.failures


def test_an_episode_that_cannot_be_learned_from_is_said_and_the_next_ones_are_learned():
    thread, heard = start()
    thread.add(episode(0, dim=3))
    assert heard.news.wait(20) and 'states of 2 numbers' in heard.failures[0]
    heard.news.clear()
    for seed in range(3):
        thread.add(episode(seed))
    assert heard.news.wait(20)
    thread.stop()
    assert heard.rounds


def test_ends_within_an_update_however_long_the_round():
    thread, heard = start(updates=1_000_000)
    for seed in range(3):
        thread.add(episode(seed))
    time.sleep(0.1)
    thread.stop(20)
    assert not thread._thread.is_alive() and not heard.rounds
