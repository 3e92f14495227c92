"""The form of a transport folder: its names, its file header, and where a host file keeps what POSIX cannot hold.

`tombstones.txt` names what is deleted. Below `Files`, a file's host file holds its attributes (four bytes,
little-endian) and then its backup stream; a directory `d` is a real directory, and a file `d.$wcidirs$` beside it has
the same form. `Hives` holds plain hive files. docs/formats/transport-folder.md states all of it.

Reference behaviour: hcsshim, `internal/wclayer/legacy.go`.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress

from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.filetime import from_unix_ns, to_unix_ns

TOMBSTONES = "tombstones.txt"
TOMBSTONES_HEADER = b"\xef\xbb\xbfVersion 1.0"
DIRECTORY_SUFFIX = ".$wcidirs$"
ATTRIBUTES = struct.Struct("<I")
"""What precedes the backup stream: the file attributes."""
TIMES_ATTRIBUTE = "user.wclayer.times"
"""A host extended attribute: the four times, of which a POSIX file has a place for only one that lasts, and the time
the host then gave the file (seconds since 1970, nanoseconds)."""
_TIMES = struct.Struct("<4QqI")


def write_times(fd: int, info: FileBasicInfo) -> None:
    """Gives a host file its times, as well as the host can hold them."""
    with suppress(OverflowError, OSError):
        os.utime(fd, ns=(to_unix_ns(info.last_access_time), to_unix_ns(info.last_write_time)))
    with suppress(OSError, AttributeError):  # Python has these calls on Linux only
        times = info.creation_time, info.last_access_time, info.last_write_time, info.change_time
        os.setxattr(fd, TIMES_ATTRIBUTE, _TIMES.pack(*times, *divmod(os.fstat(fd).st_mtime_ns, 10**9)))


def read_times(fd: int, stat: os.stat_result) -> FileBasicInfo:
    """The times of a host file, with no attributes: those that `write_times` left, or else the host's own."""
    with suppress(OSError, struct.error, AttributeError):
        *times, seconds, nanoseconds = _TIMES.unpack(os.getxattr(fd, TIMES_ATTRIBUTE))
        # A file that was written since has another time on the host, and that one counts.
        if seconds * 10**9 + nanoseconds == stat.st_mtime_ns:
            return FileBasicInfo(0, *times)
    write, access = from_unix_ns(stat.st_mtime_ns), from_unix_ns(stat.st_atime_ns)
    return FileBasicInfo(0, write, access, write, write)
