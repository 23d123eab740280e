"""Single keys from the terminal, without Enter. Where standard input is no terminal there are none."""
from contextlib import suppress
import os
import re
import select
import sys
import termios
import tty

_KEY = re.compile('\x1b\\[[ABCD]|.', re.DOTALL)
_ARROWS = {'\x1b[A': 'up', '\x1b[B': 'down', '\x1b[C': 'right', '\x1b[D': 'left'}


class Keys:
    """Use as a context manager; `pressed()` returns the keys since the last call. Ctrl-C stays a signal."""

    def __init__(self):
        self._fd: int | None = None

    def __enter__(self) -> 'Keys':
        with suppress(OSError, ValueError, termios.error):
            if sys.stdin.isatty():
                fd = sys.stdin.fileno()
                self._before = termios.tcgetattr(fd)
                tty.setcbreak(fd)
                self._fd = fd
        return self

    def __exit__(self, *_error) -> None:
        if self._fd is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
            self._fd = None

    def pressed(self) -> list[str]:
        """Keys in their order; arrows are 'up', 'down', 'left' and 'right'."""
        text = ''
        while self._fd is not None and select.select([self._fd], [], [], 0)[0]:
            read = os.read(self._fd, 64)
            if not read:        # the terminal is gone
                self._fd = None
            text += read.decode(errors='replace')
        return [_ARROWS.get(key, key) for key in _KEY.findall(text)]
