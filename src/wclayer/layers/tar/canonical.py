"""The ordinary member, both ways: a plain file or directory whose header is canonical, byte for byte.

Nearly every member of a real layer is one. Decoding it, encoding it again and comparing is the definition of
"canonical" (`members`), and costs several times what it costs to see it at once: each part of the header is compared
with what the canonical writer would have put there. Whatever is not exactly so is left to `members`; tests hold the two
against each other.
"""

from __future__ import annotations

import re
from base64 import b64encode
from zlib import adler32

from wclayer.formats.tar import structs
from wclayer.formats.tar.structs import BLOCK
from wclayer.formats.tar.writer import TarHeader, encode_header, encode_pax_record
from wclayer.layers.cache import Cache
from wclayer.layers.tar import members
from wclayer.model import Entry
from wclayer.win32.attributes import DIRECTORY, REPARSE_POINT, FileBasicInfo
from wclayer.win32.filetime import UNIX_EPOCH

_FILE_MODE = b"0100000\x000000000\x000000000\0"
_DIRECTORY_MODE = b"0040000\x000000000\x000000000\0"
_OWN_TAIL = encode_header(TarHeader(b"x"))[157:]
_PAX_HEADER = encode_header(TarHeader(b"x", pax={b"k": b"v"}))[:BLOCK]
_PAX_MODE = _PAX_HEADER[100:124]
_PAX_MTIME = _PAX_HEADER[136:148]
_PAX_TAIL = _PAX_HEADER[156:]
_NUL = b"\0"
_FILE_TAIL = b"0" + _OWN_TAIL
_DIRECTORY_TAIL = b"5" + _OWN_TAIL
_SPACES_SUM = 8 * 0x20
_FILE_TAIL_SUM = sum(_FILE_TAIL) + _SPACES_SUM
_DIRECTORY_TAIL_SUM = sum(_DIRECTORY_TAIL) + _SPACES_SUM
_PAX_TAIL_SUM = sum(_PAX_TAIL) + _SPACES_SUM
_OCTAL_11 = re.compile(rb"[0-7]{11}\0")
_FRACTION = rb"(\.[0-9]{0,6}[1-9])"
# Times from 2001 to 2286: ten digits, and a fraction if there is one.
_TIME = rb"=([1-9][0-9]{9})" + _FRACTION + rb"?\n"
_RECORDS = re.compile(
    rb"([34][0-9]) LIBARCHIVE\.creationtime" + _TIME
    + rb"([1-9][0-9]) MSWINDOWS\.fileattr=(0|[1-9][0-9]{0,8})\n"
    + rb"([0-9]+ MSWINDOWS\.rawsd=[^\n]*\n)?"
    + rb"(2[0-8]) atime" + _TIME + rb"(2[0-8]) ctime" + _TIME
    # The last write time has a record only for its fraction; its whole seconds stand in the header too.
    + rb"(?:(2[2-8]) mtime=([1-9][0-9]{9})" + _FRACTION + rb"\n)?"
)  # fmt: skip


class CanonicalMembers:
    """The recogniser, with the descriptors it has seen: a layer has few."""

    def __init__(self) -> None:
        # Canonical record lines with a descriptor, and the descriptor.
        self._security: Cache[bytes, bytes] = Cache()

    def __call__(self, pax_block: bytes, padded: bytes, block: bytes, offset: int) -> Entry | None:
        """The entry of an ordinary member in canonical form; None for any other, or if anything is wrong with it."""
        kind = block[156]
        if kind == 0x30:
            if block[100:124] != _FILE_MODE:
                return None
        elif kind != 0x35 or block[100:124] != _DIRECTORY_MODE:
            return None
        tail, tail_sum = (_DIRECTORY_TAIL, _DIRECTORY_TAIL_SUM) if kind == 0x35 else (_FILE_TAIL, _FILE_TAIL_SUM)
        head = block[:148]
        if block[148:] != b"%06o\0 %b" % (_head_sum(head) + tail_sum, tail):
            return None
        name = block[:100].rstrip(_NUL)
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
            or name[99:100] == b"/"
        ):
            return None
        size_field, mtime_field = block[124:136], block[136:148]
        if _OCTAL_11.fullmatch(size_field) is None or _OCTAL_11.fullmatch(mtime_field) is None:
            return None
        found = self._records(records, int(mtime_field[:11], 8))
        if found is None or bool(found[0].attributes & DIRECTORY) != (kind == 0x35):
            return None
        size = int(size_field[:11], 8)
        if size and kind == 0x35:
            return None
        return Entry(name.decode(), found[0], size, found[1], place=f"offset {offset}")

    def _records(self, records: bytes, header_time: int) -> tuple[FileBasicInfo, bytes | None] | None:
        """Basic info and descriptor from the records; `header_time` is the last write time in whole seconds."""
        match = _RECORDS.fullmatch(records)
        if match is None:
            return None
        (
            creation_length, creation, creation_part, length, attributes, security_line,
            access_length, access, access_part, change_length, change, change_part, write_length, write, write_part,
        ) = match.groups(b"")  # fmt: skip
        bits = int(attributes)
        if (
            int(creation_length) != len(creation_part) + 38
            or int(length) != len(attributes) + 23
            or int(access_length) != len(access_part) + 20
            or int(change_length) != len(change_part) + 20
            or bits & REPARSE_POINT
        ):
            return None
        if write and (int(write_length) != len(write_part) + 20 or int(write) != header_time):
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
        """Remembers the descriptor in a record line; None if the line is not what the canonical writer writes."""
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
    """A FILETIME from decimal seconds and a fraction with its point, or none."""
    return int(seconds + fraction[1:].ljust(7, b"0")) + UNIX_EPOCH


class CanonicalEncoder:
    """`members.encode_entry` for ordinary entries, at a third of its cost."""

    def __init__(self) -> None:
        self._security: Cache[bytes, bytes] = Cache()

    def __call__(self, entry: Entry) -> bytes:
        """The canonical header of any entry."""
        info = entry.info
        name = entry.name.encode("utf-8", "surrogatepass")
        if (
            info is None
            or entry.reparse is not None
            or entry.link_target is not None
            or entry.eas
            or entry.extra
            or len(name) > 100
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
        records = b"%d LIBARCHIVE.creationtime=%b\n%d MSWINDOWS.fileattr=%b\n%b%d atime=%b\n%d ctime=%b\n" % (
            len(creation) + 28, creation, len(bits) + 23, bits, security,
            len(access) + 10, access, len(change) + 10, change,
        )  # fmt: skip
        if b"." in write:
            records += b"%d mtime=%b\n" % (len(write) + 10, write)
        size = len(records)
        directory, slash, base = name.rpartition(b"/")
        is_directory = info.attributes & DIRECTORY
        head = b"%b%b%011o\0%011o\0" % (
            name.ljust(100, _NUL),
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
    """A time as its record says it, if it is after 1970 and its whole seconds fit in eleven digits."""
    seconds, ticks = divmod(time - UNIX_EPOCH, 10_000_000)
    if not 0 <= seconds <= 8_589_934_591:
        return None
    if not ticks:
        return b"%d" % seconds
    text = b"%d.%07d" % (seconds, ticks)
    return text if text[-1] != 0x30 else text.rstrip(b"0")


def _head_sum(head: bytes) -> int:
    """The sum of the 148 bytes before a header's checksum (see `structs.byte_sum`)."""
    return (adler32(head) & 0xFFFF) - 1


def _pax_block(directory: bytes, base: bytes, size: int) -> bytes:
    """The PAX header block of an ordinary member: its directory with a slash, its name, the length of its records."""
    name = (directory + b"PaxHeaders.0/" + base)[:100].rstrip(b"/")
    head = b"%b%b%011o\0%b" % (name.ljust(100, _NUL), _PAX_MODE, size, _PAX_MTIME)
    return b"%b%06o\0 %b" % (head, _head_sum(head) + _PAX_TAIL_SUM, _PAX_TAIL)
