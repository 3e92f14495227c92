"""Security descriptors, ACLs and ACEs in their self-relative binary form.

Source: [MS-DTYP] sections 2.4.4 (ACE), 2.4.5 (ACL), 2.4.6 (SECURITY_DESCRIPTOR). An ACE keeps the rest of its body
verbatim after the known fields, so conditional expressions, resource attributes and unknown types are preserved.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum, IntFlag
from uuid import UUID

from wclayer.errors import NotRepresentableError
from wclayer.win32.sid import SecurityError, Sid

_DESCRIPTOR = struct.Struct("<BBHIIII")  # Revision, Sbz1, Control, OffsetOwner, OffsetGroup, OffsetSacl, OffsetDacl
_ACL = struct.Struct("<BBHHH")  # AclRevision, Sbz1, AclSize, AceCount, Sbz2
_ACE = struct.Struct("<BBH")  # AceType, AceFlags, AceSize
_MASK = struct.Struct("<I")

ACL_REVISION = 2
ACL_REVISION_DS = 4
MAX_ACL_SIZE = 0xFFFF


class Control(IntFlag):
    """SECURITY_DESCRIPTOR control bits."""

    OWNER_DEFAULTED = 0x1
    GROUP_DEFAULTED = 0x2
    DACL_PRESENT = 0x4
    DACL_DEFAULTED = 0x8
    SACL_PRESENT = 0x10
    SACL_DEFAULTED = 0x20
    DACL_TRUSTED = 0x40
    SERVER_SECURITY = 0x80
    DACL_AUTO_INHERIT_REQ = 0x100
    SACL_AUTO_INHERIT_REQ = 0x200
    DACL_AUTO_INHERITED = 0x400
    SACL_AUTO_INHERITED = 0x800
    DACL_PROTECTED = 0x1000
    SACL_PROTECTED = 0x2000
    RM_CONTROL_VALID = 0x4000
    SELF_RELATIVE = 0x8000


class AceType(IntEnum):
    """ACE types ([MS-DTYP] 2.4.4.1)."""

    ACCESS_ALLOWED = 0x0
    ACCESS_DENIED = 0x1
    SYSTEM_AUDIT = 0x2
    SYSTEM_ALARM = 0x3
    ACCESS_ALLOWED_OBJECT = 0x5
    ACCESS_DENIED_OBJECT = 0x6
    SYSTEM_AUDIT_OBJECT = 0x7
    SYSTEM_ALARM_OBJECT = 0x8
    ACCESS_ALLOWED_CALLBACK = 0x9
    ACCESS_DENIED_CALLBACK = 0xA
    ACCESS_ALLOWED_CALLBACK_OBJECT = 0xB
    ACCESS_DENIED_CALLBACK_OBJECT = 0xC
    SYSTEM_AUDIT_CALLBACK = 0xD
    SYSTEM_ALARM_CALLBACK = 0xE
    SYSTEM_AUDIT_CALLBACK_OBJECT = 0xF
    SYSTEM_ALARM_CALLBACK_OBJECT = 0x10
    SYSTEM_MANDATORY_LABEL = 0x11
    SYSTEM_RESOURCE_ATTRIBUTE = 0x12
    SYSTEM_SCOPED_POLICY_ID = 0x13
    SYSTEM_PROCESS_TRUST_LABEL = 0x14
    SYSTEM_ACCESS_FILTER = 0x15


_OBJECT_TYPES = frozenset({0x5, 0x6, 0x7, 0x8, 0xB, 0xC, 0xF, 0x10})
_SID_TYPES = frozenset(set(range(0x16)) - {0x4})  # 0x4 is the reserved compound ACE

OBJECT_TYPE_PRESENT = 0x1
INHERITED_OBJECT_TYPE_PRESENT = 0x2


class AceFlags(IntFlag):
    """ACE inheritance and audit flags."""

    OBJECT_INHERIT = 0x1
    CONTAINER_INHERIT = 0x2
    NO_PROPAGATE_INHERIT = 0x4
    INHERIT_ONLY = 0x8
    INHERITED = 0x10
    CRITICAL = 0x20
    SUCCESSFUL_ACCESS = 0x40
    FAILED_ACCESS = 0x80


@dataclass(frozen=True, slots=True)
class Ace:
    """An access control entry.

    For a type with an unknown body, `sid` is None, `data` is the whole body and `mask` is 0. Otherwise `data` holds the
    bytes after the SID: a callback's condition, a resource attribute's claim, or nothing.
    """

    type: int
    flags: int
    mask: int
    sid: Sid | None
    data: bytes = b""
    object_type: UUID | None = None
    inherited_object_type: UUID | None = None

    def encode(self) -> bytes:
        """Returns the binary form.

        It is not padded: for Windows, the length of `data` must be a multiple of four bytes.

        Raises:
            NotRepresentableError: the entry is longer than an ACE can be.
        """
        if self.sid is None:
            body = self.data
        else:
            body = _MASK.pack(self.mask)
            if self.type in _OBJECT_TYPES:
                guids = (self.object_type, self.inherited_object_type)
                body += _MASK.pack(sum(bit for bit, guid in zip((1, 2), guids, strict=True) if guid is not None))
                body += b"".join(guid.bytes_le for guid in guids if guid is not None)
            body += self.sid.encode() + self.data
        size = _ACE.size + len(body)
        if size > MAX_ACL_SIZE:
            raise NotRepresentableError(f"ACE of {size} bytes is longer than {MAX_ACL_SIZE}")
        return _ACE.pack(self.type, self.flags, size) + body

    @classmethod
    def decode(cls, data: bytes, offset: int, end: int) -> tuple[Ace, int]:
        """Returns the ACE at `offset`, which must end before `end`, and the offset after it.

        Raises:
            SecurityError: the size is impossible, or the SID is outside of the ACE.
        """
        if end - offset < _ACE.size:
            raise SecurityError(f"ACE at offset {offset} is cut off")
        ace_type, flags, size = _ACE.unpack_from(data, offset)
        if size < _ACE.size or size > end - offset:
            raise SecurityError(f"ACE at offset {offset}: size {size} does not fit in its ACL")
        body = data[offset + _ACE.size : offset + size]
        after = offset + size
        if ace_type not in _SID_TYPES:
            return cls(ace_type, flags, 0, None, body), after
        at = _MASK.size
        guids: list[UUID | None] = [None, None]
        if ace_type in _OBJECT_TYPES:
            at += _MASK.size
        if len(body) < at:
            raise SecurityError(f"ACE at offset {offset}: {size} bytes have no room for its mask")
        (mask,) = _MASK.unpack_from(body)
        if ace_type in _OBJECT_TYPES:
            (present,) = _MASK.unpack_from(body, _MASK.size)
            for index, bit in enumerate((OBJECT_TYPE_PRESENT, INHERITED_OBJECT_TYPE_PRESENT)):
                if present & bit:
                    if len(body) < at + 16:
                        raise SecurityError(f"ACE at offset {offset}: object type is cut off")
                    guids[index] = UUID(bytes_le=body[at : at + 16])
                    at += 16
        sid = Sid.decode(body, at)
        return cls(ace_type, flags, mask, sid, body[at + sid.size :], guids[0], guids[1]), after


@dataclass(frozen=True, slots=True)
class Acl:
    """An access control list: its entries in order, and its revision (2, or 4 with object ACEs)."""

    aces: tuple[Ace, ...] = ()
    revision: int = ACL_REVISION

    @classmethod
    def of(cls, aces: Iterable[Ace]) -> Acl:
        """Returns an ACL with the revision that its entries require."""
        entries = tuple(aces)
        needs_ds = any(ace.type in _OBJECT_TYPES for ace in entries)
        return cls(entries, ACL_REVISION_DS if needs_ds else ACL_REVISION)

    def encode(self) -> bytes:
        """Returns the binary form.

        Raises:
            NotRepresentableError: the list is longer than an ACL can be.
        """
        body = b"".join(ace.encode() for ace in self.aces)
        size = _ACL.size + len(body)
        if size > MAX_ACL_SIZE:
            raise NotRepresentableError(f"ACL of {size} bytes is longer than {MAX_ACL_SIZE}")
        return _ACL.pack(self.revision, 0, size, len(self.aces), 0) + body

    @classmethod
    def decode(cls, data: bytes, offset: int) -> Acl:
        """Returns the ACL at `offset`.

        Raises:
            SecurityError: the ACL is cut off, or its entries do not fit in it.
        """
        if len(data) - offset < _ACL.size:
            raise SecurityError(f"ACL at offset {offset} is cut off")
        revision, _sbz1, size, count, _sbz2 = _ACL.unpack_from(data, offset)
        end = offset + size
        if size < _ACL.size or end > len(data):
            raise SecurityError(f"ACL at offset {offset}: size {size} reaches past the end")
        aces = []
        at = offset + _ACL.size
        for _ in range(count):
            ace, at = Ace.decode(data, at, end)
            aces.append(ace)
        return cls(tuple(aces), revision)


@dataclass(frozen=True, slots=True)
class SecurityDescriptor:
    """A security descriptor.

    The control bits say whether a DACL or SACL is present. One that is present and None is a *null* ACL, which is not
    the same as an empty one: a null DACL allows access for everyone.
    """

    owner: Sid | None = None
    group: Sid | None = None
    dacl: Acl | None = None
    sacl: Acl | None = None
    control: int = int(Control.SELF_RELATIVE)
    resource_manager: int = field(default=0)
    """The byte Sbz1, which is valid with RM_CONTROL_VALID."""

    def encode(self) -> bytes:
        """Returns the self-relative form in the order of Windows: SACL, DACL, owner, group.

        Raises:
            NotRepresentableError: an ACL is too long.
        """
        body = bytearray()

        def place(part: Acl | Sid | None, present: bool = True) -> int:
            if part is None or not present:
                return 0
            at = _DESCRIPTOR.size + len(body)
            body.extend(part.encode())
            return at

        sacl = place(self.sacl, bool(self.control & Control.SACL_PRESENT))
        dacl = place(self.dacl, bool(self.control & Control.DACL_PRESENT))
        owner = place(self.owner)
        group = place(self.group)
        control = self.control | Control.SELF_RELATIVE
        return _DESCRIPTOR.pack(1, self.resource_manager, control, owner, group, sacl, dacl) + bytes(body)

    @classmethod
    def decode(cls, data: bytes | memoryview) -> SecurityDescriptor:
        """Decodes the self-relative form.

        Raises:
            SecurityError: the form is not self-relative or not of revision 1, or an offset is outside of `data`.
        """
        data = bytes(data)
        if len(data) < _DESCRIPTOR.size:
            raise SecurityError(
                f"security descriptor of {len(data)} bytes is shorter than its {_DESCRIPTOR.size}-byte header"
            )
        revision, sbz1, control, owner, group, sacl, dacl = _DESCRIPTOR.unpack_from(data)
        if revision != 1 or not control & Control.SELF_RELATIVE:
            raise SecurityError(
                f"security descriptor: revision {revision}, control {control:#06x} is not self-relative"
            )
        for name, offset in (("owner", owner), ("group", group), ("SACL", sacl), ("DACL", dacl)):
            if offset and not _DESCRIPTOR.size <= offset < len(data):
                raise SecurityError(f"security descriptor: {name} offset {offset} lies outside its {len(data)} bytes")
        return cls(
            owner=Sid.decode(data, owner) if owner else None,
            group=Sid.decode(data, group) if group else None,
            dacl=Acl.decode(data, dacl) if dacl and control & Control.DACL_PRESENT else None,
            sacl=Acl.decode(data, sacl) if sacl and control & Control.SACL_PRESENT else None,
            control=control,
            resource_manager=sbz1,
        )

    def with_dacl(self, dacl: Acl | None) -> SecurityDescriptor:
        """Returns the same descriptor with another DACL, marked present."""
        return replace(self, dacl=dacl, control=self.control | Control.DACL_PRESENT)
