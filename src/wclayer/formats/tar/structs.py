"""On-disk structures of tar: the header block, its fields, the type flags.

Sources: POSIX.1-2017 `pax` utility, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar
Format" (the `L` and `K` members and base-256 numbers).
"""

from __future__ import annotations

from zlib import adler32

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)
TRAILER = bytes(2 * BLOCK)
"""The end of an archive: two zero blocks."""

# Header fields as slices of the block.
NAME = slice(0, 100)
MODE = slice(100, 108)
UID = slice(108, 116)
GID = slice(116, 124)
SIZE = slice(124, 136)
MTIME = slice(136, 148)
CHECKSUM = slice(148, 156)
TYPEFLAG = 156
LINKNAME = slice(157, 257)
MAGIC = slice(257, 265)
UNAME = slice(265, 297)
GNAME = slice(297, 329)
DEVMAJOR = slice(329, 337)
DEVMINOR = slice(337, 345)
PREFIX = slice(345, 500)

USTAR_MAGIC = b"ustar\00000"

REGULAR = ord("0")
REGULAR_OLD = 0
LINK = ord("1")
SYMLINK = ord("2")
DIRECTORY = ord("5")
CONTIGUOUS = ord("7")
PAX = ord("x")
PAX_GLOBAL = ord("g")
GNU_LONG_NAME = ord("L")
GNU_LONG_LINK = ord("K")

MAX_OCTAL_11 = 0o77777777777
"""The largest size or time that fits in eleven octal digits."""

_CHECKSUM_AS_SPACES = 8 * ord(" ")


def byte_sum(block: bytes) -> int:
    """Returns the sum of a header block's bytes.

    Adler-32's low half is one plus the sum of the bytes modulo 65521. Half a block sums to at most 256 * 255 = 65280,
    so two calls give the exact sum ten times faster than adding bytes in Python.
    """
    return (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2


def header_checksum(block: bytes) -> int:
    """Returns the checksum of a header block: the sum of its bytes, with the checksum field taken as spaces."""
    return byte_sum(block) - sum(block[CHECKSUM]) + _CHECKSUM_AS_SPACES


def padding(size: int) -> int:
    """Returns how many bytes follow `size` bytes of data up to the next block."""
    return -size % BLOCK
