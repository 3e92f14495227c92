"""What is read of PE files: all facts of an image, and a version resource alone."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

from fuzz.target import Target
from tests.formats.pe import craft, craft_go
from tests.formats.pe.craft import FIRST_RVA, Pe, Section
from wclayer.formats.pe.checksum import computed_checksum
from wclayer.formats.pe.errors import PeError
from wclayer.formats.pe.facts import read_facts
from wclayer.formats.pe.go_build import read_go_build
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.imports import delayed_dlls, imported_dlls
from wclayer.formats.pe.resources import walk_resources
from wclayer.formats.pe.rust_audit import read_rust_audit
from wclayer.formats.pe.signature import authenticode_hash
from wclayer.formats.pe.source import BufferSource, FileSource
from wclayer.formats.pe.version import parse_version


def _image(data: bytes) -> None:
    """Whatever is in a file, each part gives an error of the format or an answer, the same one from each source."""
    image = PeImage(BufferSource(data))
    facts = read_facts(image)
    assert read_facts(PeImage(FileSource(io.BytesIO(data)))) == facts
    assert facts.processor
    assert facts.version is None or "\0" not in (facts.version.get("ProductName") or "")
    with contextlib.suppress(PeError):
        for resource in walk_resources(image):
            image.read_some(resource.rva, resource.size)
    for read in (imported_dlls, delayed_dlls, read_go_build, read_rust_audit):
        with contextlib.suppress(PeError):
            read(image)
    assert computed_checksum(image) > len(data)
    authenticode_hash(image)


def _version(data: bytes) -> None:
    """No text is longer than the resource, and all of them together are not, either."""
    info = parse_version(data)
    texts = [text for table in info.tables for pair in table.strings for text in pair]
    assert sum(map(len, texts)) * 2 <= len(data)
    for table in info.tables:
        for name, _ in table.strings:
            assert table.get(name) is not None


def _image_seeds() -> list[bytes]:
    version = craft.version_info(((1, 2, 3, 4), (5, 6, 7, 8)), {"040904b0": [("ProductName", "x")]}, [(1033, 1200)])
    full = Pe(
        subsystem=1,
        sections=[
            Section(FIRST_RVA, craft.resources({"A": {"B": {1: b"c"}}, 16: {1: {1033: version}}}), b".rsrc"),
            Section(FIRST_RVA + 0x1000, craft.imports(["a.dll", "NTDLL.dll"])),
            Section(FIRST_RVA + 0x2000, struct.pack("<IIIIIIII", 1, FIRST_RVA + 0x2040, *[0] * 6).ljust(64) + b"d\0"),
            Section(FIRST_RVA + 0x3000, craft.clr_header(FIRST_RVA + 0x3000)),
            Section(
                FIRST_RVA + 0x4000, struct.pack("<I", 320).ljust(200, b"\0") + struct.pack("<Q", 1).ljust(120, b"\0")
            ),
            Section(FIRST_RVA + 0x5000, struct.pack("<IIHHIIII", 0, 0, 0, 0, 16, 0, 0, 0)),
        ],
        directories={
            craft.RESOURCE: (FIRST_RVA, 0x1000),
            craft.IMPORT: (FIRST_RVA + 0x1000, 60),
            craft.DELAY_IMPORT: (FIRST_RVA + 0x2000, 64),
            craft.CLR: (FIRST_RVA + 0x3000, 72),
            craft.LOAD_CONFIG: (FIRST_RVA + 0x4000, 320),
            craft.DEBUG: (FIRST_RVA + 0x5000, 28),
        },
    )
    certificate = craft.certificate(craft.signed_data())
    place = len(Pe().encode())
    signed = Pe(overlay=certificate, directories={craft.SECURITY: (place, len(certificate))})
    small = Pe(plus=False, section_alignment=0x20, sections=[Section(0x40, b"x")])
    go = [craft_go.program(craft_go.inline()), craft_go.program(craft_go.pointers(size=4), plus=False)]
    rust = Pe(sections=[Section(FIRST_RVA, zlib.compress(b'{"packages": []}'), b".dep-v0")])
    return [pe.encode() for pe in (full, signed, small, *go, rust)]


def _version_seeds() -> list[bytes]:
    tables = {"040904b0": [("ProductName", "x"), ("FileVersion", "1.2")], "040704b0": [("ProductName", "y")]}
    return [
        craft.version_info(((1, 2, 3, 4), (5, 6, 7, 8)), tables, [(1033, 1200), (1031, 1200)]),
        craft.version_info(None, tables, in_bytes=True),
        craft.version_info(None, {}),
    ]


TARGETS = {
    "pe": Target(
        _image,
        _image_seeds,
        words=(
            b"MZ",
            b"PE\0\0",
            b".rsrc",
            b".dep-v0",
            craft_go.MAGIC,
            b"BSJB",
            b"\x0b\x01",
            b"\x0b\x02",
            b"\xff\xff\xff\xff",
            b"\0\0\0\x80",
        ),
        max_size=8 << 10,
    ),
    "pe_version": Target(
        _version,
        _version_seeds,
        words=tuple(
            word.encode("utf-16-le") + b"\0\0"
            for word in ("VS_VERSION_INFO", "StringFileInfo", "VarFileInfo", "Translation")
        ),
        max_size=2 << 10,
    ),
}
