"""The blocks of canonical headers, byte by byte: what the canonical writer puts around the records of a member.

`canonical` encodes headers by these parts, and `recogniser` compares headers with them. A test compares both with the
general encoder (`members`).
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import adler32

from wclayer.formats.tar import structs
from wclayer.formats.tar.structs import BLOCK
from wclayer.formats.tar.writer import TarHeader, encode_header

NAME_SIZE = structs.NAME.stop
"""The longest name that the header block holds; a longer one is in the record `path`."""
MODE = slice(structs.MODE.start, structs.GID.stop)
"""Mode, uid and gid."""
HEAD = slice(0, structs.CHECKSUM.start)
"""Everything before the checksum."""
MAGIC = slice(structs.MAGIC.start, BLOCK)
"""Everything behind the link name."""
_NUL = b"\0"
_SPACES_SUM = sum(b" " * (structs.CHECKSUM.stop - structs.CHECKSUM.start))
_PLAIN = encode_header(TarHeader(b"x"))
_PAX = encode_header(TarHeader(b"x", pax={b"k": b"v"}))[:BLOCK]
_PAX_MODE = _PAX[MODE]
_PAX_MTIME = _PAX[structs.MTIME]
_PAX_TAIL = _PAX[structs.TYPEFLAG :]
_PAX_TAIL_SUM = sum(_PAX_TAIL) + _SPACES_SUM


class OwnBlock(NamedTuple):
    """What the header blocks of all members of one kind have in common."""

    mode: bytes
    """Mode, uid and gid."""
    tail: bytes
    """Everything from the type on; of a hard link, what comes behind the link name."""
    tail_sum: int
    """The part of the checksum that does not depend on name, size, time and link name."""


FILE = OwnBlock(
    b"0100000\x000000000\x000000000\0",
    b"%c%b" % (structs.REGULAR, _PLAIN[structs.LINKNAME.start :]),
    structs.REGULAR + sum(_PLAIN[structs.LINKNAME.start :]) + _SPACES_SUM,
)
DIRECTORY = OwnBlock(
    b"0040000\x000000000\x000000000\0",
    b"%c%b" % (structs.DIRECTORY, _PLAIN[structs.LINKNAME.start :]),
    structs.DIRECTORY + sum(_PLAIN[structs.LINKNAME.start :]) + _SPACES_SUM,
)
LINK = OwnBlock(
    b"0000644\x000000000\x000000000\0", _PLAIN[MAGIC], structs.LINK + sum(_PLAIN[MAGIC]) + _SPACES_SUM
)  # fmt: skip


def head_sum(head: bytes) -> int:
    """Returns the sum of up to 256 bytes (see `structs.byte_sum`)."""
    return (adler32(head) & 0xFFFF) - 1


def name_field(name: bytes) -> bytes:
    """Returns the field of the header block for an ASCII name of a member or of a link's target."""
    if len(name) > NAME_SIZE:
        # If a cut name ended in a slash, old readers would take a file for a directory.
        name = name[:NAME_SIZE].rstrip(b"/")
    return name.ljust(NAME_SIZE, _NUL)


def pax_block(directory: bytes, base: bytes, size: int) -> bytes:
    """Returns the header block of a member's PAX records.

    Args:
        directory: the path of the entry's directory with a slash at its end, or nothing; ASCII.
        base: the entry's name in the directory.
        size: bytes of the records.
    """
    name = (directory + b"PaxHeaders.0/" + base)[:NAME_SIZE].rstrip(b"/")
    head = b"%b%b%011o\0%b" % (name.ljust(NAME_SIZE, _NUL), _PAX_MODE, size, _PAX_MTIME)
    return b"%b%06o\0 %b" % (head, head_sum(head) + _PAX_TAIL_SUM, _PAX_TAIL)
