"""What can be read from a serialised message (CDR) without unpacking it: the stamp of its header."""
import struct

_STAMP = {0: struct.Struct('>iI'), 1: struct.Struct('<iI')}  # by the second byte of the encapsulation
_AFTER_ENCAPSULATION = 4


def has_header(message_class: type) -> bool:
    """True for messages that begin with a std_msgs/Header."""
    first = next(iter(message_class.get_fields_and_field_types().items()), ('', ''))
    return first == ('header', 'std_msgs/Header')


def header_ns(raw: bytes) -> int:
    """Stamp in ns of a message that begins with a header."""
    seconds, nanoseconds = _STAMP[raw[1] & 1].unpack_from(raw, _AFTER_ENCAPSULATION)
    return seconds * 1_000_000_000 + nanoseconds


def with_header_ns(raw: bytes, stamp_ns: int) -> bytes:
    """A copy of a message that begins with a header, with another stamp."""
    out = bytearray(raw)
    _STAMP[raw[1] & 1].pack_into(out, _AFTER_ENCAPSULATION, *divmod(stamp_ns, 1_000_000_000))
    return bytes(out)
