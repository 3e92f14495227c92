"""Reads of a PE file what its header does not say: an Arm image that also runs x64 code, and a reproducible build."""

from __future__ import annotations

from wclayer.formats.pe import structs
from wclayer.formats.pe.errors import PeError
from wclayer.formats.pe.image import PeImage
from wclayer.formats.pe.structs import Directory, Machine

_HYBRID: dict[int, Machine] = {Machine.AMD64: Machine.ARM64EC, Machine.ARM64: Machine.ARM64X}
"""The machine of an image that has the metadata of hybrid code, by that of its header."""


def true_machine(image: PeImage) -> int:
    """Returns the machine of the header, or `ARM64EC` or `ARM64X` for images that only their metadata tells apart.

    Raises:
        PeError: the load configuration is damaged.
    """
    machine = image.header.machine
    return _HYBRID[machine] if machine in _HYBRID and _has_hybrid_metadata(image) else machine


def _has_hybrid_metadata(image: PeImage) -> bool:
    directory = image.directory(Directory.LOAD_CONFIG)
    if directory is None:
        return False
    end = structs.HYBRID_METADATA_OFFSET + structs.HYBRID_METADATA.size
    data = image.read_some(directory.rva, end)
    if len(data) < end:
        return False
    (size,) = structs.LOAD_CONFIG_SIZE.unpack_from(data)
    (address,) = structs.HYBRID_METADATA.unpack_from(data, structs.HYBRID_METADATA_OFFSET)
    return bool(size >= end and address)


def is_reproducible(image: PeImage) -> bool:
    """Tells whether the timestamps of the file are hashes, as the debug directory of a reproducible build says.

    Raises:
        PeError: the debug directory is damaged.
    """
    directory = image.directory(Directory.DEBUG)
    if directory is None:
        return False
    count = directory.size // structs.DEBUG.size
    if count > structs.MAX_DEBUG_ENTRIES:
        raise PeError(f"a debug directory of {count} entries; read are up to {structs.MAX_DEBUG_ENTRIES}")
    data = image.read(directory.rva, count * structs.DEBUG.size)
    return any(kind == structs.DEBUG_REPRO for (kind,) in structs.DEBUG.iter_unpack(data))
