"""On-disk structures of NTFS volumes.

Source: the public NTFS documentation of the Linux-NTFS project (https://flatcap.github.io/linux-ntfs/ntfs/), whose page
for each file, attribute and concept is named below, and [MS-FSCC] for what Windows shows of them. All numbers are
little-endian.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct
from typing import NamedTuple

from wclayer.errors import FormatError, NoSpaceError, NotRepresentableError

SECTOR_SIZE = 512
MAX_CLUSTERS = 0xFFFFFFFF
RECORD_SIZE = 1024
INDEX_BLOCK_SIZE = 4096
UPDATE_STRIDE = 512
"""An update sequence protects each 512 bytes of a record or index block ("Fixup")."""

# "$Boot".
BOOT = Struct("<3s8sHB7sB2sHHIIIQQQb3sb3sQI")
"""Jump, OEM id, bytes per sector, sectors per cluster, zeros, media, zeros, sectors per track, heads, hidden sectors,
zeros, 0x80008000, sectors of the volume, first cluster of $MFT, of $MFTMirr, clusters per record, zeros, clusters per
index block, zeros, serial number, checksum."""
BOOT_JUMP = b"\xeb\x52\x90"
BOOT_OEM_ID = b"NTFS    "
BOOT_MARK = 0x00800080
BOOT_SIGNATURE_OFFSET = 510
BOOT_SIGNATURE = b"\x55\xaa"
BOOT_SIZE = 8192
MEDIA_FIXED = 0xF8
MIRRORED_RECORDS = 4
"""Records that `$MFTMirr` has copies of; as many as fill a cluster, if those are more."""


class SystemFile(IntEnum):
    """The first records of the MFT ("Files")."""

    MFT = 0
    MFT_MIRROR = 1
    LOG_FILE = 2
    VOLUME = 3
    ATTRIBUTE_DEFINITIONS = 4
    ROOT = 5
    BITMAP = 6
    BOOT = 7
    BAD_CLUSTERS = 8
    SECURE = 9
    UPCASE = 10
    EXTEND = 11
    QUOTA = 24
    OBJECT_IDS = 25
    REPARSE = 26


FIRST_RESERVED = 12
END_RESERVED = 16
FIRST_USER_RECORD = 32

# "FILE Record".
RECORD = Struct("<4sHHQHHHHIIQHHI")
"""Signature, offset and count of the update sequence, LSN, sequence number, links, first attribute, flags, bytes used,
bytes allocated, base record, next attribute id, padding, own number."""
RECORD_SIGNATURE = b"FILE"


class RecordFlags(IntFlag):
    """What a record is in use for."""

    IN_USE = 1
    DIRECTORY = 2
    IN_EXTEND = 4
    VIEW_INDEX = 8


# "Attributes".
RESIDENT = Struct("<IIBBHHHIHBB")
"""Type, length, non-resident, name length and offset, flags, id, value length and offset, indexed, padding."""
NON_RESIDENT = Struct("<IIBBHHHQQHH4sQQQ")
"""Type, length, non-resident, name length and offset, flags, id, first and last VCN, offset of the runs, compression
unit, padding, allocated size, real size, initialized size; of a sparse or compressed one follows the size on disk."""
ATTRIBUTE_END = 0xFFFFFFFF


class AttributeType(IntEnum):
    """The types of attributes, in the order in which a record has them."""

    STANDARD_INFORMATION = 0x10
    ATTRIBUTE_LIST = 0x20
    FILE_NAME = 0x30
    OBJECT_ID = 0x40
    SECURITY_DESCRIPTOR = 0x50
    VOLUME_NAME = 0x60
    VOLUME_INFORMATION = 0x70
    DATA = 0x80
    INDEX_ROOT = 0x90
    INDEX_ALLOCATION = 0xA0
    BITMAP = 0xB0
    REPARSE_POINT = 0xC0
    EA_INFORMATION = 0xD0
    EA = 0xE0
    LOGGED_UTILITY_STREAM = 0x100


ATTRIBUTE_COMPRESSED = 0x0001
ATTRIBUTE_ENCRYPTED = 0x4000
ATTRIBUTE_SPARSE = 0x8000
INDEXED = 1

# "$ATTRIBUTE_LIST".
MAX_LIST_SIZE = 256 << 10
"""Bytes of an attribute list: the limit of Windows' driver, which others keep."""
MAX_NAMES = 1024
"""Names of one file ("CreateHardLink" on learn.microsoft.com: 1,023 besides the first)."""
LIST_ENTRY = Struct("<IHBBQQH")
"""Type, length, name length and offset, first VCN, record, attribute id; the name follows."""

# "$STANDARD_INFORMATION", of NTFS 3.0 and later.
STANDARD_INFORMATION = Struct("<QQQQIIIIIIQQ")
"""Creation, last write, change, last access time, attributes, maximum versions, version, class id, owner id, security
id, quota charged, update sequence number."""

# "$FILE_NAME".
FILE_NAME = Struct("<QQQQQQQIIBB")
"""Parent directory, the four times, allocated and real size, flags, EA size or reparse tag, name length, namespace."""
FILE_NAME_DIRECTORY = 0x10000000
FILE_NAME_VIEW_INDEX = 0x20000000


class Namespace(IntEnum):
    """Which rules a name keeps; Windows gives POSIX where it makes no short names."""

    POSIX = 0
    WIN32 = 1
    DOS = 2
    WIN32_AND_DOS = 3


# "$VOLUME_NAME".
MAX_LABEL_UNITS = 128
"""UTF-16 units: "$AttrDef" allows 256 bytes."""

# "$VOLUME_INFORMATION".
VOLUME_INFORMATION = Struct("<QBBH")
VERSION = (3, 1)

# "$INDEX_ROOT", "$INDEX_ALLOCATION", "Index".
INDEX_ROOT = Struct("<IIIB3s")
"""Type of the indexed attribute, collation rule, bytes per index block, clusters (or sectors) per index block."""
INDEX_HEADER = Struct("<IIIB3s")
"""Offset of the first entry, bytes used, bytes allocated (all from this header on), flags."""
INDEX_HAS_BLOCKS = 1
INDEX_BLOCK = Struct("<4sHHQQ")
"""Signature, offset and count of the update sequence, LSN, own VCN; an index header follows."""
INDEX_BLOCK_SIGNATURE = b"INDX"
INDEX_ENTRY = Struct("<QHHHH")
"""File (or, of a view, data offset and length), length, key length, flags, padding; the key follows."""
VIEW_ENTRY = Struct("<HHIHHHH")
"""Data offset and length, padding, length, key length, flags, padding."""
ENTRY_HAS_BLOCK = 1
ENTRY_IS_LAST = 2


class Collation(IntEnum):
    """How an index is ordered."""

    FILE_NAME = 0x01
    NUMBER = 0x10
    SID = 0x11
    SECURITY_HASH = 0x12
    NUMBERS = 0x13


# "$Secure".
SDS_ENTRY = Struct("<IIQI")
"""Hash, security id, offset in $SDS, length with this header; the descriptor follows."""
SDS_BLOCK = 0x40000
"""$SDS is pairs of blocks of 256 KiB: the entries, and their copy."""
SDS_ALIGNMENT = 16
FIRST_SECURITY_ID = 0x100

# "$Quota".
QUOTA_ENTRY = Struct("<IIQQqqQ")
"""Version, flags, bytes used, change time, warning limit, hard limit, exceeded time; the SID follows."""
QUOTA_VERSION = 2
QUOTA_DEFAULTS_ID = 1
QUOTA_DEFAULT_LIMITS = 1
FIRST_OWNER_ID = 0x100

# "$ATTRIBUTE_LIST" and others refer to a file by its record (48 bits) and the record's sequence number.
SEQUENCE_SHIFT = 48
RECORD_MASK = (1 << SEQUENCE_SHIFT) - 1
EA_INFORMATION = Struct("<HHI")
"""Bytes of the EAs packed, number of those that are needed, bytes unpacked."""


class AttributeDefinition(NamedTuple):
    """A row of "$AttrDef"."""

    name: str
    type: int
    collation: int
    flags: int
    minimum: int
    maximum: int


ATTRIBUTE_DEFINITION = Struct("<128sIIIIQQ")
_ANY = 0xFFFFFFFFFFFFFFFF
ATTRIBUTE_DEFINITIONS = (
    AttributeDefinition("$STANDARD_INFORMATION", 0x10, 0, 0x40, 0x30, 0x48),
    AttributeDefinition("$ATTRIBUTE_LIST", 0x20, 0, 0x80, 0, _ANY),
    AttributeDefinition("$FILE_NAME", 0x30, 0, 0x42, 0x44, 0x242),
    AttributeDefinition("$OBJECT_ID", 0x40, 0, 0x40, 0, 0x100),
    AttributeDefinition("$SECURITY_DESCRIPTOR", 0x50, 0, 0x80, 0, _ANY),
    AttributeDefinition("$VOLUME_NAME", 0x60, 0, 0x40, 0x2, 0x100),
    AttributeDefinition("$VOLUME_INFORMATION", 0x70, 0, 0x40, 0xC, 0xC),
    AttributeDefinition("$DATA", 0x80, 0, 0, 0, _ANY),
    AttributeDefinition("$INDEX_ROOT", 0x90, 0, 0x40, 0, _ANY),
    AttributeDefinition("$INDEX_ALLOCATION", 0xA0, 0, 0x80, 0, _ANY),
    AttributeDefinition("$BITMAP", 0xB0, 0, 0x80, 0, _ANY),
    AttributeDefinition("$REPARSE_POINT", 0xC0, 0, 0x80, 0, 0x4000),
    AttributeDefinition("$EA_INFORMATION", 0xD0, 0, 0x40, 0x8, 0x8),
    AttributeDefinition("$EA", 0xE0, 0, 0, 0, 0x10000),
    AttributeDefinition("$LOGGED_UTILITY_STREAM", 0x100, 0, 0x80, 0, 0x10000),
)


class NtfsError(FormatError):
    """The volume is not sound, or cannot hold what it is to hold."""


class OutOfSpaceError(NtfsError, NoSpaceError):
    """The volume is full."""


class FileTooComplexError(NtfsError, NotRepresentableError):
    """A file has more names, streams or pieces than NTFS can hold of one."""


def protect(block: bytearray, sequence: int) -> None:
    """Puts the update sequence into a record or index block, whose header says where it is ("Fixup")."""
    offset, count = Struct("<HH").unpack_from(block, 4)
    mark = sequence.to_bytes(2, "little")
    block[offset : offset + 2] = mark
    for number in range(1, count):
        end = number * UPDATE_STRIDE
        block[offset + 2 * number : offset + 2 * number + 2] = block[end - 2 : end]
        block[end - 2 : end] = mark


def unprotect(block: bytearray) -> bool:
    """Takes the update sequence out again; False if the block was not written as a whole."""
    offset, count = Struct("<HH").unpack_from(block, 4)
    if count < 2 or offset + 2 * count > len(block) or (count - 1) * UPDATE_STRIDE > len(block):
        return False
    mark = block[offset : offset + 2]
    for number in range(1, count):
        end = number * UPDATE_STRIDE
        if block[end - 2 : end] != mark:
            return False
        block[end - 2 : end] = block[offset + 2 * number : offset + 2 * number + 2]
    return True
