"""The volume of a scratch, grown to the whole partition after its disk was expanded: virtdisk.dll and two controls.

Reference: hcsshim, `expandscratchsize.go`. Windows grows the volume itself when it prepares a layer; not every scratch
is prepared.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import wintypes

from wclayer.engines.hcs.structs import INT64, OpenVirtualDiskParameters, VirtualStorageType
from wclayer.errors import from_os_error
from wclayer.host import winapi

_DISK = "sandbox.vhdx"
_CLUSTER, _SECTOR = 4096, 512
_IOCTL_DISK_GET_LENGTH_INFO = 0x0007405C
_FSCTL_EXTEND_VOLUME = 0x000900F0
_ATTACH_BYPASS_DEFAULT_ENCRYPTION_POLICY = 0x20
_PARAMETERS_VERSION = 2

_virtdisk = ctypes.WinDLL("virtdisk", winmode=0x800)
_virtdisk.OpenVirtualDisk.restype = wintypes.DWORD
_virtdisk.OpenVirtualDisk.argtypes = (
    ctypes.POINTER(VirtualStorageType), wintypes.LPCWSTR, ctypes.c_uint32, ctypes.c_uint32,
    ctypes.POINTER(OpenVirtualDiskParameters), ctypes.POINTER(wintypes.HANDLE),
)  # fmt: skip
_virtdisk.AttachVirtualDisk.restype = wintypes.DWORD
_virtdisk.AttachVirtualDisk.argtypes = (
    wintypes.HANDLE, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p,
)  # fmt: skip


def expand_volume(operation: str, layer: str, mount_path: Callable[[], str]) -> None:
    """Grows the volume of the scratch `layer` to its partition.

    Args:
        mount_path: asks where the volume is, once the disk is attached.

    Raises:
        LayerError: the disk cannot be attached, or the volume not be grown.
    """
    disk = os.path.join(layer, _DISK)
    try:
        with _attached(disk):
            volume = mount_path().rstrip("\\")
            partition = INT64.unpack(winapi.device_control(volume, _IOCTL_DISK_GET_LENGTH_INFO, output=INT64.size))[0]
            clusters = partition // _CLUSTER
            # NTFS keeps one cluster for itself; a volume that has no room to grow would be an invalid parameter.
            if winapi.volume_size(volume + "\\") // _CLUSTER + 1 < clusters:
                sectors = INT64.pack(clusters * (_CLUSTER // _SECTOR))
                winapi.device_control(volume, _FSCTL_EXTEND_VOLUME, sectors)
    except OSError as error:
        raise from_os_error(operation, disk, error) from error


@contextmanager
def _attached(disk: str) -> Iterator[None]:
    """Attaches a virtual disk for as long as the body runs."""
    handle = wintypes.HANDLE()
    parameters = OpenVirtualDiskParameters(Version=_PARAMETERS_VERSION)
    code = _virtdisk.OpenVirtualDisk(
        ctypes.byref(VirtualStorageType()), disk, 0, 0, ctypes.byref(parameters), ctypes.byref(handle)
    )
    if code:
        raise winapi.error_of(code, disk)
    assert handle.value is not None
    try:
        code = _virtdisk.AttachVirtualDisk(handle, None, _ATTACH_BYPASS_DEFAULT_ENCRYPTION_POLICY, 0, None, None)
        if code:
            raise winapi.error_of(code, disk)
        yield
    finally:
        # The disk is detached with its last handle.
        winapi.close_handle(handle.value)
