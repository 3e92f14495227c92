"""The layout of a transport folder: its names, its file header, and where a host file keeps what POSIX cannot hold.

`tombstones.txt` names what is deleted. Below `Files`, a file's host file holds its attributes (four bytes,
little-endian) and then its backup stream; a directory `d` is a real directory, and a file `d.$wcidirs$` beside it has
the same layout. `Hives` holds plain hive files. docs/formats/transport-folder.md states all of it.

Reference behaviour: hcsshim, `internal/wclayer/legacy.go`.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress

from wclayer.host import system
from wclayer.win32.attributes import FileBasicInfo
from wclayer.win32.filetime import from_unix_ns, to_unix_ns

TOMBSTONES = "tombstones.txt"
TOMBSTONES_HEADER = b"\xef\xbb\xbfVersion 1.0"
DIRECTORY_SUFFIX = ".$wcidirs$"
ATTRIBUTES = struct.Struct("<I")
"""What precedes the backup stream: the file attributes."""


def write_times(fd: int, info: FileBasicInfo) -> None:
    """Sets the times of a host file as well as the host can hold them."""
    with suppress(OverflowError, OSError):
        system.set_file_times(fd, to_unix_ns(info.last_access_time), to_unix_ns(info.last_write_time))
    system.set_all_times(fd, (info.creation_time, info.last_access_time, info.last_write_time, info.change_time))


def read_times(fd: int, stat: os.stat_result, *, is_hive: bool) -> FileBasicInfo:
    """Returns the times of a host file, without attributes: those that `write_times` set, or else the host's own.

    All times of a hive from elsewhere are that of the last write, as in hcsshim: the others are those of the copy.
    """
    if (times := system.all_times(fd, stat)) is not None:
        return FileBasicInfo(0, *times)
    write = from_unix_ns(stat.st_mtime_ns)
    access = write if is_hive else from_unix_ns(stat.st_atime_ns)
    return FileBasicInfo(0, write, access, write, write)
