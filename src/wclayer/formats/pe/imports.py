"""Reads the names of the DLLs that a PE file imports."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.formats.pe import structs
from wclayer.formats.pe.errors import PeError
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.structs import DelayImportDescriptor, Directory, ImportDescriptor


def imported_dlls(image: PeImage) -> list[str]:
    """Returns the names of the DLLs that are loaded with the image, in the order of the file.

    Raises:
        PeError: the table is damaged, or has more DLLs than are read.
    """
    names = []
    for data in _table(image, Directory.IMPORT, structs.IMPORT.size):
        descriptor = ImportDescriptor._make(structs.IMPORT.unpack(data))
        if not descriptor.name or not descriptor.address_table:
            break
        names.append(_dll_name(image, descriptor.name))
    return names


def delayed_dlls(image: PeImage) -> list[str]:
    """Returns the names of the DLLs that are loaded when they are first used, in the order of the file.

    Raises:
        PeError: the table is damaged, or has more DLLs than are read.
    """
    names = []
    for data in _table(image, Directory.DELAY_IMPORT, structs.DELAY_IMPORT.size):
        descriptor = DelayImportDescriptor._make(structs.DELAY_IMPORT.unpack(data))
        if not descriptor.name:
            break
        is_rva = descriptor.attributes & structs.DELAY_USES_RVAS
        names.append(_dll_name(image, descriptor.name - (0 if is_rva else image.optional.image_base)))
    return names


def _table(image: PeImage, which: Directory, size: int) -> Iterator[bytes]:
    """Yields the descriptors of a table. As in Windows, a descriptor of zeros ends it, not the directory's size."""
    directory = image.directory(which)
    if directory is None:
        return
    for index in range(structs.MAX_DLLS):
        yield image.read(directory.rva + index * size, size)
    raise PeError(f"more than {structs.MAX_DLLS} imported DLLs")


def _dll_name(image: PeImage, rva: int) -> str:
    name, null, _ = image.read_some(rva, structs.MAX_DLL_NAME + 1).partition(b"\0")
    if not null:
        raise PeError(f"the name of a DLL at the address {rva:#x} does not end within {structs.MAX_DLL_NAME} bytes")
    return name.decode("ascii", "backslashreplace")
