"""The critic's own thread: learns in what time the planner leaves (LeCun §3.3). No ROS here.

Low priority where the system knows one per thread (Linux), and as long a rest after each update as the update took.
"""
from collections.abc import Callable
import time

from jepa_ros.cost.critic_learner import CriticLearner, Round, Trajectory
from jepa_ros.worker import give_way, Worker

LEAST_REST_S = 1e-3


class LearningThread(Worker):
    """A round every `every_s`; `learned(round)` and `failed(line)` are called in this thread."""

    def __init__(self, learner: CriticLearner, every_s: float, learned: Callable[[Round], None],
                 failed: Callable[[str], None]):
        self._learner, self._every_s, self._learned, self._failed = learner, every_s, learned, failed
        self._waiting: list[Trajectory] = []
        self._began_s = 0.0
        super().__init__('critic')

    def add(self, trajectory: Trajectory) -> None:
        """Take in an episode; it is learned from in the next round."""
        with self._news:
            self._waiting.append(trajectory)

    def _run(self) -> None:
        give_way()
        while not self._ends_within(self._every_s):
            with self._news:
                fresh, self._waiting = self._waiting, []
            try:
                for trajectory in fresh:
                    self._learner.add(trajectory)
                self._began_s = time.perf_counter()
                done = self._learner.learn(self._rest)
            except Exception as error:  # what cannot be learned from must not end the learning: said, and gone on
                self._failed(f'critic not learned: {type(error).__name__}: {error}')
                continue
            if done is not None:
                self._learned(done)

    def _rest(self) -> bool:
        took_s = time.perf_counter() - self._began_s
        ending = self._ends_within(max(LEAST_REST_S, took_s))
        self._began_s = time.perf_counter()
        return not ending

    def _ends_within(self, seconds: float) -> bool:
        with self._news:
            return self._news.wait_for(lambda: self._ending, seconds)
