"""Adaptation in a thread of its own, so that neither percepts nor plans wait for a fit. No ROS here."""
from collections.abc import Callable

from torch import Tensor

from jepa_ros.training.adaptation import Adaptation, Version
from jepa_ros.worker import give_way, Worker

MOST_WAITING = 100      # transitions that wait while a fit runs: ten seconds at 10 Hz


class AdaptingThread(Worker):
    """Feeds transitions to an `Adaptation`; `found(version)` and `failed(line)` are called in this thread."""

    def __init__(self, adaptation: Adaptation, found: Callable[[Version], None], failed: Callable[[str], None]):
        self.adaptation, self._found, self._failed = adaptation, found, failed
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        super().__init__('adaptation')

    def see(self, before: Tensor, action: Tensor, after: Tensor) -> None:
        """Hand over a transition, see `Adaptation.see`; the oldest ones go where too many wait."""
        with self._news:
            self._waiting = [*self._waiting, (before, action, after)][-MOST_WAITING:]
            self._news.notify()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread after the fit that runs, which may take seconds."""
        super().stop(timeout_s)

    def _run(self) -> None:
        give_way()
        while True:
            with self._news:
                self._news.wait_for(lambda: self._ending or self._waiting)
                if self._ending:
                    return
                fresh, self._waiting = self._waiting, []
            try:
                for transition in fresh:
                    self.adaptation.see(*transition)
                version = self.adaptation.step()
            except Exception as error:  # what cannot be learned from must not end the learning: said, and gone on
                self._failed(f'not adapted: {type(error).__name__}: {error}')
                continue
            if version is not None:
                self._found(version)
