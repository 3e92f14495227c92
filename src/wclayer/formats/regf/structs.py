"""On-disk structures of registry hives, as the public regf specification names them.

Source: "Windows registry file format specification" by Maxim Suhanov
(https://github.com/msuhanov/regf/blob/master/Windows%20registry%20file%20format%20specification.md), whose headings
are quoted below. All numbers are little-endian. Offsets called *cell offsets* count from the end of the base block.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct
from typing import NamedTuple

BASE_BLOCK_SIZE = 4096
BIN_ALIGNMENT = 4096
CELL_ALIGNMENT = 8
NO_CELL = 0xFFFFFFFF
"""The cell offset that means that there is no cell."""
MAX_DEPTH = 512
"""Levels of keys below the root that Windows allows."""
MAX_HIVE_SIZE = 1 << 31
"""Bytes: cell offsets have 31 bits."""
MAX_VALUES = 1 << 18
MAX_SUBKEYS = 1 << 19
"""Values and subkeys of one key that are read: more than any hive of Windows has, and few enough for memory."""
MAX_NAME_UNITS = 255
MAX_VALUE_NAME_UNITS = 16_383

# "Base block": the fields in use, in three pieces.
BASE_HEAD = Struct("<4sIIQIIIIIII64s")
"""Signature, the two sequence numbers, last written, major and minor version, file type, file format, root cell
offset, hive bins data size, clustering factor, file name."""
BASE_SIGNATURE = b"regf"
BASE_FLAGS_OFFSET = 144
BASE_FLAGS = Struct("<I")
BASE_CHECKSUM_OFFSET = 508
BASE_CHECKSUM = Struct("<I")
SUPPORTS_LAYERED_KEYS = 0x2
"""The flag of the base block that means "this hive supports the layered keys feature"."""
FILE_TYPE_PRIMARY = 0
FILE_TYPE_OLD_LOGS = (1, 2)
FILE_TYPE_NEW_LOG = 6
FILE_FORMAT_MEMORY = 1


class BaseBlock(NamedTuple):
    """`BASE_HEAD`, unpacked."""

    signature: bytes
    primary_sequence: int
    secondary_sequence: int
    last_written: int
    major_version: int
    minor_version: int
    file_type: int
    file_format: int
    root_cell: int
    bins_size: int
    clustering_factor: int
    file_name: bytes


# "Hive bin".
BIN_HEADER = Struct("<4sIIQQI")
"""Signature, own offset, size, reserved, timestamp, spare."""
BIN_SIGNATURE = b"hbin"

# "Cell".
CELL_SIZE = Struct("<i")
"""The size; negative if the cell is allocated."""

# "Key node", with the fields of Windows 10 ("Layered keys").
KEY_NODE = Struct("<2sHQBBHIIIIIIIIIHHIIIIHH")


class KeyNode(NamedTuple):
    """`KEY_NODE`, unpacked; the name follows. Lists, the descriptor and the class name are at cell offsets."""

    signature: bytes
    flags: int
    last_written: int
    """FILETIME."""
    access_bits: int
    layered_bits: int
    """The `LayerSemantics` and `INHERIT_CLASS`."""
    spare: int
    parent: int
    subkey_count: int
    volatile_subkey_count: int
    subkeys_list: int
    volatile_subkeys_list: int
    value_count: int
    """The number of values; in a predefined handle, the handle."""
    values_list: int
    security: int
    class_name: int
    largest_subkey_name: int
    """Bytes in UTF-16, as in all fields of this kind."""
    control_flags: int
    largest_subkey_class: int
    largest_value_name: int
    largest_value_data: int
    work_variable: int
    name_length: int
    class_name_length: int


KEY_SIGNATURE = b"nk"
LAYER_SEMANTICS_MASK = 0x03
INHERIT_CLASS = 0x80


class KeyFlags(IntFlag):
    """The flags of a key node."""

    VOLATILE = 0x0001
    HIVE_EXIT = 0x0002
    HIVE_ENTRY = 0x0004
    NO_DELETE = 0x0008
    SYM_LINK = 0x0010
    COMP_NAME = 0x0020
    PREDEF_HANDLE = 0x0040
    VIRTUAL_SOURCE = 0x0080
    VIRTUAL_TARGET = 0x0100
    VIRTUAL_STORE = 0x0200


FORM_FLAGS = KeyFlags.COMP_NAME | KeyFlags.HIVE_ENTRY
"""The flags that describe how and where the node is stored. The others belong to the key."""


class LayerSemantics(IntEnum):
    """The effect of a key node of a delta hive on the key of the same path in the layers above ("Layered keys")."""

    NORMAL = 0
    """The node is merged with the key above."""
    TOMBSTONE = 1
    """The key is deleted with everything below it."""
    SUPERSEDE_LOCAL = 2
    """The node replaces the key above. Subkeys are still merged."""
    SUPERSEDE_TREE = 3
    """The node and everything below it replace the whole subtree."""


# "Key value".
KEY_VALUE = Struct("<2sHIIIHH")
"""Signature, name length, data size, data offset, data type, flags, spare; the name follows."""
VALUE_SIGNATURE = b"vk"
VALUE_COMP_NAME = 0x0001
VALUE_TOMBSTONE = 0x0002
DATA_IS_RESIDENT = 0x80000000
MAX_RESIDENT = 4

# "Key security".
KEY_SECURITY = Struct("<2sHIIII")
"""Signature, reserved, flink, blink, reference count, descriptor size; the descriptor follows."""
SECURITY_SIGNATURE = b"sk"

# "Big data", used from minor version 4 on for data of more than BIG_DATA_SEGMENT bytes.
BIG_DATA = Struct("<2sHI")
"""Signature, number of segments, offset of the list of segments."""
BIG_DATA_SIGNATURE = b"db"
BIG_DATA_SEGMENT = 16_344
BIG_DATA_MINOR_VERSION = 4

# "Index leaf", "Fast leaf", "Hash leaf", "Index root".
LIST_HEADER = Struct("<2sH")
"""Signature, number of elements; the elements follow."""
INDEX_LEAF = b"li"
FAST_LEAF = b"lf"
HASH_LEAF = b"lh"
INDEX_ROOT = b"ri"
OFFSET_ELEMENT = Struct("<I")
NAMED_ELEMENT = Struct("<II")
"""Key node offset, and the name hint (lf) or name hash (lh)."""
HASH_LEAF_MINOR_VERSION = 5

# "Format of transaction log files".
LOG_SECTOR = 512
DIRTY_VECTOR_SIGNATURE = b"DIRT"
DIRTY_PAGE = 512
LOG_ENTRY = Struct("<4sIIIIIQQ")
"""Signature, size, flags, sequence number, hive bins data size, dirty pages count, Hash-1, Hash-2."""
LOG_ENTRY_SIGNATURE = b"HvLE"
LOG_ENTRY_HASHED = 32
"""Bytes of an entry that Hash-2 covers: all bytes before this hash."""
LOG_ENTRY_FLAGS_MASK = 0x1
"""The flag of the base block that is taken from a log entry."""
PAGE_REFERENCE = Struct("<II")
"""Offset and size of a dirty page."""
MARVIN32_SEED = 0x82EF4D887A4E55C5
"""The seed of both hashes; the specification's "82 EF 4D 88 7A 4E 55 C5" is this number."""


def checksum(base_block: bytes | bytearray | memoryview) -> int:
    """Returns the XOR-32 of a base block's first 508 bytes ("Notes" 2 of "Base block")."""
    total = 0
    for (word,) in OFFSET_ELEMENT.iter_unpack(base_block[:BASE_CHECKSUM_OFFSET]):
        total ^= word
    if total == 0xFFFFFFFF:
        return 0xFFFFFFFE
    return total or 1


def name_hash(upper_name: str) -> int:
    """Returns the name hash of a hash leaf, for a name in upper case: one step per UTF-16 unit."""
    result = 0
    units = upper_name.encode("utf-16-le", "surrogatepass") if not upper_name.isascii() else upper_name.encode()
    step = 1 if upper_name.isascii() else 2
    for position in range(0, len(units), step):
        result = (result * 37 + int.from_bytes(units[position : position + step], "little")) & 0xFFFFFFFF
    return result


def name_hint(name: str) -> bytes:
    """Returns the name hint of a fast leaf: the first four characters in Latin-1, or zeros if one is not in it."""
    try:
        return name[:4].encode("latin-1").ljust(4, b"\0")
    except UnicodeEncodeError:
        return bytes(4)
