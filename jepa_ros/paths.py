"""Where the package's own files are: configuration, shipped models, launch files.

In a source checkout they lie next to the package, installed (pip or colcon) under `<prefix>/share/jepa_ros`.
"""
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
