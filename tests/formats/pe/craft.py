"""Makes PE files field by field, without the package's reader: "PE Format" has the layouts."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PE_OFFSET = 0x80
SECTION_ALIGNMENT = 0x1000
FILE_ALIGNMENT = 0x200
FIRST_RVA = SECTION_ALIGNMENT
DIRECTORIES = 16
IMPORT, RESOURCE, SECURITY, DEBUG, LOAD_CONFIG, DELAY_IMPORT, CLR = 1, 2, 4, 6, 10, 13, 14
VERSION_TYPE = 16
LANGUAGE = 1033


@dataclass(frozen=True)
class Section:
    """A section; `virtual_size` and `raw_size` are those of its data by default."""

    rva: int
    data: bytes
    name: bytes = b".x"
    virtual_size: int | None = None
    raw_size: int | None = None
    raw_offset: int | None = None
    characteristics: int = 0x40000040


@dataclass(frozen=True)
class Pe:
    """A PE file. `encode` makes it; the fields say what its headers say."""

    plus: bool = True
    machine: int = 0x8664
    timestamp: int = 0
    characteristics: int = 0x22
    dll_characteristics: int = 0
    subsystem: int = 3
    image_base: int = 0x400000
    section_alignment: int = SECTION_ALIGNMENT
    checksum: int = 0
    sections: Sequence[Section] = ()
    section_count: int | None = None
    directories: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    directory_count: int = DIRECTORIES
    headers_size: int | None = None
    pe_offset: int = PE_OFFSET
    overlay: bytes = b""
    """Bytes after the sections."""

    @property
    def optional_offset(self) -> int:
        return self.pe_offset + 24

    @property
    def checksum_offset(self) -> int:
        return self.optional_offset + 64

    @property
    def directories_offset(self) -> int:
        return self.optional_offset + (112 if self.plus else 96)

    def encode(self) -> bytes:
        table = self.directories_offset + 8 * self.directory_count
        head = -(-(table + 40 * len(self.sections)) // FILE_ALIGNMENT) * FILE_ALIGNMENT
        headers, bodies, place = b"", b"", head
        for each in self.sections:
            size = -(-len(each.data) // FILE_ALIGNMENT) * FILE_ALIGNMENT
            headers += struct.pack(
                "<8sIIIIIIHHI",
                each.name,
                len(each.data) if each.virtual_size is None else each.virtual_size,
                each.rva,
                size if each.raw_size is None else each.raw_size,
                place if each.raw_offset is None else each.raw_offset,
                0, 0, 0, 0, each.characteristics,
            )  # fmt: skip
            bodies += each.data.ljust(size, b"\0")
            place += size
        dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", self.pe_offset)
        made = dos.ljust(self.pe_offset, b"\0") + b"PE\0\0" + self._file_header() + self._optional_header(head)
        made += b"".join(struct.pack("<II", *self.directories.get(at, (0, 0))) for at in range(self.directory_count))
        return (made + headers).ljust(head, b"\0") + bodies + self.overlay

    def _file_header(self) -> bytes:
        count = len(self.sections) if self.section_count is None else self.section_count
        size = self.directories_offset - self.optional_offset + 8 * self.directory_count
        return struct.pack("<HHIIIHH", self.machine, count, self.timestamp, 0, 0, size, self.characteristics)

    def _optional_header(self, head: int) -> bytes:
        end = max((each.rva + len(each.data) for each in self.sections), default=head)
        start = struct.pack("<HBBIIIII", 0x20B if self.plus else 0x10B, 14, 0, 0, 0, 0, 0, 0)
        start += struct.pack("<Q" if self.plus else "<4xI", self.image_base)
        start += struct.pack("<IIHHHHHH", self.section_alignment, FILE_ALIGNMENT, 6, 0, 0, 0, 6, 0)
        headers_size = head if self.headers_size is None else self.headers_size
        start += struct.pack("<IIII", 0, end, headers_size, self.checksum)
        start += struct.pack("<HH", self.subsystem, self.dll_characteristics)
        return (
            start
            + struct.pack("<QQQQ" if self.plus else "<IIII", 0, 0, 0, 0)
            + struct.pack("<II", 0, self.directory_count)
        )


Name = int | str
Tree = Mapping[Name, Mapping[Name, Mapping[Name, bytes]]]
"""Resources by type, name and language."""


def resources(tree: Tree, rva: int = FIRST_RVA) -> bytes:
    """A section of resources that starts at an address: the directories, the names, then the data."""
    made = bytearray()
    fixes: list[tuple[int, str]] = []
    leaves: list[tuple[int, bytes]] = []

    def directory(level: Mapping[Name, object]) -> int:
        place = len(made)
        keys: list[Name] = [*sorted(key for key in level if isinstance(key, str))]
        named = len(keys)
        keys += sorted(key for key in level if isinstance(key, int))
        made.extend(struct.pack("<IIHHHH", 0, 0, 0, 0, named, len(keys) - named))
        entries = len(made)
        made.extend(bytes(8 * len(level)))
        for index, key in enumerate(keys):
            at = entries + 8 * index
            if isinstance(key, str):
                fixes.append((at, key))
            else:
                struct.pack_into("<I", made, at, key)
            below = level[key]
            if isinstance(below, bytes):
                leaves.append((len(made), below))
                struct.pack_into("<I", made, at + 4, len(made))
                made.extend(bytes(16))
            else:
                assert isinstance(below, Mapping)
                struct.pack_into("<I", made, at + 4, 0x80000000 | directory(below))
        return place

    directory(tree)
    for at, text in fixes:
        struct.pack_into("<I", made, at, 0x80000000 | len(made))
        encoded = text.encode("utf-16-le", "surrogatepass")
        made.extend(struct.pack("<H", len(encoded) // 2) + encoded)
    for at, data in leaves:
        made.extend(bytes(-len(made) % 4))
        struct.pack_into("<IIII", made, at, rva + len(made), len(data), 1252, 0)
        made.extend(data)
    return bytes(made)


Fixed = tuple[tuple[int, int, int, int], tuple[int, int, int, int]]
"""The versions of the file and of the product."""


def version_block(key: str, value: bytes = b"", children: Sequence[bytes] = (), *, text: int | None = None) -> bytes:
    """A block of a version resource. `text` is the length that a value that is text states."""
    made = key.encode("utf-16-le", "surrogatepass") + b"\0\0"
    made += bytes(-(6 + len(made)) % 4) + value
    for child in children:
        made += bytes(-(6 + len(made)) % 4) + child
    return struct.pack("<HHH", 6 + len(made), len(value) if text is None else text, text is not None) + made


def string(key: str, value: str, *, in_bytes: bool = False) -> bytes:
    """A text of a version resource. Some compilers state its length in bytes, where units are meant."""
    encoded = value.encode("utf-16-le", "surrogatepass") + b"\0\0"
    return version_block(key, encoded, text=len(encoded) if in_bytes else len(encoded) // 2)


def fixed_info(fixed: Fixed) -> bytes:
    """A VS_FIXEDFILEINFO."""
    numbers = [high << 16 | low for version in fixed for high, low in (version[:2], version[2:])]
    return struct.pack("<IIIIII", 0xFEEF04BD, 0x10000, *numbers) + struct.pack("<IIIIIII", 0x3F, 0, 0x40004, 1, 0, 0, 0)


def version_info(
    fixed: Fixed | None,
    tables: Mapping[str, Sequence[tuple[str, str]]],
    translations: Sequence[tuple[int, int]] = (),
    *,
    in_bytes: bool = False,
) -> bytes:
    """A version resource."""
    made = [
        version_block(key, children=[string(name, text, in_bytes=in_bytes) for name, text in texts])
        for key, texts in tables.items()
    ]
    pairs = b"".join(struct.pack("<HH", *pair) for pair in translations)
    return version_block(
        "VS_VERSION_INFO",
        b"" if fixed is None else fixed_info(fixed),
        [
            *([version_block("StringFileInfo", children=made)] if made else []),
            *([version_block("VarFileInfo", children=[version_block("Translation", pairs)])] if pairs else []),
        ],
    )


def with_resources(tree: Tree) -> Pe:
    """A file with resources."""
    data = resources(tree)
    return Pe(sections=[Section(FIRST_RVA, data, b".rsrc")], directories={RESOURCE: (FIRST_RVA, len(data))})


def with_version(version: bytes) -> Pe:
    """A file with one version resource."""
    return with_resources({VERSION_TYPE: {1: {LANGUAGE: version}}})


def imports(names: Sequence[str], rva: int = FIRST_RVA) -> bytes:
    """A table of imported DLLs, of which nothing is imported, and their names."""
    texts, place = b"", rva + 20 * (len(names) + 1)
    table = b""
    for name in names:
        table += struct.pack("<IIIII", 0, 0, 0, place + len(texts), place)
        texts += name.encode("ascii") + b"\0"
    return table + bytes(20) + texts


def clr_header(rva: int, version: bytes = b"v4.0.30319\0\0", *, flags: int = 1, native: int = 0) -> bytes:
    """A CLR header at an address, and the root of its metadata."""
    header = struct.pack("<IHHIIII", 72, 2, 5, rva + 72, 16 + len(version), flags, 0)
    header += bytes(40) + struct.pack("<II", native, 4 if native else 0)
    return header + struct.pack("<4sHHII", b"BSJB", 1, 1, 0, len(version)) + version


def certificate(contents: bytes, *, kind: int = 2, revision: int = 0x200) -> bytes:
    """A WIN_CERTIFICATE, padded."""
    made = struct.pack("<IHH", 8 + len(contents), revision, kind) + contents
    return made + bytes(-len(made) % 8)


def signed_data(size: int = 64) -> bytes:
    """The start of PKCS #7 signed data, and zeros for the rest."""
    body = bytes.fromhex("06092a864886f70d010702").ljust(size, b"\0")
    return bytes([0x30, 0x82]) + len(body).to_bytes(2, "big") + body
