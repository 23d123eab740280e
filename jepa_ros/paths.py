"""Where the package's own files are: configuration, shipped models, launch files.

In a source checkout they lie next to the package, installed (pip or colcon) under `<prefix>/share/jepa_ros`.
And `tidied` and `write_whole`, for folders and files that a user names.
"""
from collections.abc import Iterator
from contextlib import contextmanager, suppress
import os
from pathlib import Path
import sys

_PACKAGE = Path(__file__).resolve().parent


def share_dir() -> Path:
    """Folder that holds `config/`, `models/` and `launch/`."""
    checkout = _PACKAGE.parent
    if (checkout / 'package.xml').is_file() and (checkout / 'config').is_dir():
        return checkout
    prefixes = [p for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    # <prefix>/lib/pythonX.Y/site-packages/jepa_ros or Debian's <prefix>/local/lib/pythonX.Y/dist-packages/jepa_ros
    prefixes += [str(p) for p in _PACKAGE.parents] + [sys.prefix]
    for prefix in prefixes:
        share = Path(prefix) / 'share' / 'jepa_ros'
        if (share / 'config').is_dir():
            return share
    return checkout


def config_file(kind: str, name: str) -> Path:
    """Path of `config/<kind>/<name>.yaml`, or `name` itself where it is the path of a file."""
    given = Path(name)
    if given.suffix in ('.yaml', '.yml') or len(given.parts) > 1:
        return given
    return share_dir() / 'config' / kind / f'{name}.yaml'


def known(kind: str) -> list[str]:
    """Names that `config_file(kind, …)` finds."""
    return sorted(p.stem for p in (share_dir() / 'config' / kind).glob('*.yaml'))


@contextmanager
def tidied(folder: Path) -> Iterator[None]:
    """Of `folder` and those it is in, what was not there before and is empty at the end is removed."""
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        yield
    finally:
        for each in new:        # the deepest first
            with suppress(OSError):
                each.rmdir()


def write_whole(file: Path, text: str) -> None:
    """Write a text file, or leave what is there, if anything, as it was: OSError, as when the disk is full."""
    file = file.resolve()                           # a link stays one
    if file.exists() and not file.is_file():        # /dev/stdout, a pipe
        file.write_text(text, encoding='utf-8')
        return
    partial = file.with_name(file.name + '.partial')
    try:
        partial.write_text(text, encoding='utf-8')
        partial.replace(file)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
