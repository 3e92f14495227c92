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
_KEYS = (members.CREATION_TIME, members.FILE_ATTRIBUTES, members.RAW_SECURITY, b"atime", b"ctime", b"mtime")
_MAX_DESCRIPTORS = 4096
_COMMON_TIME = rb"=([1-9][0-9]{9})\.([0-9]{0,6}[1-9])\n"
_COMMON_RECORDS = re.compile(
    rb"(4[0-6]) LIBARCHIVE\.creationtime" + _COMMON_TIME
    + rb"([1-9][0-9]) MSWINDOWS\.fileattr=(0|[1-9][0-9]{0,8})\n"
    + rb"([0-9]+ MSWINDOWS\.rawsd=[^\n]*\n)?"
    + rb"(2[2-8]) atime" + _COMMON_TIME + rb"(2[2-8]) ctime" + _COMMON_TIME + rb"(2[2-8]) mtime" + _COMMON_TIME
)  # fmt: skip


def _lengths(key: bytes) -> dict[bytes, int]:
    """Record prefix ("46 LIBARCHIVE.creationtime") to the length of the line it starts, for every such length."""
    return {b"%d %b" % (length, key): length - 1 for length in range(len(key) + 4, 2000)}


class OrdinaryMembers:
    """The recogniser, with the descriptors it has seen: a layer has few."""

    def __init__(self) -> None:
        creation, attributes, security, access, change, write = map(_lengths, _KEYS)
        self._creation, self._attributes, self._security = creation, attributes, security
        self._access, self._change, self._write = access, change, write
        # Record lines with a descriptor that were found canonical, and the descriptor.
        self._security_lines: dict[bytes, bytes] = {}

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
        info = self._common(records, mtime_field) or self._records(records.split(b"\n"), mtime_field)
        if info is None or bool(info[0].attributes & DIRECTORY) != (kind == 0x35):
            return None
        digits = size_field[:11]
        if size_field[11] or not digits.isdigit() or b"8" in digits or b"9" in digits:
            return None
        size = int(digits, 8)
        if size and kind == 0x35:
            return None
        return Entry(name.decode(), info[0], size, info[1], place=f"offset {offset}")

    def _common(self, records: bytes, mtime_field: bytes) -> tuple[FileBasicInfo, bytes | None] | None:
        """`_records` for those with four times of ten digits and a fraction, which nearly all are."""
        match = _COMMON_RECORDS.fullmatch(records)
        if match is None:
            return None
        (
            creation_length, creation, creation_part, length, attributes, security_line,
            access_length, access, access_part, change_length, change, change_part, write_length, write, write_part,
        ) = match.groups()  # fmt: skip
        security = None
        if security_line is not None:
            security = self._security_lines.get(security_line)
            if security is None:
                return None
        bits = int(attributes)
        if (
            int(creation_length) != len(creation_part) + 39
            or int(length) != len(attributes) + 23
            or int(access_length) != len(access_part) + 21
            or int(change_length) != len(change_part) + 21
            or int(write_length) != len(write_part) + 21
            or bits & REPARSE_POINT
            or mtime_field != b"%011o\0" % int(write)
        ):
            return None
        return FileBasicInfo(
            bits,
            int(creation + creation_part.ljust(7, b"0")) + UNIX_EPOCH,
            int(access + access_part.ljust(7, b"0")) + UNIX_EPOCH,
            int(write + write_part.ljust(7, b"0")) + UNIX_EPOCH,
            int(change + change_part.ljust(7, b"0")) + UNIX_EPOCH,
        ), security

    def _records(self, lines: list[bytes], mtime_field: bytes) -> tuple[FileBasicInfo, bytes | None] | None:
        """Basic info and descriptor from the lines of the records, which must be the canonical ones in their order."""
        count = len(lines)
        if not 5 <= count <= 7 or lines[-1]:
            return None
        creation = self._time(lines[0], self._creation)
        prefix, _, attributes = lines[1].partition(b"=")
        if self._attributes.get(prefix) != len(lines[1]) or not attributes.isdigit() or len(attributes) > 10:
            return None
        bits = int(attributes)
        if (attributes[0] == 0x30 and bits) or bits > 0xFFFFFFFF or bits & REPARSE_POINT:
            return None
        at = 2
        security = None
        prefix, _, value = lines[2].partition(b"=")
        if prefix in self._security:
            at = 3
            if count < 6 or self._security[prefix] != len(lines[2]):
                return None
            security = self._descriptor(value)
            if security is None:
                return None
            if len(self._security_lines) >= _MAX_DESCRIPTORS:
                self._security_lines.clear()
            self._security_lines[lines[2] + b"\n"] = security
        access = self._time(lines[at], self._access)
        change = self._time(lines[at + 1], self._change)
        seconds = mtime_field[:11]
        if mtime_field[11] or not seconds.isdigit() or b"8" in seconds or b"9" in seconds:
            return None
        write: int | None = int(seconds, 8) * 10_000_000 + UNIX_EPOCH
        if at + 3 < count:
            # With a fraction the time has a record of its own; the field then holds its whole seconds.
            whole = write
            write = self._time(lines[at + 2], self._write)
            if write is None or not 0 < write - (whole or 0) < 10_000_000 or at + 4 != count:
                return None
        elif at + 3 != count:
            return None
        if creation is None or access is None or change is None or write is None:
            return None
        return FileBasicInfo(bits, creation, access, write, change), security

    @staticmethod
    def _time(line: bytes, lengths: dict[bytes, int]) -> int | None:
        prefix, _, value = line.partition(b"=")
        if len(value) == 18 and value[10] == 0x2E and value[17] != 0x30 and value[0] != 0x30:
            digits = value[:10] + value[11:]
            if digits.isdigit() and lengths.get(prefix) == len(line):
                return int(digits) + UNIX_EPOCH
        if lengths.get(prefix) != len(line):
            return None
        whole, dot, fraction = value.partition(b".")
        if not whole.isdigit() or len(whole) > 11 or (whole[0] == 0x30 and len(whole) > 1):
            return None
        if not dot:
            return int(whole) * 10_000_000 + UNIX_EPOCH
        if not fraction.isdigit() or len(fraction) > 7 or fraction[-1] == 0x30:
            return None
        if len(fraction) < 7:
            fraction = fraction.ljust(7, b"0")
        return int(whole + fraction) + UNIX_EPOCH

    @staticmethod
    def _descriptor(value: bytes) -> bytes | None:
        """Decodes a descriptor, if its base64 is canonical."""
        try:
            descriptor = members.decode_base64(value)
        except ValueError:
            return None
        return descriptor if descriptor and b64encode(descriptor) == value else None


class OrdinaryEncoder:
    """`members.encode_entry` for ordinary entries, at a third of its cost."""

    def __init__(self) -> None:
        self._security: dict[bytes | None, bytes] = {None: b""}

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
        security = self._security.get(entry.security)
        if security is None:
            security = self._remember(entry.security)
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

    def _remember(self, security: bytes | None) -> bytes:
        assert security is not None
        record = encode_pax_record(members.RAW_SECURITY, b64encode(security))
        if len(self._security) >= _MAX_DESCRIPTORS:
            self._security = {None: b""}
        self._security[security] = record
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
