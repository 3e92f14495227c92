"""The structures that vmcompute.dll, virtdisk.dll and the file calls take, as `ctypes` lays them out.

Sources: hcsshim, `internal/wclayer` (layerutils.go, expandscratchsize.go) for what vmcompute.dll takes, which Microsoft
documents nowhere; Microsoft's documentation of virtdisk.h, winbase.h and winnt.h for the rest.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from ctypes import wintypes
from typing import Self
from uuid import UUID

from wclayer.engines.descriptor import LayerDescriptor
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.filetime import MAX_FILETIME

FILTER_DRIVER = 1
"""GraphDriverType: of DiffDriver and FilterDriver the one that is in use."""


class Guid(ctypes.Structure):
    """GUID."""

    _fields_ = (
        ("Data1", ctypes.c_uint32),
        ("Data2", ctypes.c_uint16),
        ("Data3", ctypes.c_uint16),
        ("Data4", ctypes.c_ubyte * 8),
    )

    def to_uuid(self) -> UUID:
        """The GUID as Python has it."""
        return UUID(bytes_le=bytes(self))


class DriverInfo(ctypes.Structure):
    """DriverInfo: `GraphDriverType Flavour; LPCWSTR HomeDir`."""

    _fields_ = (("Flavour", ctypes.c_int), ("HomeDir", wintypes.LPCWSTR))


class WcLayerDescriptor(ctypes.Structure):
    """WC_LAYER_DESCRIPTOR: `GUID LayerId; ULONG Flags; PCWSTR Path`, its fields at their natural places."""

    _fields_ = (("LayerId", Guid), ("Flags", ctypes.c_uint32), ("Path", wintypes.LPCWSTR))


DescriptorArray = ctypes.Array[WcLayerDescriptor]


def descriptor_array(descriptors: Sequence[LayerDescriptor]) -> tuple[DescriptorArray, int]:
    """The array of structures that a call takes, and their number; it keeps the paths that its structures point to."""
    array = (WcLayerDescriptor * len(descriptors))()
    for place, descriptor in zip(array, descriptors, strict=True):
        place.LayerId = Guid.from_buffer_copy(descriptor.id.bytes_le)
        place.Flags = int(descriptor.flags)
        place.Path = descriptor.path
    return array, len(descriptors)


class FileBasicInfoStruct(ctypes.Structure):
    """FILE_BASIC_INFO: four FILETIMEs (creation, access, write, change) and the attributes, 40 bytes."""

    _fields_ = (
        ("CreationTime", ctypes.c_int64),
        ("LastAccessTime", ctypes.c_int64),
        ("LastWriteTime", ctypes.c_int64),
        ("ChangeTime", ctypes.c_int64),
        ("FileAttributes", ctypes.c_uint32),
    )

    def to_info(self) -> FileBasicInfo:
        """Times and attributes as the package has them."""
        return FileBasicInfo.unpack(bytes(self))

    @classmethod
    def from_info(cls, info: FileBasicInfo) -> Self:
        """The inverse; a time that Windows does not take becomes a zero, which leaves that one as it is."""
        times = (info.creation_time, info.last_access_time, info.last_write_time, info.change_time)
        return cls(*(time if time <= MAX_FILETIME else 0 for time in times), info.attributes)


class FileStandardInfo(ctypes.Structure):
    """FILE_STANDARD_INFO."""

    _fields_ = (
        ("AllocationSize", ctypes.c_int64),
        ("EndOfFile", ctypes.c_int64),
        ("NumberOfLinks", ctypes.c_uint32),
        ("DeletePending", ctypes.c_ubyte),
        ("Directory", ctypes.c_ubyte),
    )


class FileIdInfo(ctypes.Structure):
    """FILE_ID_INFO: the volume's serial number and the file's 128-bit id."""

    _fields_ = (("VolumeSerialNumber", ctypes.c_uint64), ("FileId", ctypes.c_ubyte * 16))


class VirtualStorageType(ctypes.Structure):
    """VIRTUAL_STORAGE_TYPE; all zeros let Windows find out."""

    _fields_ = (("DeviceId", ctypes.c_uint32), ("VendorId", Guid))


class OpenVirtualDiskParameters(ctypes.Structure):
    """OPEN_VIRTUAL_DISK_PARAMETERS of version 2."""

    _fields_ = (
        ("Version", ctypes.c_uint32),
        ("GetInfoOnly", wintypes.BOOL),
        ("ReadOnly", wintypes.BOOL),
        ("ResiliencyGuid", Guid),
    )


INT64 = struct.Struct("<q")
"""What the two controls of a volume give and take: a length in bytes, a number of sectors."""
