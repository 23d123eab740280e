"""The critic's own thread: learns in what time the planner leaves (LeCun §3.3). No ROS here.

Low priority where the system knows one per thread (Linux), and as long a rest after each update as the update took.
"""
from collections.abc import Callable
import os
import threading
import time

from jepa_ros.cost.critic_learner import CriticLearner, Round, Trajectory

NICE = 10           # of 19: others first
LEAST_REST_S = 1e-3


class LearningThread:
    """A round every `every_s`; `learned(round)` and `failed(line)` are called in this thread."""

    def __init__(self, learner: CriticLearner, every_s: float, learned: Callable[[Round], None],
                 failed: Callable[[str], None]):
        self._learner, self._every_s, self._learned, self._failed = learner, every_s, learned, failed
        self._news = threading.Condition()
        self._waiting: list[Trajectory] = []
        self._ending = False
        self._began_s = 0.0
        self._thread = threading.Thread(target=self._run, name='critic', daemon=True)
        self._thread.start()

    def add(self, trajectory: Trajectory) -> None:
        """Take in an episode; it is learned from in the next round."""
        with self._news:
            self._waiting.append(trajectory)

    def stop(self, timeout_s: float = 2.0) -> None:
        """End the thread after the update that runs."""
        with self._news:
            self._ending = True
            self._news.notify()
        self._thread.join(timeout_s)

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


def give_way() -> None:
    """Let all other threads go before the one that calls, where the system knows a priority per thread."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    except (AttributeError, OSError):
        pass    # another system: only the rests remain
