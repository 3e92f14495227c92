"""Recognises the ordinary member: a plain file or directory whose header is canonical, byte for byte.

Nearly every member of a real layer is one. Decoding it, encoding it again and comparing is the definition of
"canonical" (`members`), and costs ten times what it costs to see it at once: each part of the header is compared with
what the canonical writer would have put there. Whatever is not exactly so is left to `members`; a test holds the two
against each other.
"""

from __future__ import annotations

from base64 import b64encode

from wclayer.formats.tar import structs
from wclayer.formats.tar.structs import BLOCK
from wclayer.formats.tar.writer import TarHeader, encode_header
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
_KEYS = (members.CREATION_TIME, members.FILE_ATTRIBUTES, members.RAW_SECURITY, b"atime", b"ctime", b"mtime")
_MAX_DESCRIPTORS = 4096


def _lengths(key: bytes) -> dict[bytes, int]:
    """Record prefix ("46 LIBARCHIVE.creationtime") to the length of the line it starts, for every length it can have."""
    return {b"%d %b" % (length, key): length - 1 for length in range(len(key) + 4, 2000)}


class OrdinaryMembers:
    """The recogniser, with the descriptors it has seen: a layer has few."""

    def __init__(self) -> None:
        creation, attributes, security, access, change, write = map(_lengths, _KEYS)
        self._creation, self._attributes, self._security = creation, attributes, security
        self._access, self._change, self._write = access, change, write
        self._descriptors: dict[bytes, bytes] = {}

    def __call__(self, pax_block: bytes, padded: bytes, block: bytes, offset: int) -> Entry | None:
        """The entry of an ordinary member in canonical form; None for any other, or if anything is wrong with it."""
        kind = block[156]
        if kind == 0x30:
            if block[100:124] != _FILE_MODE:
                return None
        elif kind != 0x35 or block[100:124] != _DIRECTORY_MODE:
            return None
        name = block[:100].rstrip(_NUL)
        directory, slash, base = name.rpartition(b"/")
        pax_name = directory + slash + b"PaxHeaders.0/" + base
        lines = padded.rstrip(_NUL).split(b"\n")
        size_field, mtime_field = block[124:136], block[136:148]
        if (
            block[157:] != _OWN_TAIL
            or pax_block[156:] != _PAX_TAIL
            or pax_block[:100] != pax_name[:100].ljust(100, _NUL)
            or pax_block[100:124] != _PAX_MODE
            or pax_block[124:136] != b"%011o\0" % (sum(map(len, lines)) + len(lines) - 1)
            or pax_block[136:148] != _PAX_MTIME
            or not name.isascii()
            or not base
            or _NUL in name
            or b":" in name
            or base.startswith(b".wh.")
            or name.startswith(b"./")
            or name[99:100] == b"/"
            or not _sealed(block)
            or not _sealed(pax_block)
        ):
            return None
        info = self._records(lines, mtime_field)
        if info is None or bool(info[0].attributes & DIRECTORY) != (kind == 0x35):
            return None
        digits = size_field[:11]
        if size_field[11] or not digits.isdigit() or b"8" in digits or b"9" in digits:
            return None
        size = int(digits, 8)
        if size and kind == 0x35:
            return None
        return Entry(name.decode(), info[0], size, info[1], place=f"offset {offset}")

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
            security = self._descriptors.get(value) or self._descriptor(value)
            if security is None:
                return None
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

    def _descriptor(self, value: bytes) -> bytes | None:
        """Decodes a descriptor that was not seen before, if its base64 is canonical."""
        try:
            descriptor = members.decode_base64(value)
        except ValueError:
            return None
        if not descriptor or b64encode(descriptor) != value:
            return None
        if len(self._descriptors) >= _MAX_DESCRIPTORS:
            self._descriptors.clear()
        self._descriptors[value] = descriptor
        return descriptor


def _sealed(block: bytes) -> bool:
    """Whether the checksum is right, and written as the canonical writer writes it."""
    return block[148:156] == b"%06o\0 " % structs.header_checksum(block)
