"""System calls on POSIX: directories are descriptors, and every name is looked up in a directory (`openat`, …).

Such a name is passed to the host as bytes, by which `errors.from_os_error` distinguishes it from a complete path.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import re
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wclayer._types import StrPath

assert sys.platform != "win32"

Times = tuple[int, int, int, int]
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: a FIFO at the path of a file must not block the reader forever.
_OPEN_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# The last one: a file system may have no space for attributes, even if it has space for data.
_NO_ATTRIBUTE = (errno.ENOTSUP, errno.EPERM, errno.ENODATA, errno.E2BIG) if sys.platform == "linux" else ()
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)
LONGEST_NAME = 255
"""In bytes."""
_NO_LOCKS = (errno.ENOLCK, errno.EBADF, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of network file systems: no lock service; only files open for writing can be locked (flock(2) on NFS); no such
call."""
_CANNOT_SYNC_DIRECTORIES = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_STATFS_BYTES = 256
"""A size larger than `struct statfs` on any machine. Its first field is the kind of the file system."""
_FUSE_MAGIC = 0x65735546
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_BLKZEROOUT = 0x127F
"""The ioctl of Linux that fills a range of a block device with zeros (linux/fs.h)."""
_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-7]{3})")

_TIMES_ATTRIBUTE = "user.wclayer.times"
"""The value of a host extended attribute: the four FILETIMEs, of which a POSIX file can keep only one permanently, and
the modification time that the file had when they were stored (seconds since 1970, nanoseconds)."""
_TIMES = struct.Struct("<4QqI")


def impossible_reason(name: bytes, *, room: int = 0) -> str | None:
    """Returns why a file of the host cannot have this name, with `room` more bytes behind it; None if it can."""
    if len(name) + room > LONGEST_NAME:
        return f"the host has no room for a name of {len(name)} bytes"
    return None


def is_awkward(name: bytes) -> bool:
    """Returns whether a name that is possible on the host is one that its programs cannot open."""
    return False


def cannot_link(error: OSError) -> bool:
    """Returns whether the error says that the host cannot make a hard link here."""
    return error.errno in _CANNOT_LINK


def has_no_reader(error: OSError) -> bool:
    """Returns whether the error of a write to standard output says that it has no reader any more."""
    return isinstance(error, BrokenPipeError)


def open_directory(path: StrPath) -> int:
    """Opens a directory by its path and returns its descriptor."""
    return os.open(path, _DIRECTORY_FLAGS)


def open_directory_at(directory: int, name: bytes | str) -> int:
    """Opens a directory in a directory and returns its descriptor; a link is refused."""
    return os.open(os.fsencode(name), _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=directory)


def close_directory(directory: int) -> None:
    """Closes a directory."""
    close_read(directory)


def close_read(fd: int) -> None:
    """Closes a file or directory that was not written to through this descriptor.

    Errors are ignored: the descriptor is free even if the host reports one, and no contents can be lost.
    """
    try:
        os.close(fd)
    except OSError as error:
        if error.errno == errno.EBADF:
            raise


def list_directory(directory: int) -> list[tuple[str, bool]]:
    """Returns the names in a directory, each with True if it is a directory (not a link to one)."""
    with os.scandir(directory) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]


def make_directory_at(directory: int, name: bytes | str) -> None:
    os.mkdir(os.fsencode(name), 0o755, dir_fd=directory)


def create_file_at(directory: int, name: bytes | str) -> int:
    """Makes a file and returns its descriptor, which is open for reading and writing."""
    return os.open(os.fsencode(name), _CREATE_FLAGS, 0o644, dir_fd=directory)


def open_file_at(directory: int, name: bytes | str, *, writable: bool = False) -> int:
    """Opens the file with that name for reading, or also for writing, and returns its descriptor. A link is refused."""
    return os.open(os.fsencode(name), (os.O_RDWR if writable else os.O_RDONLY) | _OPEN_FLAGS, dir_fd=directory)


def open_without_waiting(path: StrPath, *, writable: bool = False) -> int:
    """Opens the file at a path for reading, or also for writing, and returns its descriptor. Links are followed. The
    call does not wait for the other end of a FIFO."""
    return os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)


def open_for_writing(path: StrPath) -> int:
    """Opens an existing device or FIFO for writing (a disk also for reading) and returns its descriptor. Links are
    followed."""
    flags = os.O_RDWR if stat.S_ISBLK(os.stat(path).st_mode) else os.O_WRONLY
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOCTTY)


def take_mode(fd: int, status: os.stat_result, *, is_private: bool = False) -> None:
    """Gives an open file the mode of another file, and its owner and group if the user may change owners.

    Args:
        is_private: True to leave out the permissions of the group and of others.
    """
    if stat.S_ISREG(status.st_mode):
        with suppress(PermissionError):
            os.fchown(fd, status.st_uid, status.st_gid)
        os.fchmod(fd, stat.S_IMODE(status.st_mode) & (0o700 if is_private else 0o7777))


def write_zeros(fd: int, offset: int, length: int) -> None:
    """Makes a range of an open block device read as zeros."""
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.ioctl(fd, _BLKZEROOUT, struct.pack("=QQ", offset, length))
            return
    zeros = memoryview(bytes(1 << 20))
    while length:
        done = os.pwrite(fd, zeros[: min(length, len(zeros))], offset)
        offset, length = offset + done, length - done


def open_locked_file_at(directory: int, name: bytes | str) -> int:
    """Opens a file on which no other process can take a lock then, and returns its descriptor (reading and writing).

    The file is made if it does not exist. A link is refused.

    Raises:
        BlockingIOError: another process holds a lock on it.
        OSError: with ENOTSUP, the file system does not support locks.
    """
    flags = os.O_RDWR | os.O_CREAT | _OPEN_FLAGS
    fd = os.open(os.fsencode(name), flags, 0o644, dir_fd=directory)
    try:
        _lock(fd, shared=False)
    except BaseException:
        close_read(fd)
        raise
    return fd


def link_at(source_directory: int, source: bytes | str, directory: int, name: bytes | str) -> None:
    """Makes a further name for a file."""
    os.link(
        os.fsencode(source), os.fsencode(name), src_dir_fd=source_directory, dst_dir_fd=directory, follow_symlinks=False
    )


def replace_at(source_directory: int, source: bytes | str, directory: int, name: bytes | str) -> None:
    """Renames a file in one step. An existing file with the new name is removed."""
    os.replace(os.fsencode(source), os.fsencode(name), src_dir_fd=source_directory, dst_dir_fd=directory)


def replace_file(source: StrPath, target: StrPath) -> None:
    """Renames a file. An existing file at the target is removed."""
    os.replace(source, target)


def rename_directory(source: StrPath, target: StrPath) -> None:
    """Renames a directory to a path where nothing, or an empty directory, exists."""
    os.rename(source, target)


def exchange_directories(first: StrPath, second: StrPath) -> bool:
    """Exchanges the names of two directories in one step. Returns False if the host cannot do that.

    Source: rename(2), RENAME_EXCHANGE.
    """
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
            return False
        raise OSError(number, os.strerror(number), os.fspath(second))
    return True


def remove_file_at(directory: int, name: bytes | str) -> None:
    os.unlink(os.fsencode(name), dir_fd=directory)


def remove_directory_at(directory: int, name: bytes | str) -> None:
    os.rmdir(os.fsencode(name), dir_fd=directory)


def stat_at(directory: int, name: bytes | str) -> os.stat_result:
    """Returns the status of the file with that name, without following a link; for an empty name, of the directory."""
    return os.stat(os.fsencode(name) or b".", dir_fd=directory, follow_symlinks=False)


def is_at(path: StrPath, directory: int) -> bool:
    """Returns whether a path still leads to an open directory, which may have been removed, renamed or replaced."""
    opened = os.fstat(directory)
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)


def set_times_at(directory: int, name: bytes | str, access_ns: int, modify_ns: int) -> None:
    """Sets access and modification time, in nanoseconds since 1970."""
    os.utime(os.fsencode(name), ns=(access_ns, modify_ns), dir_fd=directory, follow_symlinks=False)


def set_file_times(fd: int, access_ns: int, modify_ns: int) -> None:
    """Sets access and modification time of an open file."""
    os.utime(fd, ns=(access_ns, modify_ns))


def set_all_times(fd: int, times: Times) -> None:
    """Stores the four FILETIMEs of an open file whose access and modification time are already set."""
    value = _TIMES.pack(*times, *divmod(os.fstat(fd).st_mtime_ns, 10**9))
    with suppress(AttributeError), _without_attributes():  # Python has these calls on Linux only
        os.setxattr(fd, _TIMES_ATTRIBUTE, value)


def all_times(fd: int, status: os.stat_result) -> Times | None:
    """Returns the four FILETIMEs of an open file: creation, access, write, change; None if the host lacks them."""
    with suppress(struct.error, AttributeError), _without_attributes():
        *times, seconds, nanoseconds = _TIMES.unpack(os.getxattr(fd, _TIMES_ATTRIBUTE))
        # A file that was written since then has another time on the host, which takes precedence.
        if seconds * 10**9 + nanoseconds == status.st_mtime_ns:
            return times[0], times[1], times[2], times[3]
    return None


@contextmanager
def _without_attributes() -> Iterator[None]:
    """Ignores the error that a file system, or a file, has no such attribute; raises any other."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTE:
            raise


def make_sparse(fd: int) -> None:
    """Does nothing: on POSIX, every file may have holes."""


def sync_file(fd: int) -> None:
    """Makes the contents of an open file safe on the disk."""
    if sys.platform == "darwin":
        # On macOS, fsync leaves the data in the cache of the drive. Network file systems do not support F_FULLFSYNC.
        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    os.fsync(fd)


def sync_file_at(directory: int, name: bytes | str) -> None:
    """Makes the contents of a file safe on the disk, including data that another process wrote."""
    fd = open_file_at(directory, name)
    try:
        sync_file(fd)
    finally:
        close_read(fd)


def sync_directory(directory: int) -> None:
    """Makes the names in a directory safe on the disk, if the file system supports that."""
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC_DIRECTORIES:
            raise


def sync_file_system(directory: int) -> bool:
    """Makes all data of the file system of an open directory safe on the disk.

    Returns:
        True on success; False if the host has no such call, or if the call does not reach the disk.

    Source: syncfs(2); errors of the disk are reported since Linux 5.8.
    """
    if sys.platform != "linux":
        return False
    if is_served_by_program(directory):
        # The kernel does not pass syncfs on to the program.
        return False
    library = ctypes.CDLL(None, use_errno=True)
    while library.syncfs(directory):
        number = ctypes.get_errno()
        if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True


def is_served_by_program(directory: int) -> bool:
    """Returns whether a program serves the file system of an open directory (FUSE), also if the host does not tell.

    Source: statfs(2).
    """
    if sys.platform != "linux":
        return True
    status = ctypes.create_string_buffer(_STATFS_BYTES)
    failed = ctypes.CDLL(None, use_errno=True).fstatfs(directory, status)
    return bool(failed) or ctypes.c_long.from_buffer(status).value == _FUSE_MAGIC


def mounts() -> list[tuple[bytes, bytes]]:
    """Returns the mount points of file systems, and their types; later ones cover earlier ones. The list is empty if
    the host does not provide one.

    Source: proc_pid_mountinfo(5).
    """
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        # The fifth field is the mount point, in which a backslash and three octal digits encode some bytes.
        fields, _, rest = line.partition(b" - ")
        place = _OCTAL.sub(lambda octal: bytes([int(octal[1], 8)]), fields.split(b" ")[4])
        found.append((place, rest.partition(b" ")[0]))
    return found


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Returns up to `size` bytes from `offset`. The position of the file does not change."""
    return os.pread(fd, size, offset)


def read_into_at(fd: int, buffer: memoryview, offset: int) -> int:
    """Reads from `offset` into a buffer and returns the number of bytes."""
    return os.preadv(fd, (buffer,), offset)


def write_at(fd: int, data: bytes | memoryview, offset: int) -> int:
    """Writes at `offset` and returns the number of bytes."""
    return os.pwrite(fd, data, offset)


def map_file(fd: int) -> mmap.mmap | bytes:
    """Returns the contents of a file, which must not be empty."""
    return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)


def _lock(fd: int, *, shared: bool) -> None:
    """Takes the lock of an open file or directory."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise OSError(
            errno.ENOTSUP,
            f"its file system cannot lock it ({error.strerror}), so others could change it at the same time;"
            " use a place on a local disk",
        ) from None


class Lock:
    """A lock on a file or directory. It belongs to the process that takes it, and is released when the process ends.

    Args:
        follow: True if `path` may be a link.
    """

    __slots__ = ("fd",)

    def __init__(self, path: StrPath, *, follow: bool = True) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))

    def take(self, *, shared: bool = False) -> None:
        """Takes the lock, or changes it to the other kind.

        Raises:
            BlockingIOError: another process holds the lock; a lock that was held before may be lost.
            OSError: with ENOTSUP, the file system does not support locks.
        """
        _lock(self.fd, shared=shared)

    def status(self) -> os.stat_result:
        """Returns the status of the locked file or directory, even after it was renamed."""
        return os.fstat(self.fd)

    def close(self) -> None:
        """Releases the lock. Further calls do nothing."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            close_read(fd)

    def __del__(self) -> None:
        # Memory can run out after a lock is taken and before a caller can close it.
        if hasattr(self, "fd"):
            self.close()


def create_locked_file(path: StrPath, *, is_private: bool = False) -> int:
    """Makes a file on which no other process can take a `Lock`, and returns its descriptor (reading and writing).

    On a file system without locks, the file is not locked; other processes cannot take a lock either.

    Args:
        is_private: True if only the user may read the file.

    Raises:
        BlockingIOError: another process took the lock first.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if is_private else 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in _NO_LOCKS:
            return fd
        close_read(fd)
        if not isinstance(error, BlockingIOError):
            with suppress(OSError):
                os.unlink(path)
        raise
    return fd
