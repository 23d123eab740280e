"""Moving every stamp in a serialised message, so that a further pass of a loop goes on where the last one ended.

A header at the front is changed in place; only messages with stamps elsewhere (transforms, actions …) are unpacked.
Stamps of zero mean "no time" in ROS and stay.
"""
from dataclasses import dataclass, fields
from functools import cache
import struct

from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError

from ..errors import BagError
from .bag_types import ensure_type, typestore, unpack
from .raw import header_ns, with_header_ns

_TIME, _HEADER = 'builtin_interfaces/msg/Time', 'std_msgs/msg/Header'
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Stamps:
    """Where a message type has stamps."""

    header: bool    # it begins with a std_msgs/Header
    inside: bool    # and there are others


@cache
def stamps(type_name: str) -> Stamps:
    """Where `package/msg/Name` has stamps. Raises BagError for a type whose definition is not installed."""
    ensure_type(type_name)
    members = typestore().fielddefs[type_name][1]
    header = bool(members) and members[0][1] == (Nodetype.NAME, _HEADER)
    return Stamps(header, any(_holds_time(kind) for _, kind in (members[1:] if header else members)))


def shifted(raw: bytes, type_name: str, shift_ns: int) -> bytes:
    """The message with all its stamps later by `shift_ns`; the same bytes for 0 or a message without stamps.

    Raises BagError for bytes that are no such message.
    """
    where = stamps(type_name)
    if shift_ns == 0 or not (where.header or where.inside):
        return raw
    try:
        if not where.inside:
            stamp = header_ns(raw)
            return with_header_ns(raw, stamp + shift_ns) if stamp else raw
        message = unpack(typestore(), raw, type_name)
        _shift(message, shift_ns)
        return bytes(typestore().serialize_cdr(message, type_name))
    except (SerdeError, struct.error, IndexError) as error:
        raise BagError(f'a message of type {type_name} is damaged, its stamps cannot be moved ({error})') from error


def _holds_time(kind) -> bool:
    what, content = kind
    if what in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        return _holds_time(content[0])
    if what != Nodetype.NAME:
        return False
    if content == _TIME:
        return True
    ensure_type(content)
    return any(_holds_time(member) for _, member in typestore().fielddefs[content][1])


def _shift(value, shift_ns: int) -> None:
    if isinstance(value, list):
        for each in value:
            _shift(each, shift_ns)
    elif getattr(value, '__msgtype__', '') == _TIME:
        stamp = value.sec * _NS_PER_S + value.nanosec
        if stamp:
            value.sec, value.nanosec = divmod(stamp + shift_ns, _NS_PER_S)
    elif hasattr(value, '__msgtype__'):
        for field in fields(value):
            _shift(getattr(value, field.name), shift_ns)
