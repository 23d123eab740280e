"""Several processes of one training on this machine, as torchrun starts them on one or more; for `--devices`."""
import logging
import os
import signal
import sys
import uuid

from jepa_ros.errors import TrainingError

EXIT_TOLD = 2   # a process that has said in one line why it ended
EXIT_INTERRUPTED = 130


def launch(arguments: list[str], count: int, module: str = 'jepa_ros.training') -> int:
    """Run `-m MODULE ARGUMENTS` in `count` processes; when one ends early the others are ended.

    Returns the exit code: at Ctrl-C 130, the first process has said so. TrainingError when one is ended from outside.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch, LaunchConfig
    for name in list(logging.root.manager.loggerDict):
        if name.startswith('torch.distributed.elastic'):
            logging.getLogger(name).setLevel(logging.CRITICAL)      # pages about what is one line
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // count)))
    config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=uuid.uuid4().hex, rdzv_backend='c10d',
                          rdzv_endpoint='localhost:0', max_restarts=0, monitor_interval=0.1)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP,
                                                                signal.SIGQUIT)}
    try:
        elastic_launch(config, sys.executable)('-m', module, *arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == EXIT_TOLD:
            return EXIT_TOLD
        how = f'by {signal.Signals(-failure.exitcode).name}' if failure.exitcode < 0 else \
            f'with exit code {failure.exitcode}'
        raise TrainingError(f'process {rank} of {count} ended {how}: the same command goes on from the last state '
                            'that was saved') from None
    except SignalException:
        return EXIT_INTERRUPTED
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return 0
