"""The `jepa-ros` command: its exit code, one line for a mistake, and Ctrl-C at any time. `app.py` chooses what runs.

Here nothing but a little of the standard library is imported at first, so that Ctrl-C is looked after almost at once.
"""
import _thread
from collections.abc import Sequence
import os
import signal
import sys
import threading
import time
from types import FrameType

from jepa_ros.errors import JepaRosError

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130      # 128 + SIGINT, as shells expect
STDERR = 2
IMPORT_POLL_S = 0.01
IMPORT_SYSTEM = ('importlib', '_frozen_importlib', '_frozen_importlib_external')
HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 a user's mistake, 130 ended by Ctrl-C."""
    try:
        with _Interrupts():
            from jepa_ros.cli import app
            return app.run(list(sys.argv[1:] if argv is None else argv))
    except JepaRosError as error:
        print(f'jepa-ros: {error}', file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt as interrupt:
        if _speaks():
            print('; '.join(['jepa-ros: interrupted', *map(str, interrupt.args)]), file=sys.stderr)
        return EXIT_INTERRUPTED


class _Interrupts:
    """Ctrl-C as a KeyboardInterrupt, but never within an import.

    A package that is cut off while it is loaded, a compiled one above all, fails in a way of its own, or not at all.
    While a command loads what it needs nothing has begun: the process ends at once. Later it waits for the end of the
    import.
    """

    def __init__(self) -> None:
        self._waiting = self._again = False

    def __enter__(self) -> None:
        self._before = signal.getsignal(signal.SIGINT)
        # in a thread, or where somebody else looks after Ctrl-C, it stays as it is
        self._ours = threading.current_thread() is threading.main_thread() \
            and self._before is signal.default_int_handler
        if self._ours:
            signal.signal(signal.SIGINT, self._interrupt)

    def __exit__(self, *_) -> None:
        was_waiting, self._waiting = self._waiting, False
        if self._ours:
            signal.signal(signal.SIGINT, self._before)
        if was_waiting:
            raise KeyboardInterrupt

    def _interrupt(self, _number: int, frame: FrameType | None) -> None:
        if self._waiting and not self._again:
            return      # pressed once more
        self._waiting = self._again = False
        importer = _importer(frame)
        if importer is None:
            raise KeyboardInterrupt
        if importer.startswith(HERE):
            if _speaks():
                os.write(STDERR, b'jepa-ros: interrupted\n')
            os._exit(EXIT_INTERRUPTED)
        self._waiting = True
        _thread.start_new_thread(self._look_again, ())      # not threading: the import may hold its locks

    def _look_again(self) -> None:
        time.sleep(IMPORT_POLL_S)
        if self._waiting:
            self._again = True
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def _importer(frame: FrameType | None) -> str | None:
    """File whose import statement is being carried out, of nested ones the outermost; None where none is."""
    file, was_import = None, False
    while frame is not None:
        is_import = str(frame.f_globals.get('__name__')).partition('.')[0] in IMPORT_SYSTEM
        if was_import and not is_import:
            file = frame.f_code.co_filename
        frame, was_import = frame.f_back, is_import
    return file


def _speaks() -> bool:
    """Of several processes of one training, which Ctrl-C ends all, only the first says so."""
    return 'TORCHELASTIC_RUN_ID' not in os.environ or os.environ.get('RANK') == '0'


if __name__ == '__main__':
    sys.exit(main())
