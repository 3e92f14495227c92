"""System calls on Windows: directories are handles, and every name is looked up in a directory (`NtCreateFile`).

All handles share reading, writing and deletion. Names are removed and replaced with POSIX semantics if the file system
supports them, so that a file in use can be removed, as on the other hosts.

A `Lock` is a handle that does not share writing. An exclusive lock has the right to write, so it excludes every other
lock. Shared locks have only the right to read, so a user who may not write can take one. Handles for reading or listing
do not conflict with a lock, and the lock is released when the process ends.
"""

from __future__ import annotations

import ctypes
import errno
import msvcrt
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress

from wclayer._types import StrPath
from wclayer.host import winapi
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.filetime import MAX_FILETIME, from_unix_ns
from wclayer.win32.names import MAX_COMPONENT_UNITS, unusable_reason, utf16_length

Times = tuple[int, int, int, int]
LONGEST_NAME = MAX_COMPONENT_UNITS
"""In characters."""
_DIRECTORY_ACCESS = winapi.FILE_LIST_DIRECTORY | winapi.FILE_TRAVERSE | winapi.FILE_READ_ATTRIBUTES | winapi.SYNCHRONIZE
_CANNOT_LINK = (1, 5, 17, 50, 1142)
"""INVALID_FUNCTION, ACCESS_DENIED, NOT_SAME_DEVICE, NOT_SUPPORTED, TOO_MANY_LINKS."""
_RENAME_ATTEMPTS = 20
_RENAME_PAUSE = 0.05


def impossible_reason(name: bytes, *, room: int = 0) -> str | None:
    """Returns why a file of the host cannot have this name, with `room` more bytes behind it; None if it can."""
    units = utf16_length(os.fsdecode(name))
    if units + room > MAX_COMPONENT_UNITS:
        return f"the host has no room for a name of {units} characters"
    return None


def is_awkward(name: bytes) -> bool:
    """Returns whether a possible name is one that programs cannot open: `CON`, `x.`, unpaired surrogates, …"""
    text = os.fsdecode(name)
    return unusable_reason(text) is not None or any("\ud800" <= character <= "\udfff" for character in text)


def cannot_link(error: OSError) -> bool:
    """Returns whether the error says that the host cannot make a hard link here."""
    return getattr(error, "winerror", None) in _CANNOT_LINK


def has_no_reader(error: OSError) -> bool:
    """Returns whether the error of a write to standard output says that it has no reader any more."""
    if isinstance(error, BrokenPipeError):
        return True
    # The C runtime has no errno for ERROR_NO_DATA: it reports EINVAL, with neither a path nor Windows' code.
    if type(error) is not OSError or error.errno != errno.EINVAL or error.filename is not None or error.winerror:
        return False
    with suppress(OSError):
        return stat.S_ISFIFO(os.fstat(1).st_mode)
    return False


def open_directory(path: StrPath) -> int:
    """Opens a directory by its path and returns its handle."""
    handle = winapi.create_file(winapi.absolute(path), _DIRECTORY_ACCESS)
    return _checked_directory(handle, os.fspath(path))


def open_directory_at(directory: int, name: bytes | str) -> int:
    """Opens a directory in a directory and returns its handle; a link is refused."""
    text = os.fsdecode(name)
    handle = winapi.open_at(directory, text, _DIRECTORY_ACCESS, options=winapi.FILE_DIRECTORY_FILE)
    return _checked_directory(handle, text)


def _checked_directory(handle: int, name: str) -> int:
    try:
        attributes = _basic(handle).attributes
        if attributes & winapi.FILE_ATTRIBUTE_REPARSE_POINT:
            raise OSError(errno.ELOOP, "a reparse point, not a directory", name)
        if not attributes & winapi.FILE_ATTRIBUTE_DIRECTORY:
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", name)
    except BaseException:
        winapi.close_handle(handle)
        raise
    return handle


def close_directory(directory: int) -> None:
    """Closes a directory."""
    winapi.close_handle(directory)


def close_read(fd: int) -> None:
    """Closes a file that was not written to through this descriptor.

    Errors are ignored: the descriptor is free even if the host reports one, and no contents can be lost.
    """
    try:
        os.close(fd)
    except OSError as error:
        if error.errno == errno.EBADF:
            raise


def list_directory(directory: int) -> list[tuple[str, bool]]:
    """Returns the names in a directory, each with True if it is a directory (not a link to one)."""
    found = []
    buffer = ctypes.create_string_buffer(64 << 10)
    # A handle has one position (and under Wine, one cached listing), so each listing has a handle of its own.
    handle = winapi.reopen(directory, _DIRECTORY_ACCESS)
    try:
        while size := winapi.query_directory(handle, buffer):
            data = buffer.raw[:size]
            at = 0
            while True:
                following, _, *_, attributes, length = winapi.DIRECTORY_ENTRY.unpack_from(data, at)
                start = at + winapi.DIRECTORY_ENTRY.size
                name = data[start : start + length].decode("utf-16-le", "surrogatepass")
                if name not in (".", ".."):
                    kind = attributes & (winapi.FILE_ATTRIBUTE_DIRECTORY | winapi.FILE_ATTRIBUTE_REPARSE_POINT)
                    found.append((name, kind == winapi.FILE_ATTRIBUTE_DIRECTORY))
                if not following:
                    break
                at += following
    finally:
        winapi.close_handle(handle)
    return found


def make_directory_at(directory: int, name: bytes | str) -> None:
    handle = winapi.open_at(
        directory, os.fsdecode(name), winapi.FILE_READ_ATTRIBUTES, winapi.FILE_CREATE, winapi.FILE_DIRECTORY_FILE
    )
    winapi.close_handle(handle)


def create_file_at(directory: int, name: bytes | str) -> int:
    """Makes a file and returns its descriptor, which is open for reading and writing."""
    access = winapi.GENERIC_READ | winapi.GENERIC_WRITE
    options = winapi.FILE_NON_DIRECTORY_FILE
    return _descriptor(winapi.open_at(directory, os.fsdecode(name), access, winapi.FILE_CREATE, options), os.O_RDWR)


def open_file_at(directory: int, name: bytes | str, *, writable: bool = False) -> int:
    """Opens the file with that name for reading, or also for writing, and returns its descriptor. A link is refused."""
    text = os.fsdecode(name)
    access = winapi.GENERIC_READ | (winapi.GENERIC_WRITE if writable else 0)
    handle = winapi.open_at(directory, text, access)
    if _basic(handle).attributes & winapi.FILE_ATTRIBUTE_REPARSE_POINT:
        winapi.close_handle(handle)
        raise OSError(errno.ELOOP, "a reparse point, not a file", text)
    return _descriptor(handle, os.O_RDWR if writable else os.O_RDONLY)


def open_locked_file_at(directory: int, name: bytes | str) -> int:
    """Opens a file on which no other process can take a lock then, and returns its descriptor (reading and writing).

    The file is made if it does not exist. A link is refused.

    Raises:
        BlockingIOError: another process holds a lock on it.
    """
    text = os.fsdecode(name)
    access = winapi.GENERIC_READ | winapi.GENERIC_WRITE
    share = winapi.FILE_SHARE_READ | winapi.FILE_SHARE_DELETE
    options = winapi.FILE_NON_DIRECTORY_FILE
    try:
        handle = winapi.open_at(directory, text, access, winapi.FILE_OPEN_IF, options, share=share)
    except OSError as error:
        if error.winerror == winapi.ERROR_SHARING_VIOLATION:
            raise BlockingIOError(errno.EAGAIN, "locked by another process", text) from None
        raise
    if _basic(handle).attributes & winapi.FILE_ATTRIBUTE_REPARSE_POINT:
        winapi.close_handle(handle)
        raise OSError(errno.ELOOP, "a reparse point, not a file", text)
    return _descriptor(handle, os.O_RDWR)


def open_without_waiting(path: StrPath, *, writable: bool = False) -> int:
    """Opens the file at a path for reading, or also for writing, and returns its descriptor. Links are followed."""
    return os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_BINARY | os.O_NOINHERIT)


def open_for_writing(path: StrPath) -> int:
    """Opens an existing device for writing and returns its descriptor."""
    return os.open(path, os.O_WRONLY | os.O_BINARY | os.O_NOINHERIT)


def take_mode(fd: int, status: os.stat_result, *, is_private: bool = False) -> None:
    """Does nothing: on Windows, a new file inherits its access rights from its folder."""


def write_zeros(fd: int, offset: int, length: int) -> None:
    """Does nothing: Windows shows no block devices as files."""


def _descriptor(handle: int, flags: int) -> int:
    try:
        return msvcrt.open_osfhandle(handle, flags | os.O_BINARY | os.O_NOINHERIT)
    except BaseException:
        winapi.close_handle(handle)
        raise


def _opened(directory: int, name: bytes | str, access: int) -> int:
    """Returns a handle of the file or directory that has that name."""
    return winapi.open_at(directory, os.fsdecode(name), access)


def link_at(source_directory: int, source: bytes | str, directory: int, name: bytes | str) -> None:
    """Makes a further name for a file."""
    target = winapi.wide_name(os.fsdecode(name))
    handle = _opened(source_directory, source, winapi.FILE_WRITE_ATTRIBUTES)
    try:
        header = winapi.LINK_INFORMATION.pack(0, directory, len(target))
        winapi.set_information(handle, winapi.FILE_LINK_INFORMATION, header + target)
    finally:
        winapi.close_handle(handle)


def replace_at(source_directory: int, source: bytes | str, directory: int, name: bytes | str) -> None:
    """Renames a file in one step. An existing file with the new name is removed."""
    target = winapi.wide_name(os.fsdecode(name))
    handle = _opened(source_directory, source, winapi.DELETE)
    try:
        header = winapi.RENAME_INFORMATION_EX.pack(winapi.RENAME_REPLACE_POSIX, directory, len(target))
        if not winapi.set_information_if_known(handle, winapi.FILE_RENAME_INFORMATION_EX, header + target):
            header = winapi.LINK_INFORMATION.pack(1, directory, len(target))
            winapi.set_information(handle, winapi.FILE_RENAME_INFORMATION, header + target)
    finally:
        winapi.close_handle(handle)


def replace_file(source: StrPath, target: StrPath) -> None:
    """Renames a file. An existing file at the target is removed.

    A file that is open elsewhere without sharing its deletion is not replaced (ERROR_SHARING_VIOLATION).
    """
    try:
        _patiently(os.replace, source, target)
    except PermissionError:
        # Windows also reports "access denied" for a target that is open. Opening the target alone reports the cause.
        _open_to_delete(target)
        raise


def rename_directory(source: StrPath, target: StrPath) -> None:
    """Renames a directory to a path where nothing, or an empty directory, exists.

    A directory in which a file is open is not renamed (ERROR_SHARING_VIOLATION).
    """
    with suppress(FileNotFoundError):
        os.rmdir(target)
    try:
        _patiently(os.rename, source, target)
    except PermissionError:
        # The directory itself may be deleted, so a file in it must be open.
        _open_to_delete(source)
        raise winapi.error_of(winapi.ERROR_SHARING_VIOLATION, os.fspath(source)) from None


def _patiently(call: Callable[[StrPath, StrPath], None], source: StrPath, target: StrPath) -> None:
    """Repeats a call for a while, because virus scanners and indexers open new files for a moment."""
    for _ in range(_RENAME_ATTEMPTS):
        with suppress(PermissionError):
            call(source, target)
            return
        time.sleep(_RENAME_PAUSE)
    call(source, target)


def _open_to_delete(path: StrPath) -> None:
    winapi.close_handle(winapi.create_file(winapi.absolute(path), winapi.DELETE))


def exchange_directories(first: StrPath, second: StrPath) -> bool:
    """Returns False: Windows cannot exchange two directories in one step."""
    return False


def remove_file_at(directory: int, name: bytes | str) -> None:
    if stat.S_ISDIR(stat_at(directory, name).st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory", os.fsdecode(name))
    _remove(directory, name)


def remove_directory_at(directory: int, name: bytes | str) -> None:
    if not stat.S_ISDIR(stat_at(directory, name).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "not a directory", os.fsdecode(name))
    _remove(directory, name)


def _remove(directory: int, name: bytes | str) -> None:
    handle = _opened(directory, name, winapi.DELETE)
    try:
        flags = winapi.DISPOSITION_DELETE_POSIX.to_bytes(4, "little")
        if not winapi.set_information_if_known(handle, winapi.FILE_DISPOSITION_INFORMATION_EX, flags):
            winapi.set_information(handle, winapi.FILE_DISPOSITION_INFORMATION, b"\1")
    finally:
        winapi.close_handle(handle)


def stat_at(directory: int, name: bytes | str) -> os.stat_result:
    """Returns the status of the file with that name, without following a link; for an empty name, of the directory."""
    if not name:
        # A descriptor owns its handle, so the directory's status is read through a duplicate.
        return _status_of(winapi.duplicate_handle(directory))
    return _status_of(_opened(directory, name, winapi.FILE_READ_ATTRIBUTES))


def is_at(path: StrPath, directory: int) -> bool:
    """Returns True: Windows neither renames nor removes a directory that is open."""
    return True


def _status_of(handle: int) -> os.stat_result:
    """Returns the status of the file of a handle, and closes the handle."""
    fd = _descriptor(handle, os.O_RDONLY)
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    if status.st_file_attributes & winapi.FILE_ATTRIBUTE_REPARSE_POINT:
        return os.stat_result((stat.S_IFLNK | 0o777, *status[1:]), {"st_mtime_ns": status.st_mtime_ns})
    return status


def _basic(handle: int) -> FileBasicInfo:
    return FileBasicInfo.unpack(winapi.query_information(handle, winapi.FILE_BASIC_INFORMATION, FileBasicInfo.SIZE))


def _set_times(handle: int, creation: int, access: int, write: int, change: int) -> None:
    # Attributes of zero leave them as they are.
    data = FileBasicInfo(0, creation, access, write, change).pack()
    winapi.set_information(handle, winapi.FILE_BASIC_INFORMATION, data)


def set_times_at(directory: int, name: bytes | str, access_ns: int, modify_ns: int) -> None:
    """Sets access and modification time, in nanoseconds since 1970."""
    handle = _opened(directory, name, winapi.FILE_WRITE_ATTRIBUTES)
    try:
        _set_times(handle, 0, from_unix_ns(access_ns), from_unix_ns(modify_ns), 0)
    finally:
        winapi.close_handle(handle)


def set_file_times(fd: int, access_ns: int, modify_ns: int) -> None:
    """Sets access and modification time of an open file."""
    _set_times(msvcrt.get_osfhandle(fd), 0, from_unix_ns(access_ns), from_unix_ns(modify_ns), 0)


def set_all_times(fd: int, times: Times) -> None:
    """Sets the four FILETIMEs of an open file: creation, access, write, change. A zero leaves a time unchanged."""
    # Windows reads signed numbers, and negative ones have other meanings.
    with suppress(OSError):
        _set_times(msvcrt.get_osfhandle(fd), *(time if time <= MAX_FILETIME else 0 for time in times))


def all_times(fd: int, status: os.stat_result) -> Times | None:
    """Returns the four FILETIMEs of an open file: creation, access, write, change."""
    info = _basic(msvcrt.get_osfhandle(fd))
    return info.creation_time, info.last_access_time, info.last_write_time, info.change_time


def make_sparse(fd: int) -> None:
    """Allows holes in an open file, if the file system supports them."""
    with suppress(OSError):
        winapi.device_control(msvcrt.get_osfhandle(fd), winapi.FSCTL_SET_SPARSE)


def sync_file(fd: int) -> None:
    """Makes the contents of an open file safe on the disk."""
    # Windows flushes only descriptors that are open for writing. Through other descriptors nothing was written.
    with suppress(PermissionError):
        os.fsync(fd)


def sync_file_at(directory: int, name: bytes | str) -> None:
    """Makes the contents of a file safe on the disk, including data that another process wrote."""
    with suppress(PermissionError):
        fd = open_file_at(directory, name, writable=True)
        try:
            sync_file(fd)
        finally:
            os.close(fd)


def sync_directory(directory: int) -> None:
    """Does nothing: the log of the file system keeps the names in a directory."""


def is_served_by_program(directory: int) -> bool:
    """Returns False: the host does not tell."""
    return False


def sync_file_system(directory: int) -> bool:
    """Returns False: on Windows, only administrators may flush a whole file system."""
    return False


def mounts() -> list[tuple[bytes, bytes]]:
    """Returns an empty list: a mount in a directory is a reparse point, and no path is resolved through it."""
    return []


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Returns up to `size` bytes from `offset`. The position of the file changes."""
    buffer = ctypes.create_string_buffer(size)
    done = winapi.read_file(msvcrt.get_osfhandle(fd), buffer, offset)
    return buffer.raw[:done]


def read_into_at(fd: int, buffer: memoryview, offset: int) -> int:
    """Reads from `offset` into a buffer and returns the number of bytes read."""
    target = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    return winapi.read_file(msvcrt.get_osfhandle(fd), target, offset)


def write_at(fd: int, data: bytes | memoryview, offset: int) -> int:
    """Writes at `offset` and returns the number of bytes written. The position of the file changes."""
    return winapi.write_file(msvcrt.get_osfhandle(fd), bytes(data), offset)


def map_file(fd: int) -> bytes:
    """Returns the contents of a file. It is read, not mapped: a mapped file cannot be replaced or removed."""
    with os.fdopen(os.dup(fd), "rb") as file:
        return file.read()


class Lock:
    """A lock on a file or directory. It belongs to the process that takes it, and is released when the process ends.

    Args:
        follow: True if `path` may be a link.
    """

    fd = -1

    def __init__(self, path: StrPath, *, follow: bool = True) -> None:
        self._path = winapi.absolute(path)
        self._flags = winapi.FILE_FLAG_BACKUP_SEMANTICS | (0 if follow else winapi.FILE_FLAG_OPEN_REPARSE_POINT)
        self._handle = winapi.create_file(
            self._path, winapi.FILE_READ_ATTRIBUTES, winapi.FILE_SHARE_ALL, flags=self._flags
        )

    def take(self, *, shared: bool = False) -> None:
        """Takes the lock, or changes it to the other kind.

        Raises:
            BlockingIOError: another process holds the lock; a lock that was held before may be lost.
        """
        self.close()
        access = winapi.FILE_LIST_DIRECTORY if shared else winapi.FILE_WRITE_DATA
        share = winapi.FILE_SHARE_READ | winapi.FILE_SHARE_DELETE
        try:
            self._handle = winapi.create_file(
                self._path, access | winapi.FILE_READ_ATTRIBUTES, share, flags=self._flags
            )
        except OSError as error:
            if error.winerror == winapi.ERROR_SHARING_VIOLATION:
                raise BlockingIOError(errno.EAGAIN, "locked by another process", self._path) from None
            raise

    def status(self) -> os.stat_result:
        """Returns the status of the locked file or directory, even after it was renamed."""
        return _status_of(winapi.duplicate_handle(self._handle))

    def close(self) -> None:
        """Releases the lock. Further calls do nothing."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            winapi.close_handle(handle)

    def __del__(self) -> None:
        # Memory can run out after a lock is taken and before a caller can close it.
        if hasattr(self, "_handle"):
            self.close()


def create_locked_file(path: StrPath, *, is_private: bool = False) -> int:
    """Makes a file on which no other process can take a `Lock`, and returns its descriptor (reading and writing).

    Args:
        is_private: has no effect: on Windows, a new file inherits its access rights from its folder.
    """
    access = winapi.GENERIC_READ | winapi.GENERIC_WRITE
    share = winapi.FILE_SHARE_READ | winapi.FILE_SHARE_DELETE
    return _descriptor(winapi.create_file(winapi.absolute(path), access, share, winapi.CREATE_NEW, 0), os.O_RDWR)
