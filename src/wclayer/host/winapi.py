"""The Windows functions that `host/windows.py` and the hcs engine call, declared once: kernel32, ntdll and advapi32.

Sources: Microsoft's documentation of each function; for ntdll, of the kernel's `Nt`/`Zw` functions and [MS-FSCC] for
the information structures.
"""

from __future__ import annotations

import ctypes
import os
import struct
from ctypes import wintypes

from wclayer._types import StrPath

# Access rights (winnt.h).
FILE_LIST_DIRECTORY = 0x1
FILE_WRITE_DATA = 0x2  # FILE_ADD_FILE for a directory
FILE_TRAVERSE = 0x20
FILE_READ_ATTRIBUTES = 0x80
FILE_WRITE_ATTRIBUTES = 0x100
DELETE = 0x1_0000
WRITE_DAC = 0x4_0000
WRITE_OWNER = 0x8_0000
SYNCHRONIZE = 0x10_0000
ACCESS_SYSTEM_SECURITY = 0x100_0000
GENERIC_WRITE = 0x4000_0000
GENERIC_READ = 0x8000_0000

FILE_SHARE_READ = 1
FILE_SHARE_DELETE = 4
FILE_SHARE_ALL = 7

# CreateFileW.
CREATE_NEW = 1
OPEN_EXISTING = 3
FILE_FLAG_BACKUP_SEMANTICS = 0x200_0000
FILE_FLAG_OPEN_REPARSE_POINT = 0x20_0000

# NtCreateFile: dispositions and options.
FILE_OPEN = 1
FILE_CREATE = 2
FILE_OPEN_IF = 3
FILE_DIRECTORY_FILE = 0x1
FILE_SYNCHRONOUS_IO_NONALERT = 0x20
FILE_NON_DIRECTORY_FILE = 0x40
FILE_OPEN_FOR_BACKUP_INTENT = 0x4000
FILE_OPEN_REPARSE_POINT = 0x20_0000
# Names are compared without case, as in every other Windows function.
OBJ_CASE_INSENSITIVE = 0x40

FILE_ATTRIBUTE_DIRECTORY = 0x10
FILE_ATTRIBUTE_NORMAL = 0x80
FILE_ATTRIBUTE_REPARSE_POINT = 0x400

ERROR_INVALID_NAME = 123
ERROR_HANDLE_EOF = 38
ERROR_SHARING_VIOLATION = 32
ERROR_NOT_ALL_ASSIGNED = 1300

FSCTL_SET_SPARSE = 0x900C4

STATUS_NO_MORE_FILES = 0x8000_0006
STATUS_NO_SUCH_FILE = 0xC000_000F
_STATUS_UNKNOWN_CLASS = (0xC000_0002, 0xC000_0003, 0xC000_000D, 0xC000_00BB)
"""NOT_IMPLEMENTED, INVALID_INFO_CLASS, INVALID_PARAMETER, NOT_SUPPORTED: the errors of a file system that does not
support a class of information."""

# FILE_INFORMATION_CLASS ([MS-FSCC] 2.4).
FILE_DIRECTORY_INFORMATION = 1
FILE_BASIC_INFORMATION = 4
FILE_RENAME_INFORMATION = 10
FILE_LINK_INFORMATION = 11
FILE_DISPOSITION_INFORMATION = 13
FILE_DISPOSITION_INFORMATION_EX = 64
FILE_RENAME_INFORMATION_EX = 65
_NAMED = (FILE_RENAME_INFORMATION, FILE_LINK_INFORMATION, FILE_RENAME_INFORMATION_EX)

DIRECTORY_ENTRY = struct.Struct("<II6qII")
"""FileDirectoryInformation without its name ([MS-FSCC] 2.4.10): the offset of the next entry, index, four times, end of
file, allocation, attributes, bytes of the name."""
LINK_INFORMATION = struct.Struct("<B7xQI" if ctypes.sizeof(ctypes.c_void_p) == 8 else "<B3xII")
"""FileLinkInformation and FileRenameInformation without their name ([MS-FSCC] 2.4.28.2, 2.4.42.2): whether to replace,
directory, bytes of the name."""
RENAME_INFORMATION_EX = struct.Struct("<I4xQI" if ctypes.sizeof(ctypes.c_void_p) == 8 else "<III")
"""FileRenameInformationEx: the same, with flags as the first field."""
RENAME_REPLACE_POSIX = 0x1 | 0x2 | 0x40
"""Replace an existing file, even if it is open (POSIX semantics) or read-only."""
DISPOSITION_DELETE_POSIX = 0x1 | 0x2 | 0x10
"""Delete a file at once, even if it is open (POSIX semantics) or read-only."""


class UnicodeString(ctypes.Structure):
    """UNICODE_STRING."""

    _fields_ = (
        ("Length", wintypes.USHORT),
        ("MaximumLength", wintypes.USHORT),
        ("Buffer", ctypes.c_void_p),
    )


class ObjectAttributes(ctypes.Structure):
    """OBJECT_ATTRIBUTES."""

    _fields_ = (
        ("Length", wintypes.ULONG),
        ("RootDirectory", wintypes.HANDLE),
        ("ObjectName", ctypes.POINTER(UnicodeString)),
        ("Attributes", wintypes.ULONG),
        ("SecurityDescriptor", ctypes.c_void_p),
        ("SecurityQualityOfService", ctypes.c_void_p),
    )


class IoStatusBlock(ctypes.Structure):
    """IO_STATUS_BLOCK."""

    _fields_ = (("Status", ctypes.c_void_p), ("Information", ctypes.c_void_p))


class Overlapped(ctypes.Structure):
    """OVERLAPPED; only the offset is used."""

    _fields_ = (
        ("Internal", ctypes.c_void_p),
        ("InternalHigh", ctypes.c_void_p),
        ("Offset", wintypes.DWORD),
        ("OffsetHigh", wintypes.DWORD),
        ("hEvent", wintypes.HANDLE),
    )


_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_ntdll = ctypes.WinDLL("ntdll")

_DUPLICATE_SAME_ACCESS = 2
_INVALID_HANDLE = ctypes.c_void_p(-1).value

_kernel32.CreateFileW.restype = wintypes.HANDLE
_kernel32.CreateFileW.argtypes = (
    wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD, wintypes.DWORD, wintypes.HANDLE,
)  # fmt: skip
_kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
_kernel32.GetCurrentProcess.restype = wintypes.HANDLE
_kernel32.DuplicateHandle.argtypes = (
    wintypes.HANDLE, wintypes.HANDLE, wintypes.HANDLE, ctypes.POINTER(wintypes.HANDLE), wintypes.DWORD, wintypes.BOOL,
    wintypes.DWORD,
)  # fmt: skip
for _name in ("ReadFile", "WriteFile"):
    getattr(_kernel32, _name).argtypes = (
        wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD, ctypes.POINTER(wintypes.DWORD), ctypes.POINTER(Overlapped),
    )  # fmt: skip
_kernel32.DeviceIoControl.argtypes = (
    wintypes.HANDLE, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD,
    ctypes.POINTER(wintypes.DWORD), ctypes.c_void_p,
)  # fmt: skip
_kernel32.GetDiskFreeSpaceExW.argtypes = (
    wintypes.LPCWSTR, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint64), ctypes.c_void_p,
)  # fmt: skip
_ntdll.NtCreateFile.restype = wintypes.ULONG
_ntdll.NtCreateFile.argtypes = (
    ctypes.POINTER(wintypes.HANDLE), wintypes.DWORD, ctypes.POINTER(ObjectAttributes), ctypes.POINTER(IoStatusBlock),
    ctypes.c_void_p, wintypes.ULONG, wintypes.ULONG, wintypes.ULONG, wintypes.ULONG, ctypes.c_void_p, wintypes.ULONG,
)  # fmt: skip
for _name in ("NtSetInformationFile", "NtQueryInformationFile"):
    getattr(_ntdll, _name).restype = wintypes.ULONG
    getattr(_ntdll, _name).argtypes = (
        wintypes.HANDLE, ctypes.POINTER(IoStatusBlock), ctypes.c_void_p, wintypes.ULONG, wintypes.ULONG,
    )  # fmt: skip
_ntdll.NtQueryDirectoryFile.restype = wintypes.ULONG
_ntdll.NtQueryDirectoryFile.argtypes = (
    wintypes.HANDLE, wintypes.HANDLE, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(IoStatusBlock), ctypes.c_void_p,
    wintypes.ULONG, wintypes.ULONG, wintypes.BOOLEAN, ctypes.c_void_p, wintypes.BOOLEAN,
)  # fmt: skip
_ntdll.RtlNtStatusToDosError.restype = wintypes.ULONG
_ntdll.RtlNtStatusToDosError.argtypes = (wintypes.ULONG,)


def last_error(path: str | None = None) -> OSError:
    """Returns the error of the kernel32 call that has just failed."""
    return error_of(ctypes.get_last_error(), path)


def error_of(code: int, path: str | None = None) -> OSError:
    """Returns the `OSError` (`FileNotFoundError`, …) for a Win32 code, with Windows' own text."""
    return OSError(0, message_of(code), path, code)


def message_of(code: int) -> str:
    """Returns Windows' text for a Win32 code or an HRESULT."""
    return ctypes.FormatError(code - (1 << 32) if code >= 1 << 31 else code).strip() or f"Windows error {code:#x}"


def error_of_status(status: int, path: str | None = None) -> OSError:
    """Returns the `OSError` for an NTSTATUS."""
    return error_of(_ntdll.RtlNtStatusToDosError(status), path)


def create_file(
    path: str,
    access: int,
    share: int = FILE_SHARE_ALL,
    disposition: int = OPEN_EXISTING,
    flags: int = FILE_FLAG_BACKUP_SEMANTICS,
) -> int:
    """Calls `CreateFileW` and returns the handle.

    Raises:
        OSError: the call failed.
    """
    handle = _kernel32.CreateFileW(path, access, share, None, disposition, flags, None)
    if handle == _INVALID_HANDLE:
        raise last_error(path)
    return int(handle)


def close_handle(handle: int) -> None:
    """Calls `CloseHandle`."""
    _kernel32.CloseHandle(handle)


def device_control(handle: int, code: int, data: bytes = b"", output: int = 0) -> bytes:
    """Calls `DeviceIoControl` and returns the answer of the device or the file system, which has `output` bytes.

    Raises:
        OSError: the call failed, or the answer is shorter.
    """
    buffer = ctypes.create_string_buffer(output)
    done = wintypes.DWORD()
    if not _kernel32.DeviceIoControl(
        handle, code, data or None, len(data), buffer if output else None, output, ctypes.byref(done), None
    ):
        raise last_error()
    if done.value < output:
        raise error_of(ERROR_HANDLE_EOF)
    return buffer.raw[:output]


def volume_size(root: str) -> int:
    r"""`GetDiskFreeSpaceExW`: the size in bytes of the volume at `root`, which ends in a `\`.

    Raises:
        OSError: the call failed.
    """
    total = ctypes.c_uint64()
    if not _kernel32.GetDiskFreeSpaceExW(root, None, ctypes.byref(total), None):
        raise last_error(root)
    return total.value


def duplicate_handle(handle: int) -> int:
    """Calls `DuplicateHandle` in this process, with the same rights, and returns the new handle.

    Raises:
        OSError: the call failed.
    """
    process = _kernel32.GetCurrentProcess()
    copy = wintypes.HANDLE()
    if not _kernel32.DuplicateHandle(process, handle, process, ctypes.byref(copy), 0, False, _DUPLICATE_SAME_ACCESS):
        raise last_error()
    assert copy.value is not None
    return copy.value


def open_at(
    directory: int,
    name: str,
    access: int,
    disposition: int = FILE_OPEN,
    options: int = 0,
    *,
    share: int = FILE_SHARE_ALL,
) -> int:
    r"""Opens one name in an open directory (`NtCreateFile`) and returns the handle. A reparse point is not followed.

    Raises:
        OSError: the call failed, or the name has a separator in it, which would lead out of the directory.
    """
    return _open_at(directory, wide_name(name), access, disposition, options, share)


def wide_name(name: str) -> bytes:
    """Returns a name in a directory as UTF-16.

    Raises:
        OSError: the name is too long, or has characters that would lead out of the directory or to a stream.
    """
    encoded = name.encode("utf-16-le", "surrogatepass")
    if not name or name in (".", "..") or any(mark in name for mark in "\\/:\0") or len(encoded) > 0xFFFE:
        raise error_of(ERROR_INVALID_NAME, name)
    return encoded


def reopen(handle: int, access: int) -> int:
    """Opens the file of a handle again (`NtCreateFile`) and returns the new handle, with a position of its own.

    Raises:
        OSError: the call failed.
    """
    return _open_at(handle, b"", access, FILE_OPEN, 0, FILE_SHARE_ALL)


def _open_at(directory: int, name: bytes, access: int, disposition: int, options: int, share: int) -> int:
    text = ctypes.create_string_buffer(name)
    unicode = UnicodeString(len(name), len(name), ctypes.addressof(text))
    attributes = ObjectAttributes(
        ctypes.sizeof(ObjectAttributes), directory, ctypes.pointer(unicode), OBJ_CASE_INSENSITIVE, None, None
    )
    handle = wintypes.HANDLE()
    status = _ntdll.NtCreateFile(
        ctypes.byref(handle), access | SYNCHRONIZE, ctypes.byref(attributes), ctypes.byref(IoStatusBlock()), None,
        FILE_ATTRIBUTE_NORMAL, share, disposition,
        options | FILE_OPEN_FOR_BACKUP_INTENT | FILE_SYNCHRONOUS_IO_NONALERT | FILE_OPEN_REPARSE_POINT, None, 0,
    )  # fmt: skip
    if status:
        raise error_of_status(status, name.decode("utf-16-le", "surrogatepass"))
    assert handle.value is not None
    return handle.value


def set_information(handle: int, kind: int, data: bytes) -> None:
    """Calls `NtSetInformationFile`.

    Raises:
        OSError: the call failed.
    """
    if status := _set_information(handle, kind, data):
        raise error_of_status(status)


def set_information_if_known(handle: int, kind: int, data: bytes) -> bool:
    """Calls `set_information` and returns whether the file system supports that class of information."""
    status = _set_information(handle, kind, data)
    if status in _STATUS_UNKNOWN_CLASS:
        return False
    if status:
        raise error_of_status(status)
    return True


def _set_information(handle: int, kind: int, data: bytes) -> int:
    # Windows refuses a structure that ends in a name if it is shorter than its size including the padding at its end.
    data = data.ljust(24, b"\0") if kind in _NAMED else data
    return int(_ntdll.NtSetInformationFile(handle, ctypes.byref(IoStatusBlock()), data, len(data), kind))


def query_information(handle: int, kind: int, size: int) -> bytes:
    """Calls `NtQueryInformationFile` with a buffer of `size` bytes, and returns the buffer.

    Raises:
        OSError: the call failed.
    """
    buffer = ctypes.create_string_buffer(size)
    status = _ntdll.NtQueryInformationFile(handle, ctypes.byref(IoStatusBlock()), buffer, size, kind)
    if status:
        raise error_of_status(status)
    return buffer.raw


def query_directory(handle: int, buffer: ctypes.Array[ctypes.c_char]) -> int:
    """Calls `NtQueryDirectoryFile` for FileDirectoryInformation, which fills the buffer with more names.

    Returns:
        The number of bytes in the buffer; 0 at the end.

    Raises:
        OSError: the call failed.
    """
    block = IoStatusBlock()
    status = _ntdll.NtQueryDirectoryFile(
        handle, None, None, None, ctypes.byref(block), buffer, len(buffer), FILE_DIRECTORY_INFORMATION, False, None,
        False,
    )  # fmt: skip
    if status in (STATUS_NO_MORE_FILES, STATUS_NO_SUCH_FILE):
        return 0
    if status:
        raise error_of_status(status)
    return block.Information or 0


def read_file(handle: int, buffer: ctypes.Array[ctypes.c_char], offset: int) -> int:
    """Calls `ReadFile` from an offset into a buffer and returns the number of bytes read.

    Raises:
        OSError: the call failed.
    """
    return _transfer(_kernel32.ReadFile, handle, buffer, offset)


def write_file(handle: int, data: bytes, offset: int) -> int:
    """Calls `WriteFile` at an offset and returns the number of bytes written.

    Raises:
        OSError: the call failed.
    """
    return _transfer(_kernel32.WriteFile, handle, data, offset)


def _transfer(call: ctypes._FuncPointer, handle: int, data: ctypes.Array[ctypes.c_char] | bytes, offset: int) -> int:
    done = wintypes.DWORD()
    overlapped = Overlapped(None, None, offset & 0xFFFF_FFFF, offset >> 32, None)
    if not call(handle, data, len(data), ctypes.byref(done), ctypes.byref(overlapped)):
        if ctypes.get_last_error() == ERROR_HANDLE_EOF:
            return 0
        raise last_error()
    return done.value


def absolute(path: StrPath) -> str:
    r"""A path in the form that has no limit of length: `\\?\C:\…`, `\\?\UNC\server\…`."""
    text = os.path.abspath(path)
    if text.startswith(("\\\\?\\", "\\\\.\\")):
        return text
    return "\\\\?\\UNC\\" + text[2:] if text.startswith("\\\\") else "\\\\?\\" + text
