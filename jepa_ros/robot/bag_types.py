"""Message types for bags: those of ROS 2 jazzy, and any other package's from its .msg files. Needs no ROS."""
from functools import cache
import os
from pathlib import Path
import sys

from rosbags.interfaces import (
    Nodetype,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
    Typestore,
)
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

from ..errors import BagError
from ..paths import share_dir


@cache
def typestore() -> Typestore:
    """The types known so far; `ensure_type` adds to them."""
    return get_typestore(Stores.ROS2_JAZZY)


def ensure_type(name: str) -> None:
    """Make `package/msg/Name` and all it contains known; `BagError` when its .msg file is not installed."""
    store = typestore()
    if name in store.fielddefs:
        return
    package, _, short = name.partition('/msg/')
    path = _message_file(package, short)
    if path is None:
        raise BagError(f'message type {name} is unknown: no {short}.msg of package {package} in AMENT_PREFIX_PATH')
    types = get_types_from_msg(path.read_text(encoding='utf-8'), name)
    for _, fields in types.values():
        for _, field in fields:
            _ensure_field(field)
    store.register(types)


def _ensure_field(field) -> None:
    kind, content = field
    if kind == Nodetype.NAME:
        ensure_type(content)
    elif kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        _ensure_field(content[0])


def _message_file(package: str, short: str) -> Path | None:
    prefixes = [Path(p) / 'share' / package for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    prefixes.append(Path(sys.prefix) / 'share' / package)
    if package == 'jepa_ros':
        prefixes.insert(0, share_dir())
    return next((p for prefix in prefixes if (p := prefix / 'msg' / f'{short}.msg').is_file()), None)


def offered_qos(reliable: bool, depth: int, transient_local: bool = False) -> list[Qos]:
    """The QoS to store with a topic, so that `ros2 bag play` offers the same."""
    forever = QosTime(9223372036, 854775807)
    return [Qos(QosHistory.KEEP_LAST, depth, QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
                QosDurability.TRANSIENT_LOCAL if transient_local else QosDurability.VOLATILE,
                forever, forever, QosLiveliness.AUTOMATIC, forever, False)]
