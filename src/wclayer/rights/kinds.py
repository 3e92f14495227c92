"""The kinds of objects that have security descriptors, and what the bits of an access mask mean for each.

Sources: [MS-DTYP] 2.4.3 (ACCESS_MASK), "File Access Rights Constants" and "Registry Key Security and Access Rights"
(Win32).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from wclayer.win32.inherit import GENERIC_ALL, GENERIC_EXECUTE, GENERIC_READ, GENERIC_WRITE, map_generic

WRITE_DATA, APPEND_DATA, DELETE_CHILD = 0x2, 0x4, 0x40
"""For a directory, the first two are the rights to create files and folders in it."""
SET_VALUE, CREATE_SUB_KEY, CREATE_LINK = 0x2, 0x4, 0x20
DELETE, READ_CONTROL, WRITE_DAC, WRITE_OWNER, SYNCHRONIZE = 0x10000, 0x20000, 0x40000, 0x80000, 0x100000
_KEY_READ, _KEY_WRITE, _KEY_ALL = 0x20019, 0x20006, 0xF003F
_KEY_GENERIC = (
    (GENERIC_READ, _KEY_READ),
    (GENERIC_WRITE, _KEY_WRITE),
    (GENERIC_EXECUTE, _KEY_READ),
    (GENERIC_ALL, _KEY_ALL),
)

_COMMON = {
    DELETE: "delete it", READ_CONTROL: "read permissions", WRITE_DAC: "change permissions",
    WRITE_OWNER: "take ownership", 0x01000000: "read and change what is audited",
    0x02000000: "all that is allowed otherwise",
}  # fmt: skip
_ATTRIBUTES = {
    0x8: "read extended attributes", 0x10: "write extended attributes", 0x80: "read attributes",
    0x100: "write attributes",
}  # fmt: skip


class ObjectKind(StrEnum):
    """What has a security descriptor."""

    FILE = "file"
    DIRECTORY = "directory"
    KEY = "key"

    def mapped(self, mask: int) -> int:
        """Returns an access mask with its generic rights replaced by those of the kind."""
        if self is not ObjectKind.KEY:
            return map_generic(mask)
        for generic, specific in _KEY_GENERIC:
            if mask & generic:
                mask = mask & ~generic | specific
        return mask

    @property
    def all_rights(self) -> int:
        """The rights of "full control"."""
        return self.mapped(GENERIC_ALL)

    def words(self, mask: int) -> tuple[str, ...]:
        """Returns the rights of an access mask in words, those of many bits first; nothing for no rights."""
        mask = self.mapped(mask)
        found: list[str] = []
        for name, bits in _SETS[self].items():
            if mask & bits == bits:
                found.append(name)
                mask &= ~bits
        for bit, name in _RIGHTS[self].items():
            if mask & bit:
                found.append(name)
                mask &= ~bit
        if mask & SYNCHRONIZE and not found:
            # It is part of every other right, so that it is told only where it stands alone.
            found.append("wait for it")
        if mask & ~SYNCHRONIZE:
            found.append(f"unknown rights {mask & ~SYNCHRONIZE:#x}")
        return tuple(found)


_FILE_SETS = {
    "full control": 0x1F01FF, "modify": 0x1301BF, "read and execute": 0x1200A9, "read": 0x120089, "write": 0x100116,
}  # fmt: skip
_SETS: Mapping[ObjectKind, Mapping[str, int]] = {
    ObjectKind.FILE: _FILE_SETS,
    ObjectKind.DIRECTORY: _FILE_SETS,
    ObjectKind.KEY: {"full control": _KEY_ALL, "read": _KEY_READ, "write": _KEY_WRITE},
}
_RIGHTS: Mapping[ObjectKind, Mapping[int, str]] = {
    ObjectKind.FILE: {
        0x1: "read data", WRITE_DATA: "write data", APPEND_DATA: "append data", 0x20: "execute",
        DELETE_CHILD: "delete child (nothing for a file)", **_COMMON, **_ATTRIBUTES,
    },
    ObjectKind.DIRECTORY: {
        0x1: "list", WRITE_DATA: "create files", APPEND_DATA: "create folders", 0x20: "traverse",
        DELETE_CHILD: "delete what is in it", **_COMMON, **_ATTRIBUTES,
    },
    ObjectKind.KEY: {
        0x1: "query values", SET_VALUE: "set values", CREATE_SUB_KEY: "create subkeys", 0x8: "list subkeys",
        0x10: "be told of changes", CREATE_LINK: "create links", 0x100: "use the 64-bit view",
        0x200: "use the 32-bit view", **_COMMON,
    },
}  # fmt: skip
