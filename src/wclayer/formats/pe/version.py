"""Reads version resources (VS_VERSIONINFO): numbers, and texts in several languages.

Compilers of resources disagree about the lengths in it, and Windows uses few of them. So a block ends at the latest
where the block around it ends, and a text ends at its first null, whatever its own length says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from wclayer.formats.pe import structs
from wclayer.formats.pe.errors import PeError

_ROOT_KEY = "VS_VERSION_INFO"
_UNIT = 2
"""Bytes of a unit of UTF-16."""
_HEADER = structs.VERSION_BLOCK.size // _UNIT
_ALIGNMENT = structs.VERSION_ALIGNMENT // _UNIT
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


class StringTable(NamedTuple):
    """The texts of one language, in the order of the file."""

    key: str
    """Language and code page: eight hexadecimal digits."""
    strings: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """Returns the text of that name in any case, as Windows finds it: the first one."""
        wanted = name.casefold()
        return next((text for key, text in self.strings if key.casefold() == wanted), None)


class VersionInfo(NamedTuple):
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
    return _Reader(data[: structs.MAX_VERSION_SIZE]).version()


class _Reader:
    """Walks the blocks of a resource. Places count in UTF-16 units, as all that is read is aligned to these."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._units = _units(data)

    def version(self) -> VersionInfo:
        """Returns what the resource says."""
        root = next(self._blocks(0, len(self._units)), None)
        if root is None or root[0] != _ROOT_KEY:
            raise PeError(f"a version resource that does not start with {_ROOT_KEY!r}")
        _, value, value_length, end = root
        tables: list[StringTable] = []
        translations: list[tuple[int, int]] = []
        for key, children, _, children_end in self._blocks(value + -(-value_length // _UNIT), end):
            kind = key.casefold()
            if kind == "stringfileinfo":
                tables += self._string_tables(children, children_end)
            elif kind == "varfileinfo":
                translations += self._translations(children, children_end)
        return VersionInfo(self._fixed(value, end, value_length), tuple(tables), tuple(translations))

    def _fixed(self, start: int, end: int, length: int) -> FixedFileInfo | None:
        if min(length, (end - start) * _UNIT) < structs.FIXED_FILE_INFO.size:
            return None
        fixed = FixedFileInfo._make(structs.FIXED_FILE_INFO.unpack_from(self._data, start * _UNIT))
        return fixed if fixed.signature == structs.FIXED_SIGNATURE else None

    def _string_tables(self, start: int, end: int) -> Iterator[StringTable]:
        units = self._units
        for table, strings, _, strings_end in self._blocks(start, end):
            texts = []
            for key, value, length, value_end in self._blocks(strings, strings_end):
                if length:
                    null = units.find("\0", value, value_end)
                    text = units[value : null if null >= 0 else value_end]
                    texts.append((key, text if text.isascii() else _joined(text)))
                else:
                    texts.append((key, ""))
            yield StringTable(table, tuple(texts))

    def _translations(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        for key, value, length, value_end in self._blocks(start, end):
            if key.casefold() == "translation":
                size = min(length, (value_end - value) * _UNIT)
                size -= size % structs.TRANSLATION.size
                yield from structs.TRANSLATION.iter_unpack(self._data[value * _UNIT : value * _UNIT + size])

    def _blocks(self, start: int, end: int) -> Iterator[_Block]:
        """Yields the blocks between two places, each aligned. What is too short for a block ends them."""
        data, units = self._data, self._units
        start += start % _ALIGNMENT
        while end - start >= _HEADER:
            length, value_length, _ = _unpack_header(data, start * _UNIT)
            block_end = min(start + length // _UNIT, end)
            place = start + _HEADER
            if block_end < place:
                return
            null = units.find("\0", place, block_end)
            if null < 0:
                null = block_end
            key = units[place:null]
            value = null + 1
            value += value % _ALIGNMENT
            yield (
                key if key.isascii() else _joined(key),
                value if value < block_end else block_end,
                value_length,
                block_end,
            )
            # The length may be odd, and the block ends at the end of what is around it at the latest.
            start += -(-length // structs.VERSION_ALIGNMENT) * _ALIGNMENT


def _units(data: bytes) -> str:
    """Returns UTF-16 as a string with one character for each unit. A half unit at the end is left out."""
    size = len(data) - len(data) % _UNIT
    text = data[:size].decode("utf-16-le", "surrogatepass")
    if len(text) * _UNIT < size:
        # Two units that are one character are taken apart.
        text = "".join(map(chr, memoryview(data[:size]).cast("H")))
    return text


def _joined(units: str) -> str:
    """Returns the text that is in units: pairs become characters, and units that are no text are kept."""
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
