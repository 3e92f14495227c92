"""The structures that vmcompute.dll, virtdisk.dll and the file functions take, as `ctypes` structures.

Sources: hcsshim, `internal/wclayer` (layerutils.go, expandscratchsize.go) for vmcompute.dll, whose structures Microsoft
does not document; Microsoft's documentation of virtdisk.h, winbase.h and winnt.h for the rest.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from ctypes import wintypes
from typing import Self
from uuid import UUID

from wclayer.engines.descriptor import LayerDescriptor, pack_descriptors
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.filetime import MAX_FILETIME

FILTER_DRIVER = 1
"""GraphDriverType: the FilterDriver, which is the one in use (the other is DiffDriver)."""


class Guid(ctypes.Structure):
    """GUID."""

    _fields_ = (
        ("Data1", ctypes.c_uint32),
        ("Data2", ctypes.c_uint16),
        ("Data3", ctypes.c_uint16),
        ("Data4", ctypes.c_ubyte * 8),
    )

    def to_uuid(self) -> UUID:
        """Returns the GUID as a Python `UUID`."""
        return UUID(bytes_le=bytes(self))


class DriverInfo(ctypes.Structure):
    """DriverInfo: `GraphDriverType Flavour; LPCWSTR HomeDir`."""

    _fields_ = (("Flavour", ctypes.c_int), ("HomeDir", wintypes.LPCWSTR))


DescriptorArray = ctypes.Array[ctypes.c_uint64]
"""Memory with the structures WC_LAYER_DESCRIPTOR of a call and their paths, aligned as they need it."""


def descriptor_array(descriptors: Sequence[LayerDescriptor]) -> tuple[DescriptorArray, int]:
    """Returns the array of structures for a call, and their number. The array also contains their paths."""
    pointer_size = ctypes.sizeof(ctypes.c_void_p)
    size = len(pack_descriptors(descriptors, 0, pointer_size=pointer_size))
    array = (ctypes.c_uint64 * -(-size // 8))()
    data = pack_descriptors(descriptors, ctypes.addressof(array), pointer_size=pointer_size)
    ctypes.memmove(array, data, len(data))
    return array, len(descriptors)


class FileBasicInfoBuffer(ctypes.Structure):
    """Memory for a FILE_BASIC_INFO, in the layout of `FileBasicInfo`."""

    _fields_ = (("data", ctypes.c_uint64 * (FileBasicInfo.SIZE // 8)),)

    def to_info(self) -> FileBasicInfo:
        """Returns the times and attributes as a `FileBasicInfo`."""
        return FileBasicInfo.unpack(bytes(self))

    @classmethod
    def from_info(cls, info: FileBasicInfo) -> Self:
        """Returns the buffer for a `FileBasicInfo`. A time that Windows rejects becomes zero, which changes nothing."""
        times = (info.creation_time, info.last_access_time, info.last_write_time, info.change_time)
        return cls.from_buffer_copy(
            FileBasicInfo(info.attributes, *(time if time <= MAX_FILETIME else 0 for time in times)).pack()
        )


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
    """VIRTUAL_STORAGE_TYPE. With all fields zero, Windows detects the type."""

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
"""The output and the input of the two control codes of a volume: a length in bytes, a number of sectors."""
