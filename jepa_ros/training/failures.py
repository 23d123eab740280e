"""How a stage ends before its time: Ctrl-C between two updates, too little memory, another process that is gone."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
import re
import signal
import threading

from safetensors import SafetensorError
import torch

from jepa_ros.errors import TrainingError
from jepa_ros.training.config import Stage
from jepa_ros.training.engine import Engine

OUT_OF_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory|Cannot allocate memory")
LOST = re.compile('gloo|nccl|connection|timed? ?out|socket', re.IGNORECASE)
SHOWN = 120     # characters of what the communication library says


@contextmanager
def noted_interrupts() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM are noted instead of raised, so that they never cut an update in two."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # there signals cannot be handled
        yield noted
        return
    before = {number: signal.signal(number, lambda number, _frame: noted.append(number))
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def named_failures(engine: Engine, name: str, stage: Stage, update: Callable[[], int],
                   kept: Callable[[], str]) -> Iterator[None]:
    """One line for too little memory and for a lost process; `kept` says where the last good state is."""
    who = f'rank {engine.rank}: ' if engine.world > 1 else ''
    with named_memory(lambda: f'{who}{name}: out of memory at update {update()}: lower batch (now {stage.batch}) or '
                      f'window (now {stage.window}), or compute a batch in more parts (--accumulate, now '
                      f'{engine.settings.accumulate}){kept()}'), \
            named_loss(engine, lambda: f'{name}, update {update()}', kept):
        yield


@contextmanager
def named_memory(line: Callable[[], str]) -> Iterator[None]:
    """One line for too little memory: what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) and not OUT_OF_MEMORY.search(str(error)):
            raise
        raise TrainingError(line()) from None


@contextmanager
def named_disk(work_dir: Path) -> Iterator[None]:
    """One line for what the disk refuses; what is in `work_dir` already stays."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, 'strerror', None) or str(error).splitlines()[0]
        raise TrainingError(f'{getattr(error, "filename", None) or work_dir}: cannot be written ({reason}): free space '
                            'or give another --work-dir; the same command goes on where it was') from None


@contextmanager
def named_loss(engine: Engine, doing: Callable[[], str], kept: Callable[[], str] = lambda: '') -> Iterator[None]:
    """One line for a process that the others wait for in vain."""
    try:
        yield
    except RuntimeError as error:
        if engine.world == 1 or OUT_OF_MEMORY.search(str(error)) or not LOST.search(str(error)):
            raise
        text = ' '.join(str(error).split())
        raise TrainingError(
            f'rank {engine.rank}: {doing()}: lost another process: it has ended, or was silent for '
            f'{engine.settings.timeout_s:g} s ({text[:SHOWN]}){kept()}') from None
