"""Reads the CLR header of a PE file, which managed (.NET) programs and libraries have."""

from __future__ import annotations

from typing import NamedTuple

from wclayer.formats.pe import structs
from wclayer.formats.pe.errors import PeError
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.structs import ClrFlags, ClrHeader, Directory, MetadataRoot


class Clr(NamedTuple):
    """What a managed file says of itself."""

    header_version: tuple[int, int]
    """The version of the header: 2.5 from .NET 2.0 on."""
    metadata_version: str
    """The runtime for which it was compiled, such as `v4.0.30319`: all of .NET Core and .NET 5 say that, too."""
    flags: int
    """`ClrFlags`, and others."""
    has_native_image: bool
    """True if native code that was compiled ahead of time is beside the IL code."""

    @property
    def is_il_only(self) -> bool:
        """True if there is no native code that was not made from the IL code."""
        return bool(self.flags & ClrFlags.IL_ONLY)


def read_clr(image: PeImage) -> Clr | None:
    """Returns what the CLR header says, or None for a file that is not managed.

    Raises:
        PeError: the header, or the metadata that it names, is damaged.
    """
    directory = image.directory(Directory.CLR)
    if directory is None:
        return None
    data = image.read(directory.rva, structs.CLR_HEADER.size)
    header = ClrHeader._make(structs.CLR_HEADER.unpack(data))
    if header.size < structs.CLR_HEADER.size:
        raise PeError(f"a CLR header of {header.size} bytes at the address {directory.rva:#x}")
    return Clr(
        (header.runtime_major, header.runtime_minor),
        _metadata_version(image, header.metadata_rva),
        header.flags,
        header.native_header_rva != 0,
    )


def _metadata_version(image: PeImage, rva: int) -> str:
    size = structs.METADATA_ROOT.size
    root = MetadataRoot._make(structs.METADATA_ROOT.unpack(image.read(rva, size)))
    if root.signature != structs.METADATA_SIGNATURE:
        raise PeError(f"metadata of .NET at the address {rva:#x} with the signature {root.signature!r}")
    if root.version_length > structs.MAX_METADATA_VERSION + 1:
        raise PeError(f"metadata of .NET with a version of {root.version_length} bytes")
    return image.read(rva + size, root.version_length).partition(b"\0")[0].decode("utf-8", "replace")
