"""File attributes and FILE_BASIC_INFO: the metadata that Windows keeps for every file besides streams and security.

Sources: [MS-FSCC] section 2.6 (attributes) and 2.4.7 (FileBasicInformation).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag
from functools import lru_cache
from typing import ClassVar

from wclayer.win32.filetime import to_datetime


class FileAttributes(IntFlag):
    """File attribute bits; unknown bits are kept."""

    READONLY = 0x1
    HIDDEN = 0x2
    SYSTEM = 0x4
    DIRECTORY = 0x10
    ARCHIVE = 0x20
    DEVICE = 0x40
    NORMAL = 0x80
    TEMPORARY = 0x100
    SPARSE_FILE = 0x200
    REPARSE_POINT = 0x400
    COMPRESSED = 0x800
    OFFLINE = 0x1000
    NOT_CONTENT_INDEXED = 0x2000
    ENCRYPTED = 0x4000
    INTEGRITY_STREAM = 0x8000
    VIRTUAL = 0x10000
    NO_SCRUB_DATA = 0x20000
    EA = 0x40000
    PINNED = 0x80000
    UNPINNED = 0x100000
    RECALL_ON_DATA_ACCESS = 0x400000


DIRECTORY = int(FileAttributes.DIRECTORY)
SPARSE_FILE = int(FileAttributes.SPARSE_FILE)
REPARSE_POINT = int(FileAttributes.REPARSE_POINT)

_LETTERS = (
    (0x10, "D"), (0x1, "R"), (0x2, "H"), (0x4, "S"), (0x20, "A"), (0x400, "L"), (0x800, "C"), (0x4000, "E"),
    (0x2000, "I"), (0x1000, "O"), (0x200, "P"), (0x100, "T"), (0x20000, "X"), (0x8000, "V"),
)  # fmt: skip


def attribute_names(attributes: int) -> list[str]:
    """Returns the names of the set bits, lowest first. A bit without a name is in hexadecimal ("0x800000")."""
    names = []
    for bit in (1 << n for n in range(32)):
        if attributes & bit:
            name = FileAttributes(bit).name if bit in FileAttributes._value2member_map_ else None
            names.append(name or f"{bit:#x}")
    return names


@lru_cache(256)
def attribute_letters(attributes: int) -> str:
    """Returns the attributes in a fixed number of letters of Windows' `attrib` and PowerShell ("D-HS----------")."""
    return "".join(letter if attributes & bit else "-" for bit, letter in _LETTERS)


_CHANGEABLE = {letter: bit for bit, letter in _LETTERS if letter in "RHSAIOTX"}


def changed_attributes(attributes: int, changes: Iterable[str]) -> int:
    """Returns attributes with changes in the form of Windows' `attrib`: "+R", "-H", …

    Raises:
        ValueError: a change has another form, or names an attribute that describes the kind of the file.
    """
    for change in changes:
        bit = _CHANGEABLE.get(change[1:].upper())
        if bit is None or change[0] not in "+-":
            raise ValueError(f"{change!r} is not + or - and one of {' '.join(sorted(_CHANGEABLE))}")
        attributes = attributes | bit if change[0] == "+" else attributes & ~bit
    return attributes


_BASIC_INFO = struct.Struct("<4qI4x")  # FILE_BASIC_INFO ([MS-FSCC] 2.4.7), 40 bytes


@dataclass(slots=True)
class FileBasicInfo:
    """FILE_BASIC_INFO: the attributes and the four times of a file.

    The times are FILETIMEs: numbers of 100 ns since 1601. `created`, `accessed`, `written` and `changed` are the same
    as `datetime`; `flags` are the attributes as `FileAttributes`.
    """

    SIZE: ClassVar[int] = _BASIC_INFO.size
    """Bytes of the encoded structure."""

    attributes: int = 0
    creation_time: int = 0
    last_access_time: int = 0
    last_write_time: int = 0
    change_time: int = 0

    @property
    def is_directory(self) -> bool:
        return bool(self.attributes & DIRECTORY)

    @property
    def flags(self) -> FileAttributes:
        """The attributes as `FileAttributes`."""
        return FileAttributes(self.attributes)

    @property
    def created(self) -> datetime:
        """The creation time in UTC, cut to microseconds."""
        return to_datetime(self.creation_time)

    @property
    def accessed(self) -> datetime:
        """The time of the last access in UTC, cut to microseconds."""
        return to_datetime(self.last_access_time)

    @property
    def written(self) -> datetime:
        """The time of the last write in UTC, cut to microseconds."""
        return to_datetime(self.last_write_time)

    @property
    def changed(self) -> datetime:
        """The time of the last change, metadata included, in UTC, cut to microseconds."""
        return to_datetime(self.change_time)

    def pack(self) -> bytes:
        """Returns the 40 bytes of FILE_BASIC_INFO."""
        return _BASIC_INFO.pack(
            self.creation_time, self.last_access_time, self.last_write_time, self.change_time, self.attributes
        )

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> FileBasicInfo:
        """Decodes the 40 bytes of FILE_BASIC_INFO.

        Raises:
            ValueError: `data` is not 40 bytes long.
        """
        if len(data) != _BASIC_INFO.size:
            raise ValueError(f"FILE_BASIC_INFO is {_BASIC_INFO.size} bytes, not {len(data)}")
        creation, access, write, change, attributes = _BASIC_INFO.unpack(data)
        return cls(attributes, creation, access, write, change)
