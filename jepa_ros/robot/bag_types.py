"""Message types for bags: those of ROS 2 jazzy, and any other package's from its .msg files. Needs no ROS."""
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
import os
from pathlib import Path
import sys

from rosbags.interfaces import (
    MessageDefinitionFormat,
    Nodetype,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
    Typestore,
)
from rosbags.rosbag2.metadata import dump_qos_v9
from rosbags.serde import SerdeError
from rosbags.typesys import get_types_from_idl, get_types_from_msg, get_typestore, Stores
import yaml
import zstandard

from ..errors import BagError
from ..paths import share_dir

ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'
_MAX_PADDING = 16   # bytes


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


def store_for(connection) -> Typestore:
    """Types that read a connection of a bag: the installed ones, or the bag's own where those differ or are missing.

    `BagError` when the type is neither installed nor defined in the bag.
    """
    own = connection.msgdef.data if connection.msgdef.format != MessageDefinitionFormat.NONE else ''
    try:
        ensure_type(connection.msgtype)
    except BagError as error:
        if not own:
            raise BagError(f'topic {connection.topic}: {error}, and the bag holds no definition of it') from None
    else:
        recorded = connection.digest or ''
        same = not recorded.startswith('RIHS01_') or recorded == typestore().hash_rihs01(connection.msgtype)
        if same or not own:
            return typestore()
    return _store_of_definition(connection.msgtype, own, connection.msgdef.format)


def plain(raw: bytes) -> bytes:
    """A message as CDR: a file taken out of a bag with rosbag2's compression mode `message` holds them packed.

    CDR begins with 0, so the two cannot be mistaken for each other. Raises zstandard.ZstdError for damaged ones.
    """
    return zstandard.ZstdDecompressor().decompressobj().decompress(raw) if raw[:4] == ZSTD_MAGIC else raw


def unpack(store: Typestore, raw: bytes, name: str):
    """The message in a CDR. Takes what rclpy's `serialize_message` leaves behind an empty sequence at the end: padding.

    Raises rosbags' SerdeError for bytes that are no such message.
    """
    try:
        return store.deserialize_cdr(raw, name)
    except SerdeError as error:
        for extra in range(4, min(_MAX_PADDING, len(raw) - 4) + 1, 4):
            with suppress(SerdeError):
                return store.deserialize_cdr(raw[:-extra], name)
        raise error


@cache
def _store_of_definition(name: str, definition: str, kind: MessageDefinitionFormat) -> Typestore:
    store, idl = get_typestore(Stores.EMPTY), kind == MessageDefinitionFormat.IDL
    try:
        store.register(get_types_from_idl(definition) if idl else get_types_from_msg(definition, name))
    except Exception as error:  # the parser raises what its grammar raises: the text comes from a file
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise BagError(f'the definition of {name} in the bag cannot be read ({line})') from None
    return store


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


def qos_text(profiles: Sequence[Qos]) -> str:
    """The YAML text that rosbag2 keeps with a channel for these profiles."""
    return yaml.safe_dump(dump_qos_v9(list(profiles)), sort_keys=False).strip()
