"""Reads what Go's linker says in a program: the version of Go, and the modules that the program consists of.

Source: `debug/buildinfo` and `runtime/debug` of Go's standard library.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from wclayer.formats.pe import structs
from wclayer.formats.pe.errors import PeError
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.structs import GoBuildInfo, GoFlags, GoPointers, GoString, SectionCharacteristics

_DATA = SectionCharacteristics.INITIALIZED_DATA | SectionCharacteristics.READ | SectionCharacteristics.WRITE


@dataclass(frozen=True, slots=True)
class GoModule:
    """A module: its path, its version, its hash, and by which module it was replaced, if it was."""

    path: str
    version: str
    sum: str
    replacement: GoModule | None = None


@dataclass(frozen=True, slots=True)
class GoBuild:
    """What a program says of its build."""

    go_version: str
    """The version of Go, as `go version` writes it: `go1.22.1`."""
    package: str
    """The path of the main package; "" in programs that were built without modules."""
    main: GoModule | None
    """The module of the main package."""
    modules: tuple[GoModule, ...]
    """The other modules."""


def read_go_build(image: PeImage) -> GoBuild | None:
    """Returns what Go's linker says of a build, or None for a program that it did not make.

    Raises:
        PeError: what it says is damaged, or larger than what is read.
    """
    start = _data_start(image)
    if start is None:
        return None
    data = image.read_some(start, structs.GO_SEARCHED)
    place = data.find(structs.GO_MAGIC)
    while place > 0 and place % structs.GO_ALIGNMENT:
        place = data.find(structs.GO_MAGIC, place + 1)
    if place < 0:
        return None
    size = structs.GO_BUILD_INFO.size
    head = image.read(start + place, size)
    info = GoBuildInfo._make(structs.GO_BUILD_INFO.unpack(head))
    if info.flags & GoFlags.INLINE:
        version, following = _inline(image, start + place + size, structs.MAX_GO_VERSION)
        modules, _ = _inline(image, following, structs.MAX_GO_MODULES)
    else:
        pair = structs.GO_PAIRS.get(info.pointer_size)
        if pair is None or info.flags & GoFlags.BIG_ENDIAN:
            raise PeError(f"build information of Go with pointers of {info.pointer_size} bytes, flags {info.flags:#x}")
        pointers = GoPointers._make(pair.unpack_from(head, structs.GO_POINTERS_OFFSET))
        version = _string(image, pair.size, pointers.version, structs.MAX_GO_VERSION)
        modules = _string(image, pair.size, pointers.modules, structs.MAX_GO_MODULES)
    return _build(_decoded(version), _decoded(_without_sentinels(modules)))


def _data_start(image: PeImage) -> int | None:
    """Returns the address of the first section of data that a program may change."""
    for section in image.sections:
        if section.rva and section.raw_size and section.characteristics & _DATA == _DATA:
            return section.rva
    return None


def _inline(image: PeImage, rva: int, limit: int) -> tuple[bytes, int]:
    """Returns a text after its length, and the address after it."""
    length = 0
    for count, byte in enumerate(image.read_some(rva, structs.MAX_VARINT)):
        length |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return _bounded(image, rva + count + 1, length, limit), rva + count + 1 + length
    raise PeError(f"build information of Go: no length of a text at the address {rva:#x}")


def _string(image: PeImage, size: int, address: int, limit: int) -> bytes:
    """Returns a string of the program; an address of 0 is that of an empty one."""
    if not address:
        return b""
    pair = structs.GO_PAIRS[size // 2]
    base = image.optional.image_base
    string = GoString._make(pair.unpack(image.read(address - base, pair.size)))
    return _bounded(image, string.address - base, string.length, limit) if string.length else b""


def _bounded(image: PeImage, rva: int, length: int, limit: int) -> bytes:
    if length > limit:
        raise PeError(f"build information of Go with a text of {length} bytes; read are up to {limit}")
    return image.read(rva, length)


def _without_sentinels(modules: bytes) -> bytes:
    """Returns the list of modules without the marks around it; b"" if they are missing, as in a program without one."""
    around = structs.GO_SENTINEL
    if len(modules) > 2 * around and modules[-around - 1 : -around] == b"\n":
        return modules[around:-around]
    return b""


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _build(version: str, listed: str) -> GoBuild:
    package = ""
    main: GoModule | None = None
    modules: list[GoModule] = []
    of_main = False
    for word, fields in _lines(listed):
        if word == "path":
            package = fields[0]
        elif word == "mod":
            main, of_main = GoModule(*fields), True
        elif word == "dep":
            modules.append(GoModule(*fields))
            of_main = False
        elif word == "=>":
            # It replaces the module of the line before.
            if of_main and main is not None:
                main = replace(main, replacement=GoModule(*fields))
            elif modules:
                modules[-1] = replace(modules[-1], replacement=GoModule(*fields))
    return GoBuild(version, package, main, tuple(modules))


def _lines(listed: str) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yields the first word of each line, and three further ones, empty if they are missing."""
    for line in listed.split("\n"):
        word, first, second, third = (*line.split("\t", 4), "", "", "", "")[:4]
        yield word, (first, second, third)
