"""Grows the volume of a scratch to the whole partition after its disk was expanded: virtdisk.dll and two control codes.

Reference: hcsshim, `expandscratchsize.go`. Windows grows the volume itself when it prepares a layer, but not every
scratch is prepared.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import wintypes

from wclayer.engines.hcs.structs import INT64, OpenVirtualDiskParameters, VirtualStorageType
from wclayer.engines.hcs.vmcompute import LOAD_LIBRARY_SEARCH_SYSTEM32
from wclayer.errors import NotSupportedError, from_os_error
from wclayer.host import winapi

_DISK = "sandbox.vhdx"
_CLUSTER, _SECTOR = 4096, 512
_IOCTL_DISK_GET_LENGTH_INFO = 0x0007405C
_FSCTL_EXTEND_VOLUME = 0x000900F0
_ATTACH_BYPASS_DEFAULT_ENCRYPTION_POLICY = 0x20
_PARAMETERS_VERSION = 2
_LIBRARY = "virtdisk.dll"
_OPEN_VIRTUAL_DISK = (
    ctypes.POINTER(VirtualStorageType), wintypes.LPCWSTR, ctypes.c_uint32, ctypes.c_uint32,
    ctypes.POINTER(OpenVirtualDiskParameters), ctypes.POINTER(wintypes.HANDLE),
)  # fmt: skip
_ATTACH_VIRTUAL_DISK = (
    wintypes.HANDLE, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p,
)  # fmt: skip


def _call(disk: str, name: str, arguments: tuple[type, ...], *values: object) -> None:
    """Calls an export of virtdisk.dll, which returns a Win32 code.

    Raises:
        NotSupportedError: this build of Windows does not have the export.
        OSError: the call failed.
    """
    try:
        function = ctypes.WinDLL(_LIBRARY, winmode=LOAD_LIBRARY_SEARCH_SYSTEM32)[name]
    except (OSError, AttributeError):
        detail = f"not supported on this build of Windows: {_LIBRARY} has no export {name}"
        raise NotSupportedError(_LIBRARY, detail) from None
    function.restype = wintypes.DWORD
    function.argtypes = arguments
    if code := function(*values):
        raise winapi.error_of(code, disk)


def expand_volume(layer: str, mount_path: Callable[[], str]) -> None:
    """Grows the volume of the scratch `layer` to its partition.

    Args:
        mount_path: returns the path of the volume, once the disk is attached.

    Raises:
        LayerError: the disk cannot be attached, or the volume cannot be grown.
    """
    disk = os.path.join(layer, _DISK)
    try:
        with _attached(disk):
            name = mount_path().rstrip("\\")
            with _opened(name) as volume:
                length = winapi.device_control(volume, _IOCTL_DISK_GET_LENGTH_INFO, output=INT64.size)
                clusters = INT64.unpack(length)[0] // _CLUSTER
                # NTFS keeps one cluster for itself. For a volume that cannot grow, the call would fail with
                # "invalid parameter".
                if winapi.volume_size(name + "\\") // _CLUSTER + 1 < clusters:
                    sectors = INT64.pack(clusters * (_CLUSTER // _SECTOR))
                    winapi.device_control(volume, _FSCTL_EXTEND_VOLUME, sectors)
    except OSError as error:
        raise from_os_error(disk, error) from error


@contextmanager
def _opened(volume: str) -> Iterator[int]:
    """Yields a handle of a volume, which is open while the body runs."""
    handle = winapi.create_file(volume, winapi.GENERIC_READ | winapi.GENERIC_WRITE, flags=0)
    try:
        yield handle
    finally:
        winapi.close_handle(handle)


@contextmanager
def _attached(disk: str) -> Iterator[None]:
    """Attaches a virtual disk while the body runs."""
    handle = wintypes.HANDLE()
    parameters = OpenVirtualDiskParameters(Version=_PARAMETERS_VERSION)
    kind = VirtualStorageType()
    _call(
        disk, "OpenVirtualDisk", _OPEN_VIRTUAL_DISK,
        ctypes.byref(kind), disk, 0, 0, ctypes.byref(parameters), ctypes.byref(handle),
    )  # fmt: skip
    assert handle.value is not None
    try:
        flags = _ATTACH_BYPASS_DEFAULT_ENCRYPTION_POLICY
        _call(disk, "AttachVirtualDisk", _ATTACH_VIRTUAL_DISK, handle, None, flags, 0, None, None)
        yield
    finally:
        # Closing its last handle detaches the disk.
        winapi.close_handle(handle.value)
