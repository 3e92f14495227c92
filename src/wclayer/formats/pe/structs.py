"""On-disk structures of PE files, with the section of the specification that defines each.

Source: "PE Format" (https://learn.microsoft.com/windows/win32/debug/pe-format), whose headings are quoted below. All
numbers are little-endian. An *RVA* is an address in the image in memory, relative to its start. A *file offset* is a
position in the file.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct
from typing import NamedTuple

# "MS-DOS Stub" and "Signature".
DOS_HEADER = Struct("<2s58xI")
"""Signature, file offset of the PE signature."""
DOS_SIGNATURE = b"MZ"
PE_SIGNATURE = b"PE\0\0"

# "COFF File Header".
FILE_HEADER = Struct("<HHIIIHH")


class FileHeader(NamedTuple):
    """`FILE_HEADER`, unpacked."""

    machine: int
    section_count: int
    timestamp: int
    symbols_offset: int
    symbol_count: int
    optional_header_size: int
    characteristics: int


class Machine(IntEnum):
    """ "Machine Types": those that Windows has run on, and those that only a load configuration tells apart."""

    UNKNOWN = 0x0
    I386 = 0x14C
    ARM = 0x1C0
    THUMB = 0x1C2
    ARMNT = 0x1C4
    IA64 = 0x200
    EBC = 0xEBC
    AMD64 = 0x8664
    ARM64EC = 0xA641
    ARM64X = 0xA64E
    ARM64 = 0xAA64


class Characteristics(IntFlag):
    """ "Characteristics" of the file header, as far as they are used here."""

    EXECUTABLE_IMAGE = 0x0002
    LARGE_ADDRESS_AWARE = 0x0020
    SYSTEM = 0x1000
    DLL = 0x2000


# "Optional Header": the standard and the Windows-specific fields. Both forms have the same fields, except BaseOfData,
# which only PE32 has, and which is skipped.
OPTIONAL_MAGIC = Struct("<H")
PE32_MAGIC = 0x10B
PE32_PLUS_MAGIC = 0x20B
OPTIONAL_PE32 = Struct("<HBBIIIII4xIIIHHHHHHIIIIHHIIIIII")
OPTIONAL_PE32_PLUS = Struct("<HBBIIIIIQIIHHHHHHIIIIHHQQQQII")
CHECKSUM_OFFSET = 64
"""The offset of the checksum in both forms of the optional header."""
CHECKSUM_SIZE = 4


class OptionalHeader(NamedTuple):
    """`OPTIONAL_PE32` or `OPTIONAL_PE32_PLUS`, unpacked; the data directories follow."""

    magic: int
    linker_major: int
    linker_minor: int
    code_size: int
    initialized_data_size: int
    uninitialized_data_size: int
    entry_point: int
    code_base: int
    image_base: int
    section_alignment: int
    file_alignment: int
    system_major: int
    system_minor: int
    image_major: int
    image_minor: int
    subsystem_major: int
    subsystem_minor: int
    win32_version: int
    image_size: int
    headers_size: int
    checksum: int
    subsystem: int
    dll_characteristics: int
    stack_reserve: int
    stack_commit: int
    heap_reserve: int
    heap_commit: int
    loader_flags: int
    directory_count: int


class Subsystem(IntEnum):
    """ "Windows Subsystem"."""

    UNKNOWN = 0
    NATIVE = 1
    WINDOWS_GUI = 2
    WINDOWS_CUI = 3
    OS2_CUI = 5
    POSIX_CUI = 7
    NATIVE_WINDOWS = 8
    WINDOWS_CE_GUI = 9
    EFI_APPLICATION = 10
    EFI_BOOT_SERVICE_DRIVER = 11
    EFI_RUNTIME_DRIVER = 12
    EFI_ROM = 13
    XBOX = 14
    WINDOWS_BOOT_APPLICATION = 16


class DllCharacteristics(IntFlag):
    """ "DLL Characteristics", as far as they are used here."""

    DYNAMIC_BASE = 0x0040
    FORCE_INTEGRITY = 0x0080
    NX_COMPAT = 0x0100
    WDM_DRIVER = 0x2000
    GUARD_CF = 0x4000


# "Optional Header Data Directories".
DATA_DIRECTORY = Struct("<II")
MAX_DIRECTORIES = 16
"""The directories that are defined. A header that states more has nothing in them."""


class DataDirectory(NamedTuple):
    """`DATA_DIRECTORY`, unpacked: a table that the header names. That of `SECURITY` is at a file offset, not an RVA."""

    rva: int
    size: int


class Directory(IntEnum):
    """The positions of the directories that are read."""

    IMPORT = 1
    RESOURCE = 2
    SECURITY = 4
    DEBUG = 6
    LOAD_CONFIG = 10
    DELAY_IMPORT = 13
    CLR = 14


# "Section Table (Section Headers)".
SECTION = Struct("<8sIIIIIIHHI")
MAX_SECTIONS = 2048
"""Sections that are read. Linkers make up to about 100."""


class SectionHeader(NamedTuple):
    """`SECTION`, unpacked."""

    raw_name: bytes
    """Padded with nulls. Linkers of GNU write `/` and the place of a name that is longer."""
    virtual_size: int
    rva: int
    raw_size: int
    raw_offset: int
    relocations_offset: int
    line_numbers_offset: int
    relocation_count: int
    line_number_count: int
    characteristics: int


class SectionCharacteristics(IntFlag):
    """ "Section Flags", as far as they are used here."""

    INITIALIZED_DATA = 0x00000040
    READ = 0x40000000
    WRITE = 0x80000000


PAGE = 4096
"""Below this section alignment, Windows maps the whole file as it is."""
RAW_ALIGNMENT = 512
"""Windows rounds the file offset of a section down to this."""

# "The .rsrc Section".
RESOURCE_DIRECTORY = Struct("<12xHH")
"""The numbers of entries with names and with numbers, which follow, behind what is skipped."""
RESOURCE_ENTRY = Struct("<II")
"""Number of the entry, or place of its name; place of what it is. The high bit tells which."""
RESOURCE_DATA = Struct("<IIII")
RESOURCE_NAME = Struct("<H")
"""The number of UTF-16 units, which follow."""
HIGH_BIT = 0x80000000
MAX_RESOURCE_ENTRIES = 1 << 16
"""Entries of all resource directories that are read in one walk."""
MAX_RESOURCE_NAME = 1024
"""UTF-16 units of a name that are read."""


class ResourceData(NamedTuple):
    """`RESOURCE_DATA`, unpacked."""

    rva: int
    size: int
    code_page: int
    reserved: int


class ResourceType(IntEnum):
    """The types of resources that are read."""

    VERSION = 16


# "The Attribute Certificate Table (Image Only)".
CERTIFICATE = Struct("<IHH")
"""WIN_CERTIFICATE: length with this header, revision, type; the certificate follows."""
CERTIFICATE_ALIGNMENT = 8
CERTIFICATE_REVISIONS = (0x0100, 0x0200)
MAX_CERTIFICATES = 64


class CertificateHeader(NamedTuple):
    """`CERTIFICATE`, unpacked."""

    length: int
    revision: int
    type: int


class CertificateType(IntEnum):
    """What a certificate holds."""

    X509 = 1
    PKCS_SIGNED_DATA = 2
    TS_STACK_SIGNED = 4


# "The .idata Section" and "Delay-Load Import Tables".
IMPORT = Struct("<IIIII")
MAX_DLLS = 1024
"""Imported DLLs of one image that are read."""
MAX_DLL_NAME = 260


class ImportDescriptor(NamedTuple):
    """`IMPORT`, unpacked: one imported DLL. One of zeros ends the table."""

    lookup_table: int
    timestamp: int
    forwarder_chain: int
    name: int
    address_table: int


DELAY_IMPORT = Struct("<IIIIIIII")
DELAY_USES_RVAS = 1
"""The attribute of a delay-load descriptor whose fields are RVAs. Linkers before 2002 wrote addresses."""


class DelayImportDescriptor(NamedTuple):
    """`DELAY_IMPORT`, unpacked."""

    attributes: int
    name: int
    module_handle: int
    address_table: int
    name_table: int
    bound_table: int
    unload_table: int
    timestamp: int


# "Debug Directory (Image Only)".
DEBUG = Struct("<12xI12x")
"""An entry of the directory: its type, among what is skipped."""
MAX_DEBUG_ENTRIES = 64
DEBUG_REPRO = 16
"""The type of a debug entry that says that the build is reproducible: timestamps are hashes, not times."""

# "The Load Configuration Structure (Image Only)", in the form of PE32+ (IMAGE_LOAD_CONFIG_DIRECTORY64 of `winnt.h`).
LOAD_CONFIG_SIZE = Struct("<I")
HYBRID_METADATA_OFFSET = 200
HYBRID_METADATA = Struct("<Q")
"""CHPEMetadataPointer: where an image that has x64 code and Arm code describes both; 0 in other images."""

# The CLR header: ECMA-335, partition II, sections 25.3.3 "CLI header" and 24.2.1 "Metadata root".
CLR_HEADER = Struct("<IHH16I")


class ClrHeader(NamedTuple):
    """`CLR_HEADER`, unpacked (IMAGE_COR20_HEADER)."""

    size: int
    runtime_major: int
    runtime_minor: int
    metadata_rva: int
    metadata_size: int
    flags: int
    entry_point: int
    resources_rva: int
    resources_size: int
    strong_name_rva: int
    strong_name_size: int
    code_manager_rva: int
    code_manager_size: int
    vtable_fixups_rva: int
    vtable_fixups_size: int
    export_jumps_rva: int
    export_jumps_size: int
    native_header_rva: int
    """Of the native code that was compiled ahead of time (ReadyToRun, NGEN)."""
    native_header_size: int


class ClrFlags(IntFlag):
    """25.3.3.1 "Runtime flags"."""

    IL_ONLY = 0x00001
    REQUIRES_32BIT = 0x00002
    STRONG_NAME_SIGNED = 0x00008
    NATIVE_ENTRY_POINT = 0x00010
    PREFERS_32BIT = 0x20000


METADATA_ROOT = Struct("<4sHHII")
"""Signature, major and minor version, reserved, length of the version; the version follows."""
METADATA_SIGNATURE = b"BSJB"
MAX_METADATA_VERSION = 255


class MetadataRoot(NamedTuple):
    """`METADATA_ROOT`, unpacked."""

    signature: bytes
    major_version: int
    minor_version: int
    reserved: int
    version_length: int


# "VS_VERSIONINFO structure" and its children
# (https://learn.microsoft.com/windows/win32/menurc/vs-versioninfo).
VERSION_BLOCK = Struct("<HHH")
"""Length of the block, length of its value, type; a key, the value and further blocks follow, each aligned."""
VERSION_ALIGNMENT = 4
MAX_VERSION_SIZE = (1 << 16) - 1
"""Bytes of a version resource: its own length has 16 bits."""
MAX_VERSIONS_SIZE = 1 << 19
"""Bytes of all version resources of a file, which has one for each language of its interface."""


FIXED_FILE_INFO = Struct("<IIIIIIIIIIIII")
FIXED_SIGNATURE = 0xFEEF04BD
TRANSLATION = Struct("<HH")
"""Language and code page."""

# What Go's linker puts into the data of a program: `debug/buildinfo` of its standard library.
GO_BUILD_INFO = Struct("<14sBB16x")
GO_MAGIC = b"\xff Go buildinf:"
GO_ALIGNMENT = 16
GO_SEARCHED = 64 << 10
"""Bytes at the start of the data in which it is."""
MAX_GO_VERSION = 255
MAX_GO_MODULES = 1 << 20
"""Bytes of the text that lists the modules."""
GO_SENTINEL = 16
"""Bytes before and after this text."""
MAX_VARINT = 10


class GoBuildInfo(NamedTuple):
    """`GO_BUILD_INFO`, unpacked. Two texts follow, or pointers to strings are in the last 16 bytes."""

    magic: bytes
    pointer_size: int
    flags: int


GO_POINTERS_OFFSET = 16


class GoFlags(IntFlag):
    """The flags of `GO_BUILD_INFO`."""

    BIG_ENDIAN = 1
    INLINE = 2
    """The texts follow, each after its length as a varint: since Go 1.18."""


GO_PAIRS = {4: Struct("<II"), 8: Struct("<QQ")}
"""By the size of a pointer: the pointers to the strings of version and modules; a string, `GoString`."""


class GoPointers(NamedTuple):
    """One of `GO_PAIRS`, unpacked: where the strings are, as addresses in memory."""

    version: int
    modules: int


class GoString(NamedTuple):
    """One of `GO_PAIRS`, unpacked: a string in memory."""

    address: int
    length: int


# The section that `cargo auditable` makes: PARSING.md of cargo-auditable.
RUST_SECTION = b".dep-v0"
MAX_RUST_STORED = 1 << 20
MAX_RUST_SIZE = 4 << 20
"""Bytes of the list of crates, compressed with zlib and as it is."""
