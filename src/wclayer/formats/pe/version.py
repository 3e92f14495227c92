"""Reads version resources (VS_VERSIONINFO): numbers, and texts in several languages.

Compilers of resources disagree about the lengths in it, and Windows uses few of them. So a block ends at the latest
where the block around it ends, and a text ends at its first null, whatever its own length says.
"""

from __future__ import annotations

from codecs import utf_16_le_decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from wclayer.formats.pe import structs
from wclayer.formats.pe.errors import PeError

_ROOT_KEY = "VS_VERSION_INFO"
_HEADER = structs.VERSION_BLOCK.size
_ALIGNMENT = structs.VERSION_ALIGNMENT
_UNIT = 2
_unpack_header = structs.VERSION_BLOCK.unpack_from

Version = tuple[int, int, int, int]


class FixedFileInfo(NamedTuple):
    """VS_FIXEDFILEINFO."""

    signature: int
    struct_version: int
    file_version_high: int
    file_version_low: int
    product_version_high: int
    product_version_low: int
    flags_mask: int
    flags: int
    system: int
    file_type: int
    file_subtype: int
    date_high: int
    date_low: int

    @property
    def file_version(self) -> Version:
        """The version of the file."""
        return _version(self.file_version_high, self.file_version_low)

    @property
    def product_version(self) -> Version:
        """The version of the product to which the file belongs."""
        return _version(self.product_version_high, self.product_version_low)


def _version(high: int, low: int) -> Version:
    return high >> 16, high & 0xFFFF, low >> 16, low & 0xFFFF


@dataclass(frozen=True, slots=True)
class StringTable:
    """The texts of one language, in the order of the file."""

    key: str
    """Language and code page: eight hexadecimal digits."""
    strings: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """Returns the text of that name in any case, as Windows finds it: the first one."""
        wanted = name.casefold()
        return next((text for key, text in self.strings if key.casefold() == wanted), None)


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """A version resource."""

    fixed: FixedFileInfo | None
    tables: tuple[StringTable, ...] = ()
    translations: tuple[tuple[int, int], ...] = ()
    """The pairs of language and code page for which the file says that it has texts."""

    def get(self, name: str) -> str | None:
        """Returns the text of that name from the first table that has it."""
        return next((text for table in self.tables if (text := table.get(name)) is not None), None)


_Block = tuple[str, int, int, int]
"""A block of a version resource: its key, where its value starts, the length of the value, where the block ends. The
length is in bytes or in UTF-16 units, as the block's type says; not all compilers follow it."""


def parse_version(data: bytes) -> VersionInfo:
    """Returns what a version resource says.

    Args:
        data: the resource; more may follow it.

    Raises:
        PeError: it is no version resource.
    """
    root = next(_blocks(data, 0, min(len(data), structs.MAX_VERSION_SIZE)), None)
    if root is None or root[0] != _ROOT_KEY:
        raise PeError(f"a version resource that does not start with {_ROOT_KEY!r}")
    _, value, value_length, end = root
    tables: list[StringTable] = []
    translations: list[tuple[int, int]] = []
    for key, children, _, children_end in _blocks(data, value + value_length, end):
        kind = key.casefold()
        if kind == "stringfileinfo":
            tables += _string_tables(data, children, children_end)
        elif kind == "varfileinfo":
            translations += _translations(data, children, children_end)
    return VersionInfo(_fixed(data, value, min(value_length, end - value)), tuple(tables), tuple(translations))


def _fixed(data: bytes, start: int, length: int) -> FixedFileInfo | None:
    if length < structs.FIXED_FILE_INFO.size:
        return None
    fixed = FixedFileInfo._make(structs.FIXED_FILE_INFO.unpack_from(data, start))
    return fixed if fixed.signature == structs.FIXED_SIGNATURE else None


def _string_tables(data: bytes, start: int, end: int) -> Iterator[StringTable]:
    for table, strings, _, strings_end in _blocks(data, start, end):
        texts = [
            (key, _text(data, value, _null(data, value, value_end)) if length else "")
            for key, value, length, value_end in _blocks(data, strings, strings_end)
        ]
        yield StringTable(table, tuple(texts))


def _translations(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    for key, value, length, value_end in _blocks(data, start, end):
        if key.casefold() == "translation":
            size = min(length, value_end - value)
            yield from structs.TRANSLATION.iter_unpack(data[value : value + size - size % structs.TRANSLATION.size])


def _blocks(data: bytes, start: int, end: int) -> Iterator[_Block]:
    """Yields the blocks between two places of a resource, each aligned. What is too short for a block ends them."""
    start += -start % _ALIGNMENT
    while end - start >= _HEADER:
        length, value_length, _ = _unpack_header(data, start)
        if length < _HEADER:
            return
        block_end = min(start + length, end)
        null = _null(data, start + _HEADER, block_end)
        value = null + _UNIT
        value = min(value + -value % _ALIGNMENT, block_end)
        yield _text(data, start + _HEADER, null), value, value_length, block_end
        start = block_end + -block_end % _ALIGNMENT


def _null(data: bytes, start: int, end: int) -> int:
    """Returns the place of the first null unit, or the end if there is none."""
    place = data.find(b"\0\0", start, end)
    while place >= 0 and (place - start) & 1:
        place = data.find(b"\0\0", place + 1, end)
    return end if place < 0 else place


def _text(data: bytes, start: int, end: int) -> str:
    """Returns a text in UTF-16. Units that are no text are kept, a half unit is not."""
    return utf_16_le_decode(data[start:end], "surrogatepass")[0]
