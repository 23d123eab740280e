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
_OLDER = (Stores.ROS2_HUMBLE, Stores.ROS2_FOXY)     # each laid some messages out otherwise than the next


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
    if (form := connection.ext.serialization_format) != 'cdr':
        raise BagError(f'topic {connection.topic}: its messages are {form or "of an unknown form"}, not of ROS 2')
    own = connection.msgdef.data if connection.msgdef.format != MessageDefinitionFormat.NONE else ''
    try:
        ensure_type(connection.msgtype)
    except BagError as error:
        if not own:
            raise BagError(f'topic {connection.topic}: {error}, and the bag holds no definition of it') from None
    else:
        if is_hashed(connection):
            same = connection.digest == typestore().hash_rihs01(connection.msgtype)
        else:
            same = not own or _is_as_installed(connection.msgtype, own, connection.msgdef.format)
        if same or not own:
            return typestore()
    return _store_of_definition(connection.msgtype, own, connection.msgdef.format)


def is_hashed(connection) -> bool:
    """Whether the recorder kept a hash of the type of this connection, as since Iron."""
    return (connection.digest or '').startswith('RIHS01_')


def plain(raw: bytes) -> bytes:
    """A message as CDR: a file taken out of a bag with rosbag2's compression mode `message` holds them packed.

    CDR begins with 0, so the two cannot be mistaken for each other. Raises zstandard.ZstdError for damaged ones.
    """
    return zstandard.ZstdDecompressor().decompressobj().decompress(raw) if raw[:4] == ZSTD_MAGIC else raw


def unpack(store: Typestore, raw: bytes, name: str, hashed: bool = True):
    """The message in a CDR. Takes what rclpy's `serialize_message` leaves behind an empty sequence at the end: padding.

    Where the recorder kept no hash of the type (before Iron; often no definition either, or a shortened one), a message
    that does not fit is tried as the installed version of ROS 2 and older ones have it. Raises rosbags' SerdeError for
    bytes that are no such message.
    """
    try:
        return store.deserialize_cdr(raw, name)
    except SerdeError as error:
        for other in () if hashed else (s for s in _layouts(name) if s is not store):
            with suppress(SerdeError):
                return other.deserialize_cdr(raw, name)
        for extra in range(4, min(_MAX_PADDING, len(raw) - 4) + 1, 4):
            with suppress(SerdeError):
                return store.deserialize_cdr(raw[:-extra], name)
        raise error


@cache
def _layouts(name: str) -> tuple[Typestore, ...]:
    """Types of ROS 2 versions that lay a message out differently, as sensor_msgs/Range up to Humble; newest first."""
    stores = [typestore(), *(get_typestore(version) for version in _OLDER)]
    return tuple({_layout(s, name): s for s in reversed(stores) if name in s.fielddefs}.values())[::-1]


@cache
def _is_as_installed(name: str, definition: str, kind: MessageDefinitionFormat) -> bool:
    """False for a definition in a bag that lays a message out otherwise than the installed one; True if unreadable."""
    try:
        return _layout(_store_of_definition(name, definition, kind), name) == _layout(typestore(), name)
    except (BagError, KeyError):    # it lacks a type that it contains
        return True


def _layout(store: Typestore, name: str) -> tuple:
    """Types of all fields in their order, but not their names: those of old packages differ in letters alone."""
    def of(kind):
        what, content = kind
        if what == Nodetype.NAME:
            return _layout(store, content)
        return content if what == Nodetype.BASE else (what, of(content[0]), content[1])
    return tuple(of(kind) for _, kind in store.fielddefs[name][1])


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
