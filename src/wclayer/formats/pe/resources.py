"""Walks the resources of a PE file: a tree of types, names and languages.

The tree has exactly three levels, as Windows looks resources up, so that no reference makes a walk endless. The number
of entries of one walk is bounded, because many entries may name the same directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from wclayer.formats.pe import structs
from wclayer.formats.pe.errors import PeError
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.structs import HIGH_BIT, Directory, ResourceData

_HEAD = 4096
"""Bytes of a tree that are read at once: linkers write the directories before the data."""

ResourceName = int | str
"""A type, name or language: a number, or a text."""


class Resource(NamedTuple):
    """A resource: its type, name and language, and where its data is."""

    type: ResourceName
    name: ResourceName
    language: ResourceName
    rva: int
    size: int
    code_page: int


def walk_resources(image: PeImage, kind: int | None = None) -> Iterator[Resource]:
    """Yields the resources in the order of the file.

    Args:
        image: the file.
        kind: the type of the resources; by default, those of all types.

    Raises:
        PeError: the tree is damaged, or has more entries than are read.
    """
    directory = image.directory(Directory.RESOURCE)
    if directory is None:
        return
    tree = _Tree(image, directory.rva)
    for type_number, names in tree.entries(0):
        if kind is not None and type_number != kind:
            continue
        type_name = tree.name(type_number)
        for name_number, languages in tree.entries(tree.directory(names)):
            name = tree.name(name_number)
            for language, place in tree.entries(tree.directory(languages)):
                data = tree.data(place)
                yield Resource(type_name, name, tree.name(language), data.rva, data.size, data.code_page)


class _Tree:
    """The structures of a resource tree. Places count from the start of the tree."""

    def __init__(self, image: PeImage, rva: int) -> None:
        self._image = image
        self._rva = rva
        self._head = image.read_some(rva, _HEAD)
        self._left = structs.MAX_RESOURCE_ENTRIES

    def _read(self, place: int, length: int) -> bytes:
        end = place + length
        return self._head[place:end] if end <= len(self._head) else self._image.read(self._rva + place, length)

    def entries(self, place: int) -> Iterator[tuple[int, int]]:
        """Returns the entries of a directory: their numbers or names, and the places of what they are."""
        size = structs.RESOURCE_DIRECTORY.size
        named, numbered = structs.RESOURCE_DIRECTORY.unpack(self._read(place, size))
        count = named + numbered
        self._left -= count
        if self._left < 0:
            raise PeError(f"more than {structs.MAX_RESOURCE_ENTRIES} entries of resources")
        data = self._read(place + size, count * structs.RESOURCE_ENTRY.size)
        return structs.RESOURCE_ENTRY.iter_unpack(data)

    def directory(self, place: int) -> int:
        """Returns the place of the directory that an entry names."""
        if not place & HIGH_BIT:
            raise PeError("a resource that is not below a type, a name and a language")
        return place & ~HIGH_BIT

    def data(self, place: int) -> ResourceData:
        """Returns where the data that an entry names is."""
        if place & HIGH_BIT:
            raise PeError("a directory of resources below a type, a name and a language")
        size = structs.RESOURCE_DATA.size
        return ResourceData._make(structs.RESOURCE_DATA.unpack(self._read(place, size)))

    def name(self, number: int) -> ResourceName:
        """Returns the number of an entry, or the text that it names."""
        if not number & HIGH_BIT:
            return number
        place = number & ~HIGH_BIT
        (units,) = structs.RESOURCE_NAME.unpack(self._read(place, structs.RESOURCE_NAME.size))
        if units > structs.MAX_RESOURCE_NAME:
            raise PeError(f"a resource with a name of {units} characters; read are up to {structs.MAX_RESOURCE_NAME}")
        return self._read(place + structs.RESOURCE_NAME.size, 2 * units).decode("utf-16-le", "surrogatepass")
