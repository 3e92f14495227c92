"""On-disk structures of NTFS volumes.

Sources: the public NTFS documentation of the Linux-NTFS project (https://flatcap.github.io/linux-ntfs/ntfs/), with its
page for each file, attribute and concept named below; [MS-FSCC] for the parts of them that Windows shows. All numbers
are little-endian.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct
from typing import NamedTuple

from wclayer.errors import FormatError, NoSpaceError, NotRepresentableError
from wclayer.win32.attributes import FileAttributes

SECTOR_SIZE = 512
MAX_CLUSTERS = 0xFFFFFFFF
RECORD_SIZE = 1024
INDEX_BLOCK_SIZE = 4096
UPDATE_STRIDE = 512
"""An update sequence protects each 512 bytes of a record or index block ("Fixup")."""

# "$Boot".
BOOT = Struct("<3s8sHB7sB2sHHIIIQQQb3sb3sQI")


class BootSector(NamedTuple):
    """`BOOT`, unpacked."""

    jump: bytes
    oem_id: bytes
    sector_size: int
    sectors_per_cluster: int
    """Up to 128; a larger number n means 2 to the power of 256 - n."""
    zeros: bytes
    media: int
    zeros2: bytes
    sectors_per_track: int
    heads: int
    hidden_sectors: int
    """Sectors of the disk before the volume."""
    zeros3: int
    mark: int
    sectors: int
    """Sectors of the volume."""
    mft_cluster: int
    mirror_cluster: int
    """The first cluster of `$MFTMirr`."""
    record_size: int
    """Clusters; a negative number -n means 2 to the power of n bytes."""
    zeros4: bytes
    index_block_size: int
    """Encoded as `record_size`."""
    zeros5: bytes
    serial: int
    checksum: int


BOOT_JUMP = b"\xeb\x52\x90"
BOOT_OEM_ID = b"NTFS    "
BOOT_MARK = 0x00800080
BOOT_SIGNATURE_OFFSET = 510
BOOT_SIGNATURE = b"\x55\xaa"
BOOT_SIZE = 8192
MEDIA_FIXED = 0xF8
MIRRORED_RECORDS = 4
"""Records of which `$MFTMirr` has copies. If a cluster holds more records, it has copies of all of these."""


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


class RecordHeader(NamedTuple):
    """`RECORD`, unpacked."""

    signature: bytes
    update_offset: int
    """Offset of the update sequence."""
    update_count: int
    """Numbers of two bytes in the update sequence."""
    lsn: int
    sequence: int
    links: int
    first_attribute: int
    """The offset of the first attribute in the record."""
    flags: int
    used: int
    """Bytes in use."""
    allocated: int
    base: int
    """The reference of the base record; 0 in a base record."""
    next_id: int
    padding: int
    number: int


RECORD_SIGNATURE = b"FILE"


class RecordFlags(IntFlag):
    """The use of a record."""

    IN_USE = 1
    DIRECTORY = 2
    IN_EXTEND = 4
    VIEW_INDEX = 8


# "Attributes".
RESIDENT = Struct("<IIBBHHHIHBB")


class ResidentHeader(NamedTuple):
    """`RESIDENT`, unpacked. The fields up to the id are the same in `NonResidentHeader`."""

    type: int
    length: int
    """Bytes of the attribute with its header."""
    is_non_resident: int
    name_length: int
    """UTF-16 units."""
    name_offset: int
    flags: int
    id: int
    value_length: int
    value_offset: int
    is_indexed: int
    padding: int


NON_RESIDENT = Struct("<IIBBHHHQQHH4sQQQ")


class NonResidentHeader(NamedTuple):
    """`NON_RESIDENT`, unpacked. In a sparse or compressed attribute, the size on disk (64 bits) follows."""

    type: int
    length: int
    is_non_resident: int
    name_length: int
    name_offset: int
    flags: int
    id: int
    first_vcn: int
    last_vcn: int
    runs_offset: int
    compression_unit: int
    """Clusters, as a power of two."""
    padding: bytes
    allocated: int
    size: int
    initialized: int


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
"""Bytes of an attribute list: the limit of Windows' driver, which other drivers keep too."""
MAX_NAMES = 1024
"""Names of one file ("CreateHardLink" on learn.microsoft.com: 1,023 besides the first)."""
LIST_ENTRY = Struct("<IHBBQQH")


class ListEntry(NamedTuple):
    """`LIST_ENTRY`, unpacked; the name follows."""

    type: int
    length: int
    name_length: int
    name_offset: int
    first_vcn: int
    record: int
    """The reference of the record that holds the attribute, or this part of it."""
    id: int


# "$STANDARD_INFORMATION", of NTFS 3.0 and later.
STANDARD_INFORMATION = Struct("<QQQQIIIIIIQQ")


class StandardInformation(NamedTuple):
    """`STANDARD_INFORMATION`, unpacked; times are FILETIMEs."""

    creation_time: int
    last_write_time: int
    change_time: int
    last_access_time: int
    attributes: int
    maximum_versions: int
    version: int
    class_id: int
    owner_id: int
    security_id: int
    quota_charged: int
    update_sequence_number: int


NOT_STORED = int(FileAttributes.DIRECTORY | FileAttributes.NORMAL)
"""Attributes of a file that are in no field for attributes, because other fields say the same."""

# "$FILE_NAME".
FILE_NAME = Struct("<QQQQQQQIIBB")
"""Parent directory, the four times, allocated and real size, flags, EA size or reparse tag, name length, namespace."""
FILE_NAME_DIRECTORY = 0x10000000
FILE_NAME_VIEW_INDEX = 0x20000000


class Namespace(IntEnum):
    """The rules that a name keeps. Windows writes POSIX where it makes no short names."""

    POSIX = 0
    WIN32 = 1
    DOS = 2
    WIN32_AND_DOS = 3


# "$VOLUME_NAME".
MAX_LABEL_UNITS = 128
"""UTF-16 units: "$AttrDef" allows 256 bytes."""

# "$VOLUME_INFORMATION".
VOLUME_INFORMATION = Struct("<QBBH")


class VolumeInformation(NamedTuple):
    """`VOLUME_INFORMATION`, unpacked."""

    reserved: int
    major_version: int
    minor_version: int
    flags: int


VOLUME_IS_DIRTY = 0x0001
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
"""File (in a view: data offset and length), length, key length, flags, padding; the key follows."""
VIEW_ENTRY = Struct("<HHIHHHH")


class ViewEntry(NamedTuple):
    """`VIEW_ENTRY`, unpacked; the key follows, then the data."""

    data_offset: int
    data_length: int
    padding: int
    length: int
    key_length: int
    flags: int
    padding2: int


ENTRY_HAS_BLOCK = 1
ENTRY_IS_LAST = 2


class Collation(IntEnum):
    """The order of an index."""

    FILE_NAME = 0x01
    NUMBER = 0x10
    SID = 0x11
    SECURITY_HASH = 0x12
    NUMBERS = 0x13


# "$Secure".
SDS_ENTRY = Struct("<IIQI")
"""Hash, security id, offset in $SDS, length with this header; the descriptor follows."""
SDS_BLOCK = 0x40000
"""$SDS consists of pairs of blocks of 256 KiB: the entries, and their copy."""
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
    AttributeDefinition("$STANDARD_INFORMATION", AttributeType.STANDARD_INFORMATION, 0, 0x40, 0x30, 0x48),
    AttributeDefinition("$ATTRIBUTE_LIST", AttributeType.ATTRIBUTE_LIST, 0, 0x80, 0, _ANY),
    AttributeDefinition("$FILE_NAME", AttributeType.FILE_NAME, 0, 0x42, 0x44, 0x242),
    AttributeDefinition("$OBJECT_ID", AttributeType.OBJECT_ID, 0, 0x40, 0, 0x100),
    AttributeDefinition("$SECURITY_DESCRIPTOR", AttributeType.SECURITY_DESCRIPTOR, 0, 0x80, 0, _ANY),
    AttributeDefinition("$VOLUME_NAME", AttributeType.VOLUME_NAME, 0, 0x40, 0x2, 0x100),
    AttributeDefinition("$VOLUME_INFORMATION", AttributeType.VOLUME_INFORMATION, 0, 0x40, 0xC, 0xC),
    AttributeDefinition("$DATA", AttributeType.DATA, 0, 0, 0, _ANY),
    AttributeDefinition("$INDEX_ROOT", AttributeType.INDEX_ROOT, 0, 0x40, 0, _ANY),
    AttributeDefinition("$INDEX_ALLOCATION", AttributeType.INDEX_ALLOCATION, 0, 0x80, 0, _ANY),
    AttributeDefinition("$BITMAP", AttributeType.BITMAP, 0, 0x80, 0, _ANY),
    AttributeDefinition("$REPARSE_POINT", AttributeType.REPARSE_POINT, 0, 0x80, 0, 0x4000),
    AttributeDefinition("$EA_INFORMATION", AttributeType.EA_INFORMATION, 0, 0x40, 0x8, 0x8),
    AttributeDefinition("$EA", AttributeType.EA, 0, 0, 0, 0x10000),
    AttributeDefinition("$LOGGED_UTILITY_STREAM", AttributeType.LOGGED_UTILITY_STREAM, 0, 0x80, 0, 0x10000),
)


class NtfsError(FormatError):
    """The volume is not sound, or cannot hold the requested content."""


class OutOfSpaceError(NtfsError, NoSpaceError):
    """The volume is full."""


class FileTooComplexError(NtfsError, NotRepresentableError):
    """A file has more names, streams or pieces than NTFS allows for one file."""


def protect(block: bytearray, sequence: int) -> None:
    """Inserts the update sequence into a record or index block, whose header says where it is ("Fixup")."""
    offset, count = Struct("<HH").unpack_from(block, 4)
    mark = sequence.to_bytes(2, "little")
    block[offset : offset + 2] = mark
    for number in range(1, count):
        end = number * UPDATE_STRIDE
        block[offset + 2 * number : offset + 2 * number + 2] = block[end - 2 : end]
        block[end - 2 : end] = mark


def unprotect(block: bytearray) -> bool:
    """Removes the update sequence from a record or index block.

    Returns:
        False if the block was not written as a whole.
    """
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


def protect_all(blocks: bytearray, size: int, offset: int) -> None:
    """Inserts the update sequence into all of the records or index blocks that follow each other in `blocks`.

    Args:
        size: bytes of each.
        offset: where the update sequence is in each.
    """
    count = len(blocks) // size
    # One byte of all blocks at a time: the time is that of a few slices, not of a loop over the blocks.
    for at, mark in ((0, b"\1"), (1, b"\0")):
        blocks[offset + at :: size] = mark * count
        for end in range(UPDATE_STRIDE, size + 1, UPDATE_STRIDE):
            blocks[offset + end // UPDATE_STRIDE * 2 + at :: size] = blocks[end - 2 + at :: size]
            blocks[end - 2 + at :: size] = mark * count


def unprotect_all(blocks: bytearray, size: int, offset: int) -> bool:
    """Removes the update sequences that `protect_all` has inserted. Blocks of zeros stay what they are.

    Returns:
        False if a block was not written as a whole.
    """
    for at in (0, 1):
        mark = blocks[offset + at :: size]
        for end in range(UPDATE_STRIDE, size + 1, UPDATE_STRIDE):
            if blocks[end - 2 + at :: size] != mark:
                return False
            blocks[end - 2 + at :: size] = blocks[offset + end // UPDATE_STRIDE * 2 + at :: size]
    return True
