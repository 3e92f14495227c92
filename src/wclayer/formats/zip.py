"""Reads zip archives: the members in the order of the central directory, and the data of each in pieces.

Source: PKWARE's APPNOTE.TXT 6.3.10. What is read is what .NET's ZipArchive reads, which Expand-Archive uses: members
that are stored or deflated, with Zip64. The central directory alone decides. Errors are: a local header that names
another member, bytes between the central directory and the end of the file that are no end record, several disks,
encryption. Memory does not grow with the archive.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, NamedTuple

from wclayer.errors import FormatError
from wclayer.win32 import filetime

STORED, DEFLATED = 0, 8
ENCRYPTED, UTF8 = 0x0001, 0x0800
"""Flags of a member."""
_STRONGLY_ENCRYPTED, _MASKED = 0x0040, 0x2000
_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "zstd", 95: "xz", 98: "PPMd", 99: "AES encryption"}
_PIECE = 1 << 16
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_END_MAGIC, _END64_MAGIC, _LOCATOR64_MAGIC = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_CENTRAL_MAGIC, _LOCAL_MAGIC = b"PK\1\2", b"PK\3\4"
_MAX_COMMENT = 0xFFFF
_IN_EXTRA, _IN_EXTRA_SHORT = 0xFFFF_FFFF, 0xFFFF
_ZIP64_EXTRA = 0x0001
_FIRST_TIME = datetime(1980, 1, 1, tzinfo=UTC)


class _CentralHeader(NamedTuple):
    """The header of a member in the central directory (4.3.12)."""

    magic: bytes
    made_by: int
    needed: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    stored_size: int
    size: int
    name_size: int
    extra_size: int
    comment_size: int
    disk: int
    internal_attributes: int
    external_attributes: int
    offset: int


class _LocalHeader(NamedTuple):
    """The header of a member before its data (4.3.7)."""

    magic: bytes
    needed: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    stored_size: int
    size: int
    name_size: int
    extra_size: int


class ZipError(FormatError):
    """The archive is damaged, or has something that is not supported."""


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A file or directory of an archive, as the central directory states it.

    Attributes:
        name: the name as it is stored; its separators are `/`, or by old programs of Windows `\\`.
        flags: general purpose bit flags.
        method: the compression.
        time: the time of the last write in the form of DOS: the date in the upper 16 bits.
        crc: the CRC-32 of the data.
        stored_size: the bytes that the data takes in the archive.
        size: the bytes of the data.
        offset: the position of the local header.
    """

    name: bytes
    flags: int
    method: int
    time: int
    crc: int
    stored_size: int
    size: int
    offset: int

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory: its name ends in a separator."""
        return self.name.endswith((b"/", b"\\"))

    @property
    def filetime(self) -> int:
        """The time of the last write as a FILETIME. A zip has no time zone: UTC is taken. An invalid time is 1980."""
        date, time = divmod(self.time, 1 << 16)
        try:
            moment = datetime(
                1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2, tzinfo=UTC
            )
        except ValueError:
            moment = _FIRST_TIME
        return filetime.from_unix_ns(int(moment.timestamp()) * 1_000_000_000)


class ZipReader:
    """Reads the archive in a seekable file, which stays open.

    Raises:
        ZipError: it is no archive, or is damaged.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        self.count, self._directory_size, self._directory = self._find_directory()

    def _read(self, offset: int, size: int, what: str) -> bytes:
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise ZipError(f"{what} at {offset} is cut off")
        return data

    def _find_directory(self) -> tuple[int, int, int]:
        """Returns the number of members, and the size and the position of the central directory."""
        tail_size = min(self._size, _END.size + _MAX_COMMENT)
        tail = self._read(self._size - tail_size, tail_size, "the end")
        # The last signature counts, as for .NET; after its record there is nothing.
        at = tail.rfind(_END_MAGIC)
        if at < 0 or len(tail) - at < _END.size:
            raise ZipError("has no end record; it is no zip archive, or is cut off")
        _, disk, first_disk, here, count, size, offset, comment = _END.unpack_from(tail, at)
        end = self._size - tail_size + at
        if end + _END.size + comment != self._size:
            raise ZipError(f"the end record at {end} is not at the end of the archive")
        if end >= _LOCATOR64.size and self._read(end - _LOCATOR64.size, 4, "the end") == _LOCATOR64_MAGIC:
            disk, first_disk, here, count, size, offset, end = self._end64(end)
        if disk or first_disk or here != count:
            raise ZipError("is a part of a split archive; join the parts")
        if offset + size != end or count * _CENTRAL.size > size:
            raise ZipError(f"the central directory of {count} members is not in the {size} bytes before the end record")
        return count, size, offset

    def _end64(self, end: int) -> tuple[int, int, int, int, int, int, int]:
        at = end - _LOCATOR64.size
        _, _, offset, disks = _LOCATOR64.unpack(self._read(at, _LOCATOR64.size, "the Zip64 locator"))
        if disks > 1 or offset + _END64.size > at:
            raise ZipError("the locator of the Zip64 end record is damaged")
        record = _END64.unpack(self._read(offset, _END64.size, "the Zip64 end record"))
        magic, record_size, _, _, disk, first_disk, here, count, size, directory = record
        if magic != _END64_MAGIC or offset + 12 + record_size != at:
            raise ZipError("the Zip64 end record is damaged")
        return disk, first_disk, here, count, size, directory, offset

    def members(self) -> Iterator[ZipMember]:
        """Yields the members. Their data may be read in between.

        Raises:
            ZipError: the central directory is damaged.
        """
        at, end = self._directory, self._directory + self._directory_size
        for _ in range(self.count):
            header = _CentralHeader._make(_CENTRAL.unpack(self._read(at, _CENTRAL.size, "a member")))
            after = at + _CENTRAL.size + header.name_size + header.extra_size + header.comment_size
            if header.magic != _CENTRAL_MAGIC or after > end:
                raise ZipError(f"the central directory is damaged at {at}")
            names = self._read(at + _CENTRAL.size, header.name_size + header.extra_size, "a name")
            name, extra = names[: header.name_size], names[header.name_size :]
            size, stored, offset, disk = _zip64(extra, header.size, header.stored_size, header.offset, header.disk)
            if disk:
                raise ZipError("is a part of a split archive; join the parts")
            time = header.date << 16 | header.time
            yield ZipMember(name, header.flags, header.method, time, header.crc, stored, size, offset)
            at = after
        if at != end:
            raise ZipError(f"the central directory has {end - at} bytes more than its {self.count} members take")

    def check(self, member: ZipMember) -> None:
        """Refuses a member whose data cannot be read.

        Raises:
            ZipError: it is encrypted; its compression is not supported; its sizes or its position are impossible.
        """
        if member.flags & (ENCRYPTED | _STRONGLY_ENCRYPTED | _MASKED):
            raise ZipError("is encrypted")
        if member.method not in (STORED, DEFLATED):
            name = _METHODS.get(member.method, f"method {member.method}")
            raise ZipError(f"is compressed with {name}; stored and deflated members can be read")
        if member.method == STORED and member.size != member.stored_size:
            raise ZipError(f"is stored in {member.stored_size} bytes, and has {member.size}")
        if member.offset + _LOCAL.size + len(member.name) + member.stored_size > self._directory:
            raise ZipError("its data is not before the central directory")

    def data(self, member: ZipMember) -> Iterator[bytes]:
        """Yields the data of a member in pieces of at most 64 KiB.

        Raises:
            ZipError: `check` refuses it, its data is damaged, or has another size or CRC than the archive states.
        """
        self.check(member)
        header = _LocalHeader._make(_LOCAL.unpack(self._read(member.offset, _LOCAL.size, "a local header")))
        name = self._read(member.offset + _LOCAL.size, header.name_size, "a name")
        start = member.offset + _LOCAL.size + header.name_size + header.extra_size
        if header.magic != _LOCAL_MAGIC or name != member.name or start + member.stored_size > self._directory:
            raise ZipError(f"its local header at {member.offset} is damaged, or is that of another member")
        size = crc = 0
        for piece in self._unpacked(member, start):
            size += len(piece)
            if size > member.size:
                raise ZipError(f"has more than the {member.size} bytes that the archive states")
            crc = zlib.crc32(piece, crc)
            yield piece
        if size != member.size:
            raise ZipError(f"has {size} bytes, and not the {member.size} that the archive states")
        if crc != member.crc:
            raise ZipError("its data is damaged: the checksum is another one")

    def _unpacked(self, member: ZipMember, start: int) -> Iterator[bytes]:
        stream = zlib.decompressobj(-zlib.MAX_WBITS) if member.method == DEFLATED else None
        for at in range(start, start + member.stored_size, _PIECE):
            data = self._read(at, min(_PIECE, start + member.stored_size - at), "data")
            if stream is None:
                yield data
                continue
            try:
                while data and not stream.eof:
                    if piece := stream.decompress(data, _PIECE):
                        yield piece
                    data = stream.unconsumed_tail
            except zlib.error as error:
                raise ZipError(f"its data is damaged: {error}") from None
            if data or stream.unused_data:
                raise ZipError("there are bytes after the end of its data")
        if stream is not None and not stream.eof:
            raise ZipError("its data is cut off")


def _zip64(extra: bytes, size: int, stored: int, offset: int, disk: int) -> tuple[int, int, int, int]:
    """Returns the numbers of a member, each from the Zip64 field where the header has no room for it."""
    if _IN_EXTRA not in (size, stored, offset) and disk != _IN_EXTRA_SHORT:
        return size, stored, offset, disk
    field = _field(extra)
    found = []
    for number, missing, width in (
        (size, _IN_EXTRA, 8),
        (stored, _IN_EXTRA, 8),
        (offset, _IN_EXTRA, 8),
        (disk, _IN_EXTRA_SHORT, 4),
    ):
        if number == missing:
            if len(field) < width:
                raise ZipError("a Zip64 field is missing or too short")
            number, field = int.from_bytes(field[:width], "little"), field[width:]
        found.append(number)
    return found[0], found[1], found[2], found[3]


def _field(extra: bytes) -> bytes:
    """Returns the Zip64 field among the extra fields of a member."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        if kind == _ZIP64_EXTRA:
            return extra[4 : 4 + size]
        extra = extra[4 + size :]
    return b""
