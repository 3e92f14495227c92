"""Reads the headers of a PE file, and finds in the file what is at an address of the image.

Addresses become file offsets as Windows' loader maps an image, not as its headers may say otherwise. All that the
package reads of a file goes through `PeImage.read_file`, which compares each range with the file's size.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

from wclayer.formats.pe import structs
from wclayer.formats.pe.errors import NotPeError, PeError
from wclayer.formats.pe.source import Source
from wclayer.formats.pe.structs import (
    DataDirectory,
    Directory,
    FileHeader,
    OptionalHeader,
    SectionHeader,
)

_HEAD = 4096
"""Bytes that are read first: they hold the headers of nearly all files."""
_PIECE = 1 << 20
_FORMS = {structs.PE32_MAGIC: structs.OPTIONAL_PE32, structs.PE32_PLUS_MAGIC: structs.OPTIONAL_PE32_PLUS}


class PeImage:
    """The headers and the sections of a PE file.

    Args:
        source: the bytes of the file.

    Raises:
        NotPeError: the file is no PE file.
        PeError: the headers are damaged, or there are more sections than are read.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.size = source.size
        """Bytes of the file."""
        self._head = source.read(0, min(self.size, _HEAD))
        place = self._find_header()
        self.header = FileHeader._make(structs.FILE_HEADER.unpack(self.read_file(place, structs.FILE_HEADER.size)))
        if not self.header.optional_header_size:
            raise PeError("there is no optional header: an object file, not an image", place)
        self.optional_offset = place + structs.FILE_HEADER.size
        """The file offset of the optional header."""
        self.optional = self._read_optional()
        self.directories_offset = self.optional_offset + _FORMS[self.optional.magic].size
        """The file offset of the data directories."""
        count = min(self.optional.directory_count, structs.MAX_DIRECTORIES)
        directories = self.read_file(self.directories_offset, count * structs.DATA_DIRECTORY.size)
        self._directories = tuple(structs.DATA_DIRECTORY.iter_unpack(directories))
        self.sections = self._read_sections()

    @property
    def is_pe32_plus(self) -> bool:
        """True if the image has addresses of 64 bits."""
        return self.optional.magic == structs.PE32_PLUS_MAGIC

    def _find_header(self) -> int:
        """Returns the file offset of the file header."""
        if self.size < structs.DOS_HEADER.size or not self._head.startswith(structs.DOS_SIGNATURE):
            raise NotPeError("the file does not start with 'MZ' and a header")
        _, place = structs.DOS_HEADER.unpack_from(self._head)
        signature = structs.PE_SIGNATURE
        if place + len(signature) > self.size or self.read_file(place, len(signature)) != signature:
            raise NotPeError(f"no 'PE' at {place:#x}: a program of DOS or of 16-bit Windows, if any")
        return int(place) + len(signature)

    def _read_optional(self) -> OptionalHeader:
        (magic,) = structs.OPTIONAL_MAGIC.unpack(self.read_file(self.optional_offset, structs.OPTIONAL_MAGIC.size))
        form = _FORMS.get(magic)
        if form is None:
            raise PeError(f"an optional header of the form {magic:#x}; known are PE32 and PE32+", self.optional_offset)
        return OptionalHeader._make(form.unpack(self.read_file(self.optional_offset, form.size)))

    def _read_sections(self) -> tuple[SectionHeader, ...]:
        count = self.header.section_count
        if count > structs.MAX_SECTIONS:
            raise PeError(f"{count} sections; read are up to {structs.MAX_SECTIONS}")
        place = self.optional_offset + self.header.optional_header_size
        data = self.read_file(place, count * structs.SECTION.size)
        return tuple(map(SectionHeader._make, structs.SECTION.iter_unpack(data)))

    def has_directory(self, which: Directory) -> bool:
        """Tells whether the header has a place for a data directory."""
        return which < len(self._directories)

    def directory(self, which: Directory) -> DataDirectory | None:
        """Returns a data directory, or None if the image has none of this kind."""
        directories = self._directories
        if which >= len(directories):
            return None
        rva, size = directories[which]
        return DataDirectory(rva, size) if rva and size else None

    # Bytes of the file.

    def read_file(self, offset: int, length: int) -> bytes:
        """Returns `length` bytes from a file offset.

        Raises:
            PeError: they are not all in the file.
        """
        end = offset + length
        if end > self.size:
            raise PeError(f"{length} bytes are expected; the file ends at {self.size:#x}", offset)
        if end <= len(self._head):
            return self._head[offset:end]
        data = self._source.read(offset, length)
        if len(data) != length:
            raise PeError(f"{length} bytes are expected; {len(data)} could be read", offset)
        return data

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Yields the bytes of the file between two file offsets, in pieces of 1 MiB."""
        for offset in range(start, end, _PIECE):
            yield self.read_file(offset, min(_PIECE, end - offset))

    # Bytes of the image.

    @cached_property
    def _ranges(self) -> tuple[list[int], list[tuple[int, int, int]]]:
        """The mapped ranges, sorted: their RVAs, and of each the size, the size that is in the file, its file offset.

        Of sections that overlap, which Windows refuses, the one that starts last counts.
        """
        optional = self.optional
        if optional.section_alignment < structs.PAGE:
            return [0], [(self.size, self.size, 0)]
        headers = min(optional.headers_size, self.size)
        ranges = [(0, (headers, headers, 0))]
        for section in self.sections:
            size = section.virtual_size or section.raw_size
            size += -size % structs.PAGE
            raw_offset = section.raw_offset - section.raw_offset % structs.RAW_ALIGNMENT
            raw_size = min(section.raw_size, size) if section.raw_offset else 0
            ranges.append((section.rva, (size, raw_size, raw_offset)))
        ranges.sort()
        return [rva for rva, _ in ranges], [mapped for _, mapped in ranges]

    def _place(self, rva: int) -> tuple[int, int, int]:
        """Returns where an address is: how many bytes are mapped from it, how many of these are in the file, and the
        file offset."""
        starts, ranges = self._ranges
        index = bisect_right(starts, rva) - 1
        if index >= 0:
            size, raw_size, offset = ranges[index]
            within = rva - starts[index]
            if within < size:
                return size - within, max(raw_size - within, 0), offset + within
        raise PeError(f"the address {rva:#x} is in no section")

    def read(self, rva: int, length: int) -> bytes:
        """Returns `length` bytes from an address. A section is continued with zeros up to its size in memory.

        Raises:
            PeError: they are not all in one section, or not in the file.
        """
        mapped, in_file, offset = self._place(rva)
        if length > mapped:
            raise PeError(f"{length} bytes at the address {rva:#x}, where {mapped} are mapped")
        data = self.read_file(offset, min(length, in_file)) if in_file else b""
        return data if len(data) == length else data + bytes(length - len(data))

    def read_some(self, rva: int, limit: int) -> bytes:
        """Returns up to `limit` bytes from an address: fewer where the section, or the part of it in the file, ends."""
        _, in_file, offset = self._place(rva)
        length = min(limit, in_file, self.size - offset)
        return self.read_file(offset, length) if length > 0 else b""
