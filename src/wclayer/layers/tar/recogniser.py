"""Recognises the canonical headers of usual entries: of files, directories and hard links, perhaps with EAs.

Nearly all members of a real layer are of this kind. By definition a header is canonical if decoding it and encoding the
entry again (`members`) restores it byte for byte. The recogniser gets the same answer several times faster: it compares
each part of the header with what the canonical writer would have put there. It leaves all other members to `members`;
tests compare the two ways.
"""

from __future__ import annotations

import re
from base64 import b64encode

from wclayer.formats.tar import structs
from wclayer.formats.tar.reader import parse_pax
from wclayer.formats.tar.writer import encode_pax_record
from wclayer.layers.cache import Cache
from wclayer.layers.tar import blocks, members
from wclayer.model import Entry
from wclayer.win32.attributes import DIRECTORY, REPARSE_POINT, FileBasicInfo
from wclayer.win32.filetime import TICKS_PER_SECOND, UNIX_EPOCH

_NUL = b"\0"
# Times from 2001 to 2286, which have ten digits, with or without a fraction.
_SECONDS = rb"[1-9][0-9]{9}"
_FRACTION = rb"\.[0-9]{0,6}[1-9]"
_LONGEST_TIME = len(b"1000000000.1234567")


def _record(key: bytes, value: bytes) -> bytes:
    """A regular expression for a record: one group for its length, then the groups of `value`."""
    return rb"([1-9][0-9]*) " + re.escape(key) + rb"=" + value + rb"\n"


def _lines(key: bytes) -> bytes:
    """A regular expression for the lines whose key begins with `key`."""
    return rb"[1-9][0-9]* " + re.escape(key) + rb"[^\n]*\n"


_TIME = rb"(" + _SECONDS + rb"(?:" + _FRACTION + rb")?)"
# Only a last write time with a fraction has a record; the header field has the whole seconds of any.
_RECORDS = re.compile(
    _record(members.CREATION_TIME, _TIME)
    + _record(members.FILE_ATTRIBUTES, rb"(0|[1-9][0-9]{0,8})")
    + rb"(" + _lines(members.RAW_SECURITY + b"=") + rb")?"
    + rb"((?:" + _lines(members.EA_PREFIX) + rb")++)?"
    + _record(b"atime", _TIME)
    + _record(b"ctime", _TIME)
    + rb"(?:" + _record(b"linkpath", rb"([^\n]+)") + rb")?"
    + rb"(?:" + _record(b"mtime", rb"(" + _SECONDS + rb")(" + _FRACTION + rb")") + rb")?"
    + rb"(?:" + _record(b"path", rb"([^\n]+)") + rb")?"
)  # fmt: skip
_SIZE_AND_MTIME = re.compile(rb"([0-7]{11})\0([0-7]{11})\0")
_LONGEST_PATH = 1000


def _lengths(key: bytes, longest: int) -> tuple[bytes, ...]:
    """Returns the lengths, as text, of a record of this key by the number of bytes of its value."""
    return tuple(encode_pax_record(key, b"v" * size).partition(b" ")[0] for size in range(longest + 1))


_CREATION_LENGTHS = _lengths(members.CREATION_TIME, _LONGEST_TIME)
_ATTRIBUTES_LENGTHS = _lengths(members.FILE_ATTRIBUTES, 9)
_TIME_LENGTHS = _lengths(b"atime", _LONGEST_TIME)
"""Of the records of the other times, whose keys have the same length."""
_PATH_LENGTHS = _lengths(b"path", _LONGEST_PATH)
_LINK_LENGTHS = _lengths(b"linkpath", _LONGEST_PATH)


class CanonicalMembers:
    """The recogniser. It remembers the security descriptors and EAs that it has decoded: a layer has few."""

    def __init__(self) -> None:
        # From a canonical record with a descriptor to the descriptor, and from canonical records of EAs to their list.
        self._security: Cache[bytes, bytes] = Cache()
        self._eas: Cache[bytes, bytes] = Cache()

    def __call__(self, pax_block: bytes, padded: bytes, block: bytes, offset: int) -> Entry | None:
        """Decodes the header of a usual entry.

        Args:
            pax_block: the header block of the PAX records.
            padded: the records, with their padding.
            block: the member's own header block.
            offset: of the member in the tar.

        Returns:
            The entry, or None if the header is not canonical, or not that of a usual entry.
        """
        match = _RECORDS.match(padded)
        if match is None:
            return None
        (
            creation_length, creation, length, attributes, security_line, ea_lines, access_length, access,
            change_length, change, link_length, target, write_length, write, write_part, path_length, path,
        ) = match.groups()  # fmt: skip
        end = match.end()
        name = block[structs.NAME].rstrip(_NUL) if path is None else path
        directory, slash, base = name.rpartition(b"/")
        fields = _SIZE_AND_MTIME.fullmatch(block, structs.SIZE.start, structs.MTIME.stop)
        if (
            fields is None
            or pax_block != blocks.pax_block(directory + slash, base, end)
            or padded[end:] != structs.ZERO_BLOCK[: len(padded) - end]
            or creation_length != _CREATION_LENGTHS[len(creation)]
            or length != _ATTRIBUTES_LENGTHS[len(attributes)]
            or access_length != _TIME_LENGTHS[len(access)]
            or change_length != _TIME_LENGTHS[len(change)]
            or not name.isascii()
            or not base
            or _NUL in name
            or b":" in name
            or base.startswith(members.WHITEOUT_PREFIX)
            or name.startswith(b"./")
            or (path is not None and not _is_long(path, path_length, _PATH_LENGTHS, block[structs.NAME]))
        ):
            return None
        size, seconds = int(fields[1], 8), int(fields[2], 8)
        if write is None:
            write_time = seconds * TICKS_PER_SECOND + UNIX_EPOCH
        elif write_length == _TIME_LENGTHS[len(write) + len(write_part)] and int(write) == seconds:
            write_time = _filetime(write + write_part)
        else:
            return None
        bits = int(attributes)
        info = FileBasicInfo(bits, _filetime(creation), _filetime(access), write_time, _filetime(change))
        kind = block[structs.TYPEFLAG]
        head = block[blocks.HEAD]
        if kind == structs.LINK:
            field = block[structs.LINKNAME]
            checksum = blocks.head_sum(head) + blocks.head_sum(field) + blocks.LINK.tail_sum
            if (
                block[blocks.MODE] != blocks.LINK.mode
                or block[structs.CHECKSUM] != b"%06o\0 " % checksum
                or block[blocks.MAGIC] != blocks.LINK.tail
                or size
                or security_line is not None
                or ea_lines is not None
            ):
                return None
            if target is None:
                target = field.rstrip(_NUL)
            elif not _is_long(target, link_length, _LINK_LENGTHS, field):
                return None
            if not target or not target.isascii() or _NUL in target or target.startswith(b"./"):
                return None
            return Entry(name.decode(), info, link_target=target.decode(), place=f"offset {offset}")
        is_directory = kind == structs.DIRECTORY
        own = blocks.DIRECTORY if is_directory else blocks.FILE
        if (
            block[blocks.MODE] != own.mode
            or block[structs.CHECKSUM.start :] != b"%06o\0 %b" % (blocks.head_sum(head) + own.tail_sum, own.tail)
            or target is not None
            or bits & REPARSE_POINT
            or bool(bits & DIRECTORY) != is_directory
            or (size and is_directory)
        ):
            return None
        security = None
        if security_line is not None:
            security = self._security.get(security_line) or self._learn_security(security_line)
            if security is None:
                return None
        eas = b""
        if ea_lines is not None:
            eas = self._eas.get(ea_lines) or self._learn_eas(ea_lines)
            if not eas:
                return None
        return Entry(name.decode(), info, size, security, eas, place=f"offset {offset}")

    def _learn_security(self, line: bytes) -> bytes | None:
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

    def _learn_eas(self, lines: bytes) -> bytes:
        """Decodes and remembers the EAs in records; returns nothing if the records are not canonical."""
        try:
            eas = members.eas_from_records(parse_pax(lines, 0))
            records = members.ea_records(eas)
        except ValueError:
            return b""
        if b"".join(encode_pax_record(key, records[key]) for key in sorted(records)) != lines:
            return b""
        self._eas.keep(lines, eas, len(lines) + len(eas))
        return eas


def _is_long(text: bytes, length: bytes, lengths: tuple[bytes, ...], field: bytes) -> bool:
    """Returns whether a path belongs into a record, which has the right length, and its beginning into the field."""
    size = len(text)
    return blocks.NAME_SIZE < size <= _LONGEST_PATH and length == lengths[size] and field == blocks.name_field(text)


def _filetime(seconds: bytes) -> int:
    """Returns the FILETIME of decimal seconds since 1970 with ten digits before the point."""
    if len(seconds) == _LONGEST_TIME:
        return int(seconds.replace(b".", b"", 1)) + UNIX_EPOCH
    whole, _, fraction = seconds.partition(b".")
    return int(whole + fraction.ljust(7, b"0")) + UNIX_EPOCH
