"""`LayerDescriptor`: the structure that names a parent layer to the Host Compute Service."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Self
from uuid import UUID

# WC_LAYER_DESCRIPTOR: GUID LayerId; union { ULONG Reserved:31, Dirty:1; ULONG Value } Flags; PCWSTR Path, aligned as a
# pointer (hcsshim, internal/wclayer/layerutils.go).
_LAYOUTS = {8: struct.Struct("<16sI4xQ"), 4: struct.Struct("<16sII")}


class DescriptorFlags(IntFlag):
    """The flags of a layer descriptor."""

    NONE = 0
    DIRTY = 0x8000_0000
    """Created from a scratch as the result of a snapshot: the highest bit, after 31 reserved ones."""


@dataclass(frozen=True, slots=True)
class LayerDescriptor:
    """WC_LAYER_DESCRIPTOR: a layer's GUID (`layer_id`), its flags and the path of its root directory."""

    id: UUID
    path: str
    flags: DescriptorFlags = DescriptorFlags.NONE

    def pack(self, address: int = 0, *, pointer_size: int = 8) -> bytes:
        """Returns the structure followed by its path in NUL-terminated UTF-16, as they lie in memory at `address`.

        Args:
            address: the address of the result. The structure's pointer refers to the path after it.
            pointer_size: 8 or 4 bytes.

        Raises:
            ValueError: the pointer size has another value, or the path contains a NUL.
        """
        return pack_descriptors([self], address, pointer_size=pointer_size)

    @classmethod
    def unpack(cls, data: bytes | memoryview, address: int = 0, *, pointer_size: int = 8) -> Self:
        """Returns the descriptor in `data` (the inverse of `pack`).

        Args:
            data: the memory at `address`: the structure, and anywhere after it its path.
            address: the address of `data`.
            pointer_size: 8 or 4 bytes.

        Raises:
            ValueError: `data` is too short, or the pointer does not lead to a NUL-terminated path in it.
        """
        layout = _layout(pointer_size)
        data = bytes(data)
        if len(data) < layout.size:
            raise ValueError(f"WC_LAYER_DESCRIPTOR is {layout.size} bytes, not {len(data)}")
        guid, flags, pointer = layout.unpack_from(data)
        start = pointer - address
        if not layout.size <= start < len(data):
            raise ValueError(f"WC_LAYER_DESCRIPTOR: the path at {pointer:#x} lies outside of the given memory")
        end = start
        while data[end : end + 2] != b"\0\0":
            end += 2
            if end + 2 > len(data):
                raise ValueError("WC_LAYER_DESCRIPTOR: the path does not end")
        return cls(UUID(bytes_le=guid), data[start:end].decode("utf-16-le", "surrogatepass"), DescriptorFlags(flags))


def pack_descriptors(descriptors: Sequence[LayerDescriptor], address: int, *, pointer_size: int = 8) -> bytes:
    """Returns an array of structures followed by their paths, as they lie in memory at `address`.

    Raises:
        ValueError: see `LayerDescriptor.pack`.
    """
    layout = _layout(pointer_size)
    pointer = address + layout.size * len(descriptors)
    structures, paths = [], []
    for descriptor in descriptors:
        if "\0" in descriptor.path:
            raise ValueError("a layer's path cannot hold NUL")
        path = descriptor.path.encode("utf-16-le", "surrogatepass") + b"\0\0"
        structures.append(layout.pack(descriptor.id.bytes_le, int(descriptor.flags), pointer))
        paths.append(path)
        pointer += len(path)
    return b"".join(structures + paths)


def _layout(pointer_size: int) -> struct.Struct:
    try:
        return _LAYOUTS[pointer_size]
    except KeyError:
        raise ValueError(f"pointers have 4 or 8 bytes, not {pointer_size}") from None
