"""Makes programs as Go's linker does, as far as they say what they are made of: `debug/buildinfo` has the layouts."""

from __future__ import annotations

import struct

from tests.formats.pe.craft import FIRST_RVA, Pe, Section

MAGIC = b"\xff Go buildinf:"
DATA = 0xC0000040
"""Data that may be read and written."""
BASE = Pe.image_base
SENTINELS = (bytes.fromhex("3077af0c9274080241e1c107e6d618e6"), bytes.fromhex("f932433186182072008242104116d8f2"))
MODULES = """path\texample.org/app/cmd/app
mod\texample.org/app\tv1.2.3\th1:main=
dep\texample.org/one\tv0.1.0\th1:one=
dep\texample.org/two\tv0.2.0
=>\texample.org/fork\tv0.2.1\th1:fork=
dep\texample.org/local\tv0.3.0
=>\t../local\t(devel)\t
build\tGOOS=windows
"""


def varint(number: int) -> bytes:
    made = b""
    while number >= 0x80:
        made += bytes([number & 0x7F | 0x80])
        number >>= 7
    return made + bytes([number])


def framed(listed: str) -> bytes:
    """A list of modules with the marks around it."""
    return SENTINELS[0] + listed.encode() + SENTINELS[1] if listed else b""


def inline(version: str = "go1.22.1", listed: str = MODULES, *, flags: int = 2) -> bytes:
    """The build information since Go 1.18."""
    texts = (version.encode(), framed(listed))
    return MAGIC + bytes([0, flags]) + bytes(16) + b"".join(varint(len(text)) + text for text in texts)


def pointers(version: str = "go1.13", listed: str = MODULES, *, size: int = 8, place: int = FIRST_RVA) -> bytes:
    """The build information before Go 1.18, and the strings to which it points."""
    word = "<QQ" if size == 8 else "<II"
    texts = (version.encode(), framed(listed))
    headers = BASE + place + 32
    strings = headers + 4 * size
    head = MAGIC + bytes([size, 0]) + struct.pack(word, headers, headers + 2 * size).ljust(16, b"\0")
    first = struct.pack(word, strings, len(texts[0]))
    return head + first + struct.pack(word, strings + len(texts[0]), len(texts[1])) + b"".join(texts)


def program(data: bytes, *, plus: bool = True) -> Pe:
    """A program with that data."""
    return Pe(plus=plus, sections=[Section(FIRST_RVA, data, b".data", characteristics=DATA)])
