"""`LayerDescriptor`: the structure by which a parent layer is named to the Host Compute Service."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import Self
from uuid import UUID

from wclayer._types import StrPath
from wclayer.engines.selection import engine

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
    """WC_LAYER_DESCRIPTOR: a layer's GUID, its flags and the path of its root directory."""

    id: UUID
    path: str
    flags: DescriptorFlags = DescriptorFlags.NONE

    @classmethod
    def for_layer(cls, path: StrPath, *, dirty: bool = False) -> Self:
        """The descriptor of the layer at `path`, with the GUID that the engine gives it."""
        return cls(engine().layer_id(path), os.fspath(path), DescriptorFlags.DIRTY if dirty else DescriptorFlags.NONE)

    def pack(self, address: int = 0, *, pointer_size: int = 8) -> bytes:
        """The structure followed by its path in NUL-terminated UTF-16, as they lie in memory at `address`.

        Args:
            address: where the result will lie; the structure's pointer refers to the path behind it.
            pointer_size: 8 or 4 bytes.

        Raises:
            ValueError: another pointer size, or a path with a NUL in it.
        """
        layout = _layout(pointer_size)
        if "\0" in self.path:
            raise ValueError("a layer's path cannot hold NUL")
        path = self.path.encode("utf-16-le", "surrogatepass") + b"\0\0"
        return layout.pack(self.id.bytes_le, int(self.flags), address + layout.size) + path

    @classmethod
    def unpack(cls, data: bytes | memoryview, address: int = 0, *, pointer_size: int = 8) -> Self:
        """The inverse of `pack`: `data` is the memory at `address`, the structure first, its path somewhere behind.

        Raises:
            ValueError: `data` is too short, or the pointer does not lead to a NUL-terminated path in it.
        """
        layout = _layout(pointer_size)
        data = bytes(data)
        if len(data) < layout.size:
            raise ValueError(f"WC_LAYER_DESCRIPTOR is {layout.size} bytes, not {len(data)}")
        guid, flags, pointer = layout.unpack_from(data)
        at = pointer - address
        if not layout.size <= at < len(data):
            raise ValueError(f"WC_LAYER_DESCRIPTOR: path at {pointer:#x} lies outside of the memory given")
        end = at
        while data[end : end + 2] != b"\0\0":
            end += 2
            if end + 2 > len(data):
                raise ValueError("WC_LAYER_DESCRIPTOR: the path does not end")
        return cls(UUID(bytes_le=guid), data[at:end].decode("utf-16-le", "surrogatepass"), DescriptorFlags(flags))


def _layout(pointer_size: int) -> struct.Struct:
    try:
        return _LAYOUTS[pointer_size]
    except KeyError:
        raise ValueError(f"pointers have 4 or 8 bytes, not {pointer_size}") from None
