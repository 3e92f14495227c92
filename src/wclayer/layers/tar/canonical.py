"""Canonical headers of plain entries, both ways: files and directories with basic info, security and data only.

Nearly all members of a real layer are of this kind. By definition a header is canonical if decoding it and encoding the
entry again (`members`) restores it byte for byte. This module gets the same answer several times faster: it compares
each part of the header with what the canonical writer would have put there. It leaves all other members to `members`;
tests compare the two ways.

The recogniser and the encoder share one table: the fields of the header block, and the records with their sizes.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import NamedTuple
from zlib import adler32

from wclayer.formats.tar import structs
from wclayer.formats.tar.structs import BLOCK
from wclayer.formats.tar.writer import TarHeader, encode_header, encode_pax_record
from wclayer.layers.cache import Cache
from wclayer.layers.tar import members
from wclayer.model import Entry
from wclayer.win32.attributes import DIRECTORY, REPARSE_POINT, FileBasicInfo
from wclayer.win32.filetime import UNIX_EPOCH


class _Record(NamedTuple):
    """A record of a canonical header whose length has two digits."""

    key: bytes
    overhead: int
    """Bytes of the record besides its value: two digits, a space, the key, "=" and a newline."""

    @classmethod
    def of(cls, key: bytes) -> _Record:
        return cls(key, len(b"00 %b=\n" % key))

    @property
    def template(self) -> bytes:
        """The record with places for its length and its value."""
        return b"%%d %b=%%b\n" % self.key

    def pattern(self, value: bytes) -> bytes:
        """A regular expression for the record: one group for its length, then the groups of `value`."""
        return rb"([1-9][0-9]) " + re.escape(self.key) + rb"=" + value + rb"\n"


# The table: the records of a canonical header, in their order. The security descriptor stands behind the attributes.
_CREATION = _Record.of(members.CREATION_TIME)
_ATTRIBUTES = _Record.of(members.FILE_ATTRIBUTES)
_ACCESS = _Record.of(b"atime")
_CHANGE = _Record.of(b"ctime")
# Only a last write time with a fraction has a record; the header field has the whole seconds of any.
_WRITE = _Record.of(b"mtime")

# And the fields of the header block.
_MODE = slice(structs.MODE.start, structs.GID.stop)
_HEAD = slice(0, structs.CHECKSUM.start)
_FILE_MODE = b"0100000\x000000000\x000000000\0"
_DIRECTORY_MODE = b"0040000\x000000000\x000000000\0"
_PAX_HEADER = encode_header(TarHeader(b"x", pax={b"k": b"v"}))[:BLOCK]
_PAX_MODE = _PAX_HEADER[_MODE]
_PAX_MTIME = _PAX_HEADER[structs.MTIME]
_PAX_TAIL = _PAX_HEADER[structs.TYPEFLAG :]
_OWN_TAIL = encode_header(TarHeader(b"x"))[structs.LINKNAME.start :]
_FILE_TAIL = b"%c%b" % (structs.REGULAR, _OWN_TAIL)
_DIRECTORY_TAIL = b"%c%b" % (structs.DIRECTORY, _OWN_TAIL)
_SPACES_SUM = sum(b" " * len(_PAX_HEADER[structs.CHECKSUM]))
_FILE_TAIL_SUM = sum(_FILE_TAIL) + _SPACES_SUM
_DIRECTORY_TAIL_SUM = sum(_DIRECTORY_TAIL) + _SPACES_SUM
_PAX_TAIL_SUM = sum(_PAX_TAIL) + _SPACES_SUM
_NAME_SIZE = structs.NAME.stop
_NUL = b"\0"

# What the recogniser accepts: times from 2001 to 2286, which have ten digits, with or without a fraction.
_SECONDS_DIGITS = 10
_SECONDS = rb"([1-9][0-9]{%d})" % (_SECONDS_DIGITS - 1)
_FRACTION = rb"(\.[0-9]{0,6}[1-9])"
_TIME = _SECONDS + _FRACTION + rb"?"
_RECORDS = re.compile(
    _CREATION.pattern(_TIME)
    + _ATTRIBUTES.pattern(rb"(0|[1-9][0-9]{0,8})")
    + rb"([0-9]+ " + re.escape(members.RAW_SECURITY) + rb"=[^\n]*\n)?"
    + _ACCESS.pattern(_TIME)
    + _CHANGE.pattern(_TIME)
    + rb"(?:" + _WRITE.pattern(_SECONDS + _FRACTION) + rb")?"
)  # fmt: skip
_OCTAL_11 = re.compile(rb"[0-7]{11}\0")
_CREATION_SIZE = _CREATION.overhead + _SECONDS_DIGITS
_ATTRIBUTES_SIZE = _ATTRIBUTES.overhead
_ACCESS_SIZE = _ACCESS.overhead + _SECONDS_DIGITS
_CHANGE_SIZE = _CHANGE.overhead + _SECONDS_DIGITS
_WRITE_SIZE = _WRITE.overhead + _SECONDS_DIGITS

# What the encoder writes.
_FIRST_TEMPLATE = _CREATION.template + _ATTRIBUTES.template + b"%b" + _ACCESS.template + _CHANGE.template
_WRITE_TEMPLATE = _WRITE.template


class CanonicalMembers:
    """The recogniser. It remembers the security descriptors that it has decoded: a layer has few."""

    def __init__(self) -> None:
        # From a canonical record with a descriptor to the descriptor.
        self._security: Cache[bytes, bytes] = Cache()

    def __call__(self, pax_block: bytes, padded: bytes, block: bytes, offset: int) -> Entry | None:
        """Decodes the header of a plain entry.

        Args:
            pax_block: the header block of the PAX records.
            padded: the records, with their padding.
            block: the member's own header block.
            offset: of the member in the tar.

        Returns:
            The entry, or None if the header is not canonical, or not that of a plain entry.
        """
        kind = block[structs.TYPEFLAG]
        is_directory = kind == structs.DIRECTORY
        if is_directory:
            mode, tail, tail_sum = _DIRECTORY_MODE, _DIRECTORY_TAIL, _DIRECTORY_TAIL_SUM
        elif kind == structs.REGULAR:
            mode, tail, tail_sum = _FILE_MODE, _FILE_TAIL, _FILE_TAIL_SUM
        else:
            return None
        if block[_MODE] != mode:
            return None
        head = block[_HEAD]
        if block[structs.CHECKSUM.start :] != b"%06o\0 %b" % (_head_sum(head) + tail_sum, tail):
            return None
        name = block[structs.NAME].rstrip(_NUL)
        directory, slash, base = name.rpartition(b"/")
        records = padded.rstrip(_NUL)
        if (
            pax_block != _pax_block(directory + slash, base, len(records))
            or not name.isascii()
            or not base
            or _NUL in name
            or b":" in name
            or base.startswith(b".wh.")
            or name.startswith(b"./")
            or name[_NAME_SIZE - 1 :] == b"/"
        ):
            return None
        size_field, mtime_field = block[structs.SIZE], block[structs.MTIME]
        if _OCTAL_11.fullmatch(size_field) is None or _OCTAL_11.fullmatch(mtime_field) is None:
            return None
        found = self._records(records, int(mtime_field[:11], 8))
        if found is None or bool(found[0].attributes & DIRECTORY) != is_directory:
            return None
        size = int(size_field[:11], 8)
        if size and is_directory:
            return None
        return Entry(name.decode(), found[0], size, found[1], place=f"offset {offset}")

    def _records(self, records: bytes, header_time: int) -> tuple[FileBasicInfo, bytes | None] | None:
        """Decodes the records.

        Args:
            header_time: the last write time of the header block, in whole seconds.

        Returns:
            Basic info and security descriptor, or None if the records are not canonical.
        """
        match = _RECORDS.fullmatch(records)
        if match is None:
            return None
        (
            creation_length, creation, creation_part, length, attributes, security_line,
            access_length, access, access_part, change_length, change, change_part, write_length, write, write_part,
        ) = match.groups(b"")  # fmt: skip
        bits = int(attributes)
        if (
            int(creation_length) != _CREATION_SIZE + len(creation_part)
            or int(length) != _ATTRIBUTES_SIZE + len(attributes)
            or int(access_length) != _ACCESS_SIZE + len(access_part)
            or int(change_length) != _CHANGE_SIZE + len(change_part)
            or bits & REPARSE_POINT
        ):
            return None
        if write and (int(write_length) != _WRITE_SIZE + len(write_part) or int(write) != header_time):
            return None
        security = self._security.get(security_line) or (self._learn(security_line) if security_line else None)
        if security is None and security_line:
            return None
        return FileBasicInfo(
            bits,
            _ticks(creation, creation_part),
            _ticks(access, access_part),
            _ticks(write or b"%d" % header_time, write_part),
            _ticks(change, change_part),
        ), security

    def _learn(self, line: bytes) -> bytes | None:
        """Decodes and remembers the descriptor in a record; returns None if the record is not canonical."""
        value = line.partition(b"=")[2][:-1]
        try:
            descriptor = members.decode_base64(value)
        except ValueError:
            return None
        if not descriptor or encode_pax_record(members.RAW_SECURITY, b64encode(descriptor)) != line:
            return None
        self._security.keep(line, descriptor, len(line) + len(descriptor))
        return descriptor


def _ticks(seconds: bytes, fraction: bytes) -> int:
    """Makes a FILETIME of decimal seconds and a fraction that starts with its point, or is empty."""
    return int(seconds + fraction[1:].ljust(7, b"0")) + UNIX_EPOCH


class CanonicalEncoder:
    """`members.encode_entry` with a way for plain entries that takes a third of the time."""

    def __init__(self) -> None:
        self._security: Cache[bytes, bytes] = Cache()

    def __call__(self, entry: Entry) -> bytes:
        """Returns the canonical header of any entry."""
        info = entry.info
        name = entry.name.encode("utf-8", "surrogatepass")
        if (
            info is None
            or entry.reparse is not None
            or entry.link_target is not None
            or entry.eas
            or entry.extra
            or len(name) > _NAME_SIZE
            or not name.isascii()
            or not 0 <= entry.size <= structs.MAX_OCTAL_11
        ):
            return members.encode_entry(entry)
        creation, access, change = _text(info.creation_time), _text(info.last_access_time), _text(info.change_time)
        write = _text(info.last_write_time)
        if creation is None or access is None or change is None or write is None:
            return members.encode_entry(entry)
        security = b""
        if entry.security is not None:
            security = self._security.get(entry.security) or self._remember(entry.security)
        bits = b"%d" % info.attributes
        records = _FIRST_TEMPLATE % (
            _CREATION.overhead + len(creation), creation, _ATTRIBUTES_SIZE + len(bits), bits, security,
            _ACCESS.overhead + len(access), access, _CHANGE.overhead + len(change), change,
        )  # fmt: skip
        if b"." in write:
            records += _WRITE_TEMPLATE % (_WRITE.overhead + len(write), write)
        size = len(records)
        directory, slash, base = name.rpartition(b"/")
        is_directory = info.attributes & DIRECTORY
        head = b"%b%b%011o\0%011o\0" % (
            name.ljust(_NAME_SIZE, _NUL),
            _DIRECTORY_MODE if is_directory else _FILE_MODE,
            0 if is_directory else entry.size,
            (info.last_write_time - UNIX_EPOCH) // 10_000_000,
        )
        tail = _DIRECTORY_TAIL if is_directory else _FILE_TAIL
        tail_sum = _DIRECTORY_TAIL_SUM if is_directory else _FILE_TAIL_SUM
        return b"%b%b%b%b%06o\0 %b" % (
            _pax_block(directory + slash, base, size), records, bytes(-size % BLOCK),
            head, _head_sum(head) + tail_sum, tail,
        )  # fmt: skip

    def _remember(self, security: bytes) -> bytes:
        record = encode_pax_record(members.RAW_SECURITY, b64encode(security))
        self._security.keep(security, record, len(security) + len(record))
        return record


def _text(time: int) -> bytes | None:
    """Encodes a time for its record; returns None for one before 1970, or whose seconds do not fit in the header."""
    seconds, ticks = divmod(time - UNIX_EPOCH, 10_000_000)
    if not 0 <= seconds <= structs.MAX_OCTAL_11:
        return None
    if not ticks:
        return b"%d" % seconds
    text = b"%d.%07d" % (seconds, ticks)
    return text if text[-1] != 0x30 else text.rstrip(b"0")


def _head_sum(head: bytes) -> int:
    """Returns the sum of the bytes before a header's checksum (see `structs.byte_sum`)."""
    return (adler32(head) & 0xFFFF) - 1


def _pax_block(directory: bytes, base: bytes, size: int) -> bytes:
    """Makes the header block of a plain entry's PAX records.

    Args:
        directory: the path of the entry's directory with a slash at its end, or nothing.
        base: the entry's name in the directory.
        size: bytes of the records.
    """
    name = (directory + b"PaxHeaders.0/" + base)[:_NAME_SIZE].rstrip(b"/")
    head = b"%b%b%011o\0%b" % (name.ljust(_NAME_SIZE, _NUL), _PAX_MODE, size, _PAX_MTIME)
    return b"%b%06o\0 %b" % (head, _head_sum(head) + _PAX_TAIL_SUM, _PAX_TAIL)
