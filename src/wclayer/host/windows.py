"""The host's calls on Windows: directories are handles, and every name is looked up in one (`NtCreateFile`).

All handles share reading, writing and deletion, and names are removed and replaced with POSIX semantics where the file
system has them, so that a file in use can go, as on the other hosts.

A `Lock` is a handle that does not share writing. An exclusive one has the right to write, so no other lock is possible
beside it; shared ones have the right to read only, so a user who may not write can take one. Handles that read or list
are not in the way, and the lock goes with the process.
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
"""Characters."""
_DIRECTORY_ACCESS = winapi.FILE_LIST_DIRECTORY | winapi.FILE_TRAVERSE | winapi.FILE_READ_ATTRIBUTES | winapi.SYNCHRONIZE
_CANNOT_LINK = (1, 5, 17, 50, 1142)
"""INVALID_FUNCTION, ACCESS_DENIED, NOT_SAME_DEVICE, NOT_SUPPORTED, TOO_MANY_LINKS."""
_RENAME_ATTEMPTS = 20
_RENAME_PAUSE = 0.05


def impossible_reason(name: bytes, *, room: int = 0) -> str | None:
    """Why a file of the host cannot have this name, with `room` more bytes behind it; None if it can."""
    units = utf16_length(os.fsdecode(name))
    if units + room > MAX_COMPONENT_UNITS:
        return f"the host has no room for a name of {units} characters"
    return None


def is_awkward(name: bytes) -> bool:
    """Whether programs of the host could not open a file of that possible name: `CON`, `x.`, unpaired surrogates, …"""
    text = os.fsdecode(name)
    return unusable_reason(text) is not None or any("\ud800" <= character <= "\udfff" for character in text)


def cannot_link(error: OSError) -> bool:
    """Whether the error says that the host can make no hard link here."""
    return getattr(error, "winerror", None) in _CANNOT_LINK


def has_no_reader(error: OSError) -> bool:
    """Returns whether the error of a write to standard output says that nobody reads it any more."""
    if isinstance(error, BrokenPipeError):
        return True
    # The C runtime has no number of its own for ERROR_NO_DATA. What it says so has neither a path nor Windows' code.
    if type(error) is not OSError or error.errno != errno.EINVAL or error.filename is not None or error.winerror:
        return False
    with suppress(OSError):
        return stat.S_ISFIFO(os.fstat(1).st_mode)
    return False


def open_directory(path: StrPath) -> int:
    """A directory by its path."""
    handle = winapi.create_file(winapi.absolute(path), _DIRECTORY_ACCESS)
    return _checked_directory(handle, os.fspath(path))


def open_directory_at(directory: int, name: bytes | str) -> int:
    """A directory in a directory; a link is refused."""
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
    """Gives a directory back."""
    winapi.close_handle(directory)


def close_read(fd: int) -> None:
    """Closes a file through which nothing was written. The descriptor is free even if the host reports an error, which
    then says nothing about any contents."""
    try:
        os.close(fd)
    except OSError as error:
        if error.errno == errno.EBADF:
            raise


def list_directory(directory: int) -> list[tuple[str, bool]]:
    """The names in a directory, each with whether it is a directory and not a link to one."""
    found = []
    buffer = ctypes.create_string_buffer(64 << 10)
    # A handle has one position, and under Wine what it has listed once: each listing has a handle of its own.
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
    """A new file, open for reading and writing; gives its descriptor."""
    access = winapi.GENERIC_READ | winapi.GENERIC_WRITE
    options = winapi.FILE_NON_DIRECTORY_FILE
    return _descriptor(winapi.open_at(directory, os.fsdecode(name), access, winapi.FILE_CREATE, options), os.O_RDWR)


def open_file_at(directory: int, name: bytes | str, *, writable: bool = False) -> int:
    """What has that name, open for reading, perhaps for writing; a link is refused. Gives its descriptor."""
    text = os.fsdecode(name)
    access = winapi.GENERIC_READ | (winapi.GENERIC_WRITE if writable else 0)
    handle = winapi.open_at(directory, text, access)
    if _basic(handle).attributes & winapi.FILE_ATTRIBUTE_REPARSE_POINT:
        winapi.close_handle(handle)
        raise OSError(errno.ELOOP, "a reparse point, not a file", text)
    return _descriptor(handle, os.O_RDWR if writable else os.O_RDONLY)


def open_without_waiting(path: StrPath, *, writable: bool = False) -> int:
    """What has that path, links being followed, open for reading, perhaps for writing; gives its descriptor."""
    return os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_BINARY | os.O_NOINHERIT)


def open_for_writing(path: StrPath) -> int:
    """A device that is there, open for writing; gives its descriptor."""
    return os.open(path, os.O_WRONLY | os.O_BINARY | os.O_NOINHERIT)


def take_mode(fd: int, status: os.stat_result) -> None:
    """Nothing: a file's access is its folder's here."""


def write_zeros(fd: int, offset: int, length: int) -> None:
    """Nothing: Windows shows no block devices as files."""


def _descriptor(handle: int, flags: int) -> int:
    try:
        return msvcrt.open_osfhandle(handle, flags | os.O_BINARY | os.O_NOINHERIT)
    except BaseException:
        winapi.close_handle(handle)
        raise


def _opened(directory: int, name: bytes | str, access: int) -> int:
    """A handle of what has that name, whatever it is."""
    return winapi.open_at(directory, os.fsdecode(name), access)


def link_at(source_directory: int, source: bytes | str, directory: int, name: bytes | str) -> None:
    """A further name for a file."""
    target = winapi.wide_name(os.fsdecode(name))
    handle = _opened(source_directory, source, winapi.FILE_WRITE_ATTRIBUTES)
    try:
        header = winapi.LINK_INFORMATION.pack(0, directory, len(target))
        winapi.set_information(handle, winapi.FILE_LINK_INFORMATION, header + target)
    finally:
        winapi.close_handle(handle)


def replace_at(source_directory: int, source: bytes | str, directory: int, name: bytes | str) -> None:
    """Renames in one step; a file that has the name already is gone."""
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
    """Renames a file to where another one may be; that one is gone then.

    On Windows one that somebody has open, without sharing its deletion, is not replaced (ERROR_SHARING_VIOLATION).
    """
    try:
        _patiently(os.replace, source, target)
    except PermissionError:
        # "Access denied" is also said of a target that is open; asked alone, it says why.
        _open_to_delete(target)
        raise


def rename_directory(source: StrPath, target: StrPath) -> None:
    """Renames a directory to where nothing, or an empty directory, is.

    On Windows one in which somebody has a file open is not renamed (ERROR_SHARING_VIOLATION).
    """
    with suppress(FileNotFoundError):
        os.rmdir(target)
    try:
        _patiently(os.rename, source, target)
    except PermissionError:
        # It may be deleted: so it is something in it that is open.
        _open_to_delete(source)
        raise winapi.error_of(winapi.ERROR_SHARING_VIOLATION, os.fspath(source)) from None


def _patiently(call: Callable[[StrPath, StrPath], None], source: StrPath, target: StrPath) -> None:
    """Virus scanners and indexers open what is new, and soon let it go."""
    for _ in range(_RENAME_ATTEMPTS):
        with suppress(PermissionError):
            call(source, target)
            return
        time.sleep(_RENAME_PAUSE)
    call(source, target)


def _open_to_delete(path: StrPath) -> None:
    winapi.close_handle(winapi.create_file(winapi.absolute(path), winapi.DELETE))


def exchange_directories(first: StrPath, second: StrPath) -> bool:
    """Whether two directories got each other's name in one step: Windows has no such call."""
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
    """`lstat`; of the directory itself without a name."""
    if not name:
        # A descriptor owns its handle: this one is asked through a second handle.
        return _status_of(winapi.duplicate_handle(directory))
    return _status_of(_opened(directory, name, winapi.FILE_READ_ATTRIBUTES))


def is_at(path: StrPath, directory: int) -> bool:
    """Whether a path leads to an open directory. Windows renames and removes no directory that is open."""
    return True


def _status_of(handle: int) -> os.stat_result:
    """The status of what a handle is open on, and closes the handle."""
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
    """Access and modification time, in nanoseconds since 1970."""
    handle = _opened(directory, name, winapi.FILE_WRITE_ATTRIBUTES)
    try:
        _set_times(handle, 0, from_unix_ns(access_ns), from_unix_ns(modify_ns), 0)
    finally:
        winapi.close_handle(handle)


def set_file_times(fd: int, access_ns: int, modify_ns: int) -> None:
    """The same for an open file."""
    _set_times(msvcrt.get_osfhandle(fd), 0, from_unix_ns(access_ns), from_unix_ns(modify_ns), 0)


def set_all_times(fd: int, times: Times) -> None:
    """Gives an open file its four FILETIMEs: creation, access, write, change. A zero leaves that one as it is."""
    # As signed numbers, negative ones mean other things.
    with suppress(OSError):
        _set_times(msvcrt.get_osfhandle(fd), *(time if time <= MAX_FILETIME else 0 for time in times))


def all_times(fd: int, status: os.stat_result) -> Times | None:
    """The four FILETIMEs of an open file: creation, access, write, change."""
    info = _basic(msvcrt.get_osfhandle(fd))
    return info.creation_time, info.last_access_time, info.last_write_time, info.change_time


def make_sparse(fd: int) -> None:
    """Lets an open file have holes, where the file system knows them."""
    with suppress(OSError):
        winapi.device_control(msvcrt.get_osfhandle(fd), winapi.FSCTL_SET_SPARSE)


def sync_file(fd: int) -> None:
    """Makes what was written to an open file safe on the disk."""
    # Windows flushes only for who may write; through another descriptor, nothing was written.
    with suppress(PermissionError):
        os.fsync(fd)


def sync_file_at(directory: int, name: bytes | str) -> None:
    """Makes the contents of a file safe on the disk, also those that another process wrote."""
    with suppress(PermissionError):
        fd = open_file_at(directory, name, writable=True)
        try:
            sync_file(fd)
        finally:
            os.close(fd)


def sync_directory(directory: int) -> None:
    """Nothing: the names in a directory are in the file system's own log."""


def sync_file_system(directory: int) -> bool:
    """Whether the host made all that was written to the file system safe: Windows lets only administrators do that."""
    return False


def mounts() -> list[tuple[bytes, bytes]]:
    """Nothing: what is mounted in a directory is a reparse point there, which no path is led through."""
    return []


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Up to `size` bytes from `offset`; the file's position is somewhere else afterwards."""
    buffer = ctypes.create_string_buffer(size)
    done = winapi.read_file(msvcrt.get_osfhandle(fd), buffer, offset)
    return buffer.raw[:done]


def read_into_at(fd: int, buffer: memoryview, offset: int) -> int:
    """The same into a buffer; gives the number of bytes read."""
    target = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    return winapi.read_file(msvcrt.get_osfhandle(fd), target, offset)


def write_at(fd: int, data: bytes | memoryview, offset: int) -> int:
    """Writes at `offset`; gives the number of bytes written. The file's position is somewhere else afterwards."""
    return winapi.write_file(msvcrt.get_osfhandle(fd), bytes(data), offset)


def map_file(fd: int) -> bytes:
    """A whole file that is not empty, in memory. It is read: a mapped file could be neither replaced nor removed."""
    with os.fdopen(os.dup(fd), "rb") as file:
        return file.read()


class Lock:
    """A lock on a file or directory, of the process that takes it and for as long as it lives.

    Args:
        follow: whether `path` may be a link.
    """

    fd = -1

    def __init__(self, path: StrPath, *, follow: bool = True) -> None:
        self._path = winapi.absolute(path)
        self._flags = winapi.FILE_FLAG_BACKUP_SEMANTICS | (0 if follow else winapi.FILE_FLAG_OPEN_REPARSE_POINT)
        self._handle = winapi.create_file(
            self._path, winapi.FILE_READ_ATTRIBUTES, winapi.FILE_SHARE_ALL, flags=self._flags
        )

    def take(self, *, shared: bool = False) -> None:
        """Takes the lock, or another kind of it.

        Raises:
            BlockingIOError: somebody else has it; a lock that was held before may be lost.
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
                raise BlockingIOError(errno.EAGAIN, "locked by somebody else", self._path) from None
            raise

    def status(self) -> os.stat_result:
        """Of what is locked, wherever it has been renamed to."""
        return _status_of(winapi.duplicate_handle(self._handle))

    def close(self) -> None:
        """Gives the lock back; calling it again does nothing."""
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            winapi.close_handle(handle)

    def __del__(self) -> None:
        # Memory can run out between the moment that takes a lock and the one in which a caller can close it.
        if hasattr(self, "_handle"):
            self.close()


def create_locked_file(path: StrPath) -> int:
    """A new file that is open for reading and writing and on which a `Lock` cannot be taken; gives its descriptor."""
    access = winapi.GENERIC_READ | winapi.GENERIC_WRITE
    share = winapi.FILE_SHARE_READ | winapi.FILE_SHARE_DELETE
    return _descriptor(winapi.create_file(winapi.absolute(path), access, share, winapi.CREATE_NEW, 0), os.O_RDWR)
