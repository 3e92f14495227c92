"""Windows metadata as extended attributes of a mounted view, with the names and encodings of ntfs-3g.

| name | value |
|---|---|
| `system.ntfs_acl` | self-relative security descriptor |
| `system.ntfs_attrib`, `system.ntfs_attrib_be` | file attributes, 32 bits in the host's order, or big-endian |
| `system.ntfs_times`, `system.ntfs_times_be` | creation, last write, last access, change time: four 64-bit FILETIMEs |
| `system.ntfs_crtime`, `system.ntfs_crtime_be` | creation time alone |
| `system.ntfs_reparse_data` | REPARSE_DATA_BUFFER |
| `system.ntfs_ea` | FILE_FULL_EA_INFORMATION list |
| `system.ntfs_dos_name` | 8.3 name, read-only |
| `user.STREAM` | alternate data stream |
| `system.wclayer_layer` | specific to wclayer: the path of the mounted layer |

As in ntfs-3g, a listing contains only the streams, so that programs which copy all attributes can copy to other
systems.
Source: ntfs-3g's manual of extended attributes ("Using Extended Attributes").
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Callable

from wclayer.view.merged import Node
from wclayer.view.resolve import names_by_short_name
from wclayer.view.volume import Volume
from wclayer.win32.names import names_equal
from wclayer.win32.shortnames import is_short

STREAM_PREFIX = "user."
LAYER = "system.wclayer_layer"
_NATIVE = "<" if sys.byteorder == "little" else ">"
_NO_ATTRIBUTE = errno.ENODATA if hasattr(errno, "ENODATA") else 93
XATTR_CREATE, XATTR_REPLACE = 1, 2
MAX_VALUE = 1 << 16
"""The maximal size of an extended attribute on Linux in bytes (XATTR_SIZE_MAX)."""


def list_xattrs(volume: Volume, node: Node) -> list[str]:
    """Returns the names of an entry's extended attributes for a listing: those of its streams."""
    return [STREAM_PREFIX + name for name, _, _ in volume.tree.stream_digests(node) if name and "\0" not in name]


def get_xattr(volume: Volume, node: Node, name: str) -> bytes:
    """Returns the value of an extended attribute.

    Raises:
        OSError: ENODATA if the entry has no attribute of that name, E2BIG if the value is longer than `MAX_VALUE`.
    """
    if name.startswith(STREAM_PREFIX):
        stream = name[len(STREAM_PREFIX) :]
        sizes = [size for known, size, _ in volume.tree.stream_digests(node) if names_equal(known, stream)]
        if not sizes:
            raise _missing(node)
        if sizes[0] > MAX_VALUE:
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG), node.path)
        return b"".join(volume.stream_chunks(node, stream))
    reader = _READERS.get(name)
    value = None if reader is None else reader(volume, node)
    if value is None:
        raise _missing(node)
    return value


def set_xattr(volume: Volume, node: Node, name: str, value: bytes, flags: int = 0) -> None:
    """Sets an extended attribute.

    Raises:
        OSError: ENOTSUP for an unknown name, EEXIST if the attribute exists and `flags` has XATTR_CREATE, ENODATA if
            it does not exist and `flags` has XATTR_REPLACE, EINVAL for a value that is not valid.
    """
    path = node.path
    if name.startswith(STREAM_PREFIX):
        stream = name[len(STREAM_PREFIX) :]
        there = volume.has_stream(node, stream)
        if flags & XATTR_CREATE and there:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        if flags & XATTR_REPLACE and not there:
            raise _missing(node)
        with volume.changing():
            volume.resize(volume.stream_size(node, stream), len(value))
            volume.put_stream(node, stream, (value,))
        return
    bare = name.removesuffix("_be")
    order = ">" if bare != name else _NATIVE
    try:
        if name == "system.ntfs_acl":
            volume.set_security(node, value)
        elif bare == "system.ntfs_attrib":
            volume.set_attributes(node, struct.unpack(order + "I", value)[0])
        elif bare == "system.ntfs_times":
            # Up to four times, in this order. As in ntfs-3g, a shorter value sets only the first ones.
            times = struct.unpack(f"{order}{len(value) // 8}Q", value)[:4]
            names = ("creation", "write", "access", "change")
            volume.set_times(node, **dict(zip(names, times, strict=False)))
        elif bare == "system.ntfs_crtime":
            volume.set_times(node, creation=struct.unpack(order + "Q", value)[0])
        elif name == "system.ntfs_reparse_data":
            volume.set_reparse(node, value)
        elif name == "system.ntfs_ea":
            volume.set_eas(node, value)
        else:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), path)
    except struct.error:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path) from None


def remove_xattr(volume: Volume, node: Node, name: str) -> None:
    """Removes an extended attribute: a stream, the EAs, or the reparse data.

    Raises:
        OSError: ENODATA if the entry has no attribute of that name, ENOTSUP if the attribute cannot be removed.
    """
    if name.startswith(STREAM_PREFIX):
        if not volume.has_stream(node, name[len(STREAM_PREFIX) :]):
            raise _missing(node)
        volume.remove_stream(node, name[len(STREAM_PREFIX) :])
    elif name == "system.ntfs_reparse_data" and node.row.reparse is not None:
        volume.set_reparse(node, None)
    elif name == "system.ntfs_ea" and node.row.eas is not None:
        volume.set_eas(node, b"")
    elif name in _READERS:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), node.path)
    else:
        raise _missing(node)


def _missing(node: Node) -> OSError:
    return OSError(_NO_ATTRIBUTE, os.strerror(_NO_ATTRIBUTE), node.path)


def _attributes(order: str) -> Callable[[Volume, Node], bytes]:
    return lambda volume, node: struct.pack(order + "I", node.row.attributes)


def _times(order: str, count: int) -> Callable[[Volume, Node], bytes]:
    def read(volume: Volume, node: Node) -> bytes:
        row = node.row
        times = (row.creation_time, row.last_write_time, row.last_access_time, row.change_time)
        return struct.pack(f"{order}{count}Q", *times[:count])

    return read


def _dos_name(volume: Volume, node: Node) -> bytes | None:
    if is_short(node.name):
        return node.name.encode()
    directory = volume.tree.lookup(node.path.rpartition("/")[0])
    assert directory is not None
    by_short_name = names_by_short_name(volume.tree, directory)
    return next((short.encode() for short, long in by_short_name.items() if long == node.name), None)


_READERS: dict[str, Callable[[Volume, Node], bytes | None]] = {
    "system.ntfs_acl": lambda volume, node: volume.tree.security(node),
    "system.ntfs_attrib": _attributes(_NATIVE),
    "system.ntfs_attrib_be": _attributes(">"),
    "system.ntfs_times": _times(_NATIVE, 4),
    "system.ntfs_times_be": _times(">", 4),
    "system.ntfs_crtime": _times(_NATIVE, 1),
    "system.ntfs_crtime_be": _times(">", 1),
    "system.ntfs_reparse_data": lambda volume, node: node.row.reparse,
    "system.ntfs_ea": lambda volume, node: node.row.eas,
    "system.ntfs_dos_name": _dos_name,
    LAYER: lambda volume, node: os.fsencode(volume.name),
}
