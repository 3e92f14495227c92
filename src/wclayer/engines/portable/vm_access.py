"""`grant_vm_access`: permits a virtual machine to open a file."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from time import time_ns
from uuid import UUID

from wclayer._types import StrPath
from wclayer.errors import CorruptLayerError, InvalidParameterError, PathNotFoundError, during, errors_at
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.database import FILE_NAME
from wclayer.layers.directory.file_security import file_security, security_record
from wclayer.layers.directory.scratch_update import open_update
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.inherit import inherit, volume_root
from wclayer.win32.security import Ace, AceType, Acl, Control, SecurityDescriptor
from wclayer.win32.sid import Sid, vm_sid

_FILE_ALL_ACCESS = 0x1F01FF
_MAX_DESCRIPTOR = 1 << 16
NTFS_ACL = "system.ntfs_acl"
"""The extended attribute through which ntfs-3g shows a file's security descriptor."""


@during("grant VM access")
def grant_vm_access(vm_id: UUID | str, path: StrPath) -> None:
    """Adds the virtual machine's ACE to the descriptor in the layer's records, or on the ntfs-3g volume."""
    try:
        sid = vm_sid(vm_id)
    except ValueError as error:
        raise InvalidParameterError(path, str(error)) from None
    grant_access(sid, Path(os.path.abspath(path)))


def grant_access(sid: Sid, path: Path) -> None:
    """Gives `sid` full access to a file; see `grant_vm_access`."""
    if not path.exists():
        raise PathNotFoundError(path, "the file does not exist", code=2)
    own = _volume_descriptor(path)
    if sys.platform == "linux" and own is not None:
        with errors_at(path):
            os.setxattr(path, NTFS_ACL, granted(own, sid))
        return
    layer = next((parent for parent in path.parents if (parent / FILE_NAME).is_file()), None)
    if layer is None:
        raise PathNotFoundError(
            path, "the file is neither in a layer directory nor on a volume that has its descriptor"
        )
    name = path.relative_to(layer).as_posix()
    with open_update(layer) as update:
        with open_layer(layer) as directory:
            row = directory.lookup(name)
            kept = directory.security(row) if row is not None else file_security(directory, name)
        with errors_at(path, damage=CorruptLayerError):
            after = granted(kept, sid) if kept is not None else new_file_access(sid)
        if after == kept:
            return
        if row is not None:
            update.set_security(name, after)
        else:
            update.set_record(security_record(name), after)
        update.commit(from_unix_ns(time_ns()))


def _volume_descriptor(path: Path) -> bytes | None:
    """Returns the security descriptor that an ntfs-3g mount shows for a file; None on any other file system."""
    if sys.platform != "linux":
        return None
    # Not os.getxattr: it asks with a small buffer first, and ntfs-3g calls one that is too small an I/O error.
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(_MAX_DESCRIPTOR)
    size = libc.getxattr(os.fsencode(path), NTFS_ACL.encode(), buffer, ctypes.c_size_t(_MAX_DESCRIPTOR))
    return buffer.raw[:size] if size > 0 else None


def new_file_access(sid: Sid) -> bytes:
    """Returns the security descriptor of a new file to which `sid` has access."""
    return granted(inherit(volume_root(), is_directory=False).encode(), sid)


def granted(descriptor: bytes, sid: Sid) -> bytes:
    """Returns a security descriptor with a DACL that grants `sid` full access, besides the existing entries."""
    decoded = SecurityDescriptor.decode(descriptor)
    ace = Ace(int(AceType.ACCESS_ALLOWED), 0, _FILE_ALL_ACCESS, sid)
    if decoded.dacl is None:
        if decoded.control & Control.DACL_PRESENT:
            # A null DACL already grants access to everybody.
            return descriptor
        aces: tuple[Ace, ...] = ()
    else:
        aces = decoded.dacl.aces
    if ace in aces:
        return descriptor
    # Explicit entries come before inherited ones.
    return decoded.with_dacl(Acl.of((ace, *aces))).encode()
