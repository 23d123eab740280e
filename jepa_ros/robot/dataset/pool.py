"""Workers of a build: processes that do tasks, say how far they are, and end with the build however it ends."""
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
import multiprocessing
from multiprocessing.connection import wait as wait_for
import os
from pathlib import Path
import signal
import threading

from ...errors import DatasetError
from . import zarrs
from .lazy import Undecodable
from .plan import Plan, Task
from .work import run_task, Stopped

POLL_S = 0.1
_shared: tuple = ()         # of a worker process: progress of each task, and the event that ends it


def cap_threads() -> None:
    """One thread per worker for OpenCV and the compressors: the workers share the cores already."""
    import cv2
    cv2.setNumThreads(1)
    zarrs.one_thread()


def _begin(progress, ending) -> None:
    """Start of a worker process."""
    global _shared
    _shared = progress, ending
    os.environ['OMP_NUM_THREADS'] = '1'
    cap_threads()
    threading.Thread(target=_follow_parent, name='parent', daemon=True).start()


def _follow_parent() -> None:
    """A killed build must not leave workers that wait for ever."""
    wait_for([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _do(store: Path, plan: Plan, task: Task, slot: int) -> bool:
    """A task in a worker process; False when its bag has to be read with care."""
    progress, ending = _shared

    def tell(share: float) -> None:
        progress[slot] = share
        if ending.is_set():
            raise Stopped
    try:
        run_task(store, plan, task, tell)
    except Undecodable:
        return False
    return True


class Pool:
    """`workers` processes, or this process itself for one worker."""

    def __init__(self, workers: int):
        self.workers = workers

    def run(self, store: Path, plan: Plan, tasks: list[Task], progress: Callable[[int, float], None],
            ended: Callable[[Task, Exception | None], None]) -> set[int]:
        """Do all tasks; returns the bags that have to be read with care.

        `progress(task number, share done)` is called all the time, `ended` once for each task, with the error that
        ended it: it raises what is to end the build.
        """
        return self._here(store, plan, tasks, progress, ended) if self.workers == 1 or len(tasks) == 1 \
            else self._there(store, plan, tasks, progress, ended)

    def _here(self, store, plan, tasks, progress, ended) -> set[int]:
        careful = set()
        cap_threads()
        for number, task in enumerate(tasks):
            try:
                run_task(store, plan, task, lambda share, number=number: progress(number, share))  # type: ignore[misc]
                ended(task, None)
            except Undecodable:
                careful.add(task.bag)
            except Exception as error:
                ended(task, error)
        return careful

    def _there(self, store, plan, tasks, progress, ended) -> set[int]:
        context = multiprocessing.get_context('spawn')      # fork would copy the locks of other threads
        shares, ending, careful = context.Array('d', len(tasks), lock=False), context.Event(), set()
        count = min(self.workers, len(tasks))
        with ProcessPoolExecutor(count, context, _begin, (shares, ending)) as pool, _cancelled(pool, ending):
            with _deaf():
                waiting: dict[Future, Task] = {
                    pool.submit(_do, store, plan, task, slot): task for slot, task in enumerate(tasks)}
            while waiting:
                done, _ = wait(waiting, POLL_S, FIRST_COMPLETED)
                for number, share in enumerate(shares):
                    progress(number, share)
                for future in done:
                    task, error = waiting.pop(future), future.exception()
                    if isinstance(error, BrokenProcessPool):
                        raise DatasetError(f'{store}: a worker was killed, perhaps for want of memory: the same '
                                           'command goes on where it was; give it fewer --workers')
                    if error is None and not future.result():
                        careful.add(task.bag)
                    else:
                        ended(task, error)
        return careful


@contextmanager
def _deaf() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach from their first moment: they inherit the mask.

    It waits for this process until they are started; ignored, it would be lost. The mask alone is not enough: another
    thread may take the signal, and its handler, which runs in this one, would cut a start short.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda taken, _frame: came.append(taken))
              for number in (signal.SIGINT, signal.SIGTERM)}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for taken in came[:1]:
            signal.raise_signal(taken)


@contextmanager
def _cancelled(pool: ProcessPoolExecutor, ending) -> Iterator[None]:
    """However the build ends, the tasks under way are laid down and the others are not begun."""
    try:
        yield
    except BaseException:
        ending.set()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
