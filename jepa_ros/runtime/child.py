"""One child process of the supervisor: started, found dead, started again after a pause that grows."""
from contextlib import suppress
import ctypes
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

BACKOFF_S = (0.3, 5.0)      # first and longest pause before a dead process is started again
STABLE_S = 10.0             # a process that lived this long starts again with the first pause
REFUSAL_FD = 'JEPA_ROS_REFUSAL_FD'  # names the pipe in a child's environment
_PR_SET_PDEATHSIG = 1       # Linux, sys/prctl.h


def tell_parent(line: str) -> None:
    """Hand whoever started this process the line with which it refuses to go on."""
    if REFUSAL_FD in os.environ:
        with suppress(OSError):
            os.write(int(os.environ[REFUSAL_FD]), line.encode()[:4096])


class Child:
    """One process and when it may start again."""

    def __init__(self, name: str):
        self.name = name
        self.process: subprocess.Popen | None = None
        self.start_at_s = 0.0
        self._began_s = 0.0
        self._pause_s = BACKOFF_S[0]
        self._refusal: int | None = None  # reading end of the pipe of `tell_parent`

    def __del__(self):
        self._close()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, command: list[str], log_dir: Path | None) -> None:
        self._began_s = time.monotonic()
        self._close()
        self._refusal, told = os.pipe()
        output = None if log_dir is None else (log_dir / f'{self.name}.log').open('ab')
        try:
            # A session of its own: Ctrl-C reaches the children through `stop`, once.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                pass_fds=(told,), env={**os.environ, REFUSAL_FD: str(told)},
                preexec_fn=_end_with_parent if _LIBC is not None else None)
        finally:
            os.close(told)
            if output is not None:
                output.close()

    def died(self) -> float:
        """Note the death; returns the seconds until the next start."""
        if time.monotonic() - self._began_s > STABLE_S:
            self._pause_s = BACKOFF_S[0]
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, BACKOFF_S[1])
        self.process, self.start_at_s = None, time.monotonic() + pause_s
        return pause_s

    def reason(self, log_dir: Path | None) -> str:
        """Why an ended process refused to go on, in its own words if it left any; begins with a separator."""
        line = os.read(self._refusal, 4096).decode(errors='replace')
        if line:
            return f': {line}'
        return ': its last line above says why' if log_dir is None else f' (see {log_dir / self.name}.log)'

    def _close(self) -> None:
        if self._refusal is not None:
            os.close(self._refusal)
            self._refusal = None


_LIBC = ctypes.CDLL(None) if sys.platform == 'linux' else None


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def cause(code: int) -> str:
    return f'signal {-code}, {signal.Signals(-code).name}' if code < 0 else f'exit code {code}'
