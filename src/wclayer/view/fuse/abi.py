"""The messages between the kernel and a FUSE server: their codes, their flags and their layouts.

Source: `linux/fuse.h`, the kernel's definition of the interface (version 7). A message of the kernel is an `IN_HEADER`
and a body that depends on the opcode; an answer is an `OUT_HEADER` and a body. All numbers are in the host's byte
order.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag

KERNEL_VERSION = 7
MIN_MINOR, MAX_MINOR = 31, 40
"""The minor versions of the interface that these layouts fit: from Linux 5.4 on."""
ROOT = 1
"""The node id of the root directory."""
MAX_NAME = 1024
"""The maximal length of a name in a listing in bytes (FUSE_NAME_MAX)."""
MAX_LINK_TEXT = 4095
"""The maximal length of a symbolic link's target in bytes: one page, less the NUL."""


class Opcode(IntEnum):
    """The requests of the kernel (`enum fuse_opcode`); any other opcode is answered with ENOSYS."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    READDIRPLUS = 44
    RENAME2 = 45


UNANSWERED = frozenset([Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT])
"""The messages to which the kernel expects no answer."""


class Notice(IntEnum):
    """The messages that a server sends to the kernel without a request (`enum fuse_notify_code`)."""

    INVAL_INODE = 2
    INVAL_ENTRY = 3


class InitFlag(IntFlag):
    """The optional features of the interface; the server chooses from those that the kernel offers."""

    ASYNC_READ = 1 << 0
    ATOMIC_O_TRUNC = 1 << 3
    BIG_WRITES = 1 << 5
    DO_READDIRPLUS = 1 << 13
    ASYNC_DIO = 1 << 15
    NO_OPEN_SUPPORT = 1 << 17
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    NO_OPENDIR_SUPPORT = 1 << 24
    EXPLICIT_INVAL_DATA = 1 << 25
    HANDLE_KILLPRIV_V2 = 1 << 28
    INIT_EXT = 1 << 30
    DIRECT_IO_ALLOW_MMAP = 1 << 36


class OpenFlag(IntFlag):
    """How the kernel treats an open file or directory (FOPEN_…)."""

    DIRECT_IO = 1 << 0
    KEEP_CACHE = 1 << 1
    CACHE_DIR = 1 << 3
    NO_FLUSH = 1 << 5


class SetAttr(IntFlag):
    """Which fields of a SETATTR message count (FATTR_…)."""

    MODE = 1 << 0
    SIZE = 1 << 3
    ATIME = 1 << 4
    MTIME = 1 << 5
    FH = 1 << 6
    ATIME_NOW = 1 << 7
    MTIME_NOW = 1 << 8


WRITE_CACHE = 1 << 0
"""A flag of WRITE: the data come from the page cache, not from a system call of a program."""
RENAME_NOREPLACE = 1 << 0

IN_HEADER = struct.Struct("=IIQQIIIHH")  # len, opcode, unique, nodeid, uid, gid, pid, total_extlen, padding
OUT_HEADER = struct.Struct("=IiQ")  # len, error (0, or -errno; in a notice its code), unique (in a notice 0)
EXTENSION_UNIT = 8
"""The unit of `total_extlen` in bytes; extensions follow the body of the message."""

ATTR = struct.Struct("=QQQqqqIIIIIIIIII")
"""ino, size, blocks, atime, mtime, ctime (s), atimensec, mtimensec, ctimensec, mode, nlink, uid, gid, rdev, blksize,
flags"""
ENTRY_HEAD = struct.Struct("=QQQQII")  # nodeid, generation, entry_valid, attr_valid (s), and their nanoseconds; an ATTR
ATTR_HEAD = struct.Struct("=QII")  # attr_valid (s), its nanoseconds, padding; an ATTR follows
LISTED = struct.Struct("=QQQQIIQQQqqqIIIIIIIIIIQ")  # an ENTRY_HEAD, an ATTR, and the first field of a DIRENT_HEAD
DIRENT_HEAD = struct.Struct("=QQII")  # ino, off, namelen, type; the name follows, padded to 8 bytes
DIRENT_INODE = struct.Struct("=Q")  # the first field of a DIRENT_HEAD
DIRENT_OFFSET = struct.Struct("=Q")  # the second one
DIRENT_NAME = struct.Struct("=II")  # the other two

INIT_IN = struct.Struct("=IIIII")  # major, minor, max_readahead, flags, flags2; more follows
INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")
"""major, minor, max_readahead, flags, max_background, congestion_threshold, max_write, time_gran, max_pages,
map_alignment, flags2"""
FORGET_IN = struct.Struct("=Q")  # nlookup
FORGET_ONE = struct.Struct("=QQ")  # nodeid, nlookup
BATCH_FORGET_IN = struct.Struct("=II")  # count, padding; that many FORGET_ONE follow
SETATTR_IN = struct.Struct("=IIQQQqqqIIIIIIII")
"""valid, padding, fh, size, lock_owner, atime, mtime, ctime, atimensec, mtimensec, ctimensec, mode, unused, uid, gid,
unused"""
MKNOD_IN = struct.Struct("=IIII")  # mode, rdev, umask, padding; the name follows
MKDIR_IN = struct.Struct("=II")  # mode, umask; the name follows
RENAME_IN = struct.Struct("=Q")  # newdir; both names follow
RENAME2_IN = struct.Struct("=QII")  # newdir, flags, padding; both names follow
LINK_IN = struct.Struct("=Q")  # oldnodeid; the name follows
OPEN_IN = struct.Struct("=II")  # flags, open_flags
OPEN_OUT = struct.Struct("=QII")  # fh, open_flags, padding
CREATE_IN = struct.Struct("=IIII")  # flags, mode, umask, open_flags; the name follows
READ_IN = struct.Struct("=QQIIQII")  # fh, offset, size, read_flags, lock_owner, flags, padding
WRITE_IN = struct.Struct("=QQIIQII")  # fh, offset, size, write_flags, lock_owner, flags, padding; the data follow
WRITE_OUT = struct.Struct("=II")  # size, padding
HANDLE_IN = struct.Struct("=Q")  # fh, the first field of RELEASE, FLUSH, FSYNC and similar messages
STATFS_OUT = struct.Struct("=QQQQQIII28x")  # blocks, bfree, bavail, files, ffree, bsize, namelen, frsize
SETXATTR_IN = struct.Struct("=II")  # size, flags; the name and the value follow
GETXATTR_IN = struct.Struct("=II")  # size, padding; the name follows
GETXATTR_OUT = struct.Struct("=II")  # size, padding
INVAL_INODE_OUT = struct.Struct("=Qqq")  # nodeid, offset and length of the contents to forget
INVAL_ENTRY_OUT = struct.Struct("=QII")  # node id of the directory, namelen, flags; the name follows, with a NUL

_FIXED: dict[int, struct.Struct] = {
    Opcode.FORGET: FORGET_IN, Opcode.BATCH_FORGET: BATCH_FORGET_IN, Opcode.SETATTR: SETATTR_IN, Opcode.MKNOD: MKNOD_IN,
    Opcode.MKDIR: MKDIR_IN, Opcode.RENAME: RENAME_IN, Opcode.RENAME2: RENAME2_IN, Opcode.LINK: LINK_IN,
    Opcode.OPEN: OPEN_IN, Opcode.OPENDIR: OPEN_IN, Opcode.CREATE: CREATE_IN, Opcode.READ: READ_IN,
    Opcode.READDIR: READ_IN, Opcode.READDIRPLUS: READ_IN, Opcode.WRITE: WRITE_IN, Opcode.SETXATTR: SETXATTR_IN,
    Opcode.GETXATTR: GETXATTR_IN, Opcode.LISTXATTR: GETXATTR_IN, Opcode.RELEASE: HANDLE_IN,
    Opcode.RELEASEDIR: HANDLE_IN, Opcode.FLUSH: HANDLE_IN, Opcode.FSYNC: HANDLE_IN, Opcode.FSYNCDIR: HANDLE_IN,
}  # fmt: skip
"""The fixed fields at the start of a message's body, before names and data, by opcode."""

_FIXED_SIZES = {int(opcode): fixed.size for opcode, fixed in _FIXED.items()}


def is_whole(opcode: int, body: memoryview) -> bool:
    """Returns whether the body of a message contains all fixed fields of its opcode."""
    return len(body) >= _FIXED_SIZES.get(opcode, 0)
