"""A thread beside an executor: waits for news, and can be told to end. No ROS here."""
from abc import ABC, abstractmethod
import os
import threading

NICE = 10           # of 19: others first


class Worker(ABC):
    """Runs `_run` from the end of `__init__` on, which a subclass calls last; `_news` guards what is handed over."""

    def __init__(self, name: str):
        self._news = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @abstractmethod
    def _run(self) -> None:
        """The thread's work; it returns soon after `_ending` was set and `_news` notified."""

    def stop(self, timeout_s: float = 2.0) -> None:
        """End the thread after what it is doing now; waits so long for it."""
        with self._news:
            self._ending = True
            self._news.notify()
        self._thread.join(timeout_s)


def give_way() -> None:
    """Let all other threads go before the one that calls, where the system knows a priority per thread (Linux)."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    except (AttributeError, OSError):
        pass    # another system
