"""ACL inheritance: the security descriptor that a new file or directory gets from its parent directory.

Source: [MS-DTYP] section 2.5.3.4 (CreateSecurityDescriptor, ComputeACL, ComputeInheritedACLFromParent,
PostProcessACL), with the generic mapping of file objects.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from wclayer.win32.security import Ace, AceFlags, AceType, Acl, Control, SecurityDescriptor
from wclayer.win32.sid import ADMINISTRATORS, CREATOR_GROUP, CREATOR_OWNER, LOCAL_SYSTEM, USERS, Sid

GENERIC_READ = 0x80000000
GENERIC_WRITE = 0x40000000
GENERIC_EXECUTE = 0x20000000
GENERIC_ALL = 0x10000000
_GENERIC = (
    (GENERIC_READ, 0x120089),  # FILE_GENERIC_READ
    (GENERIC_WRITE, 0x120116),  # FILE_GENERIC_WRITE
    (GENERIC_EXECUTE, 0x1200A0),  # FILE_GENERIC_EXECUTE
    (GENERIC_ALL, 0x1F01FF),  # FILE_ALL_ACCESS
)
_PROPAGATION = AceFlags.OBJECT_INHERIT | AceFlags.CONTAINER_INHERIT | AceFlags.NO_PROPAGATE_INHERIT


def map_generic(mask: int) -> int:
    """Returns an access mask with its generic rights replaced by the corresponding file rights."""
    for generic, specific in _GENERIC:
        if mask & generic:
            mask = mask & ~generic | specific
    return mask


def inherit_acl(parent: Acl | None, *, is_directory: bool, owner: Sid | None, group: Sid | None) -> Acl | None:
    """Returns the inherited part of a new object's ACL, or None if nothing is inheritable.

    CREATOR OWNER, CREATOR GROUP and generic rights are resolved in an entry that applies to the object itself. If this
    changes an entry that a directory must also pass on, the entry becomes two: an effective and an inherit-only one.
    """
    if parent is None:
        return None
    aces: list[Ace] = []
    for ace in parent.aces:
        flags = ace.flags
        if is_directory:
            applies = bool(flags & AceFlags.CONTAINER_INHERIT)
            passes_on = (applies or bool(flags & AceFlags.OBJECT_INHERIT)) and not flags & AceFlags.NO_PROPAGATE_INHERIT
        else:
            applies, passes_on = bool(flags & AceFlags.OBJECT_INHERIT), False
        audit = flags & (AceFlags.SUCCESSFUL_ACCESS | AceFlags.FAILED_ACCESS | AceFlags.CRITICAL)
        inherited = audit | AceFlags.INHERITED
        effective = _resolve(replace(ace, flags=inherited), owner, group) if applies else None
        handed_down = replace(ace, flags=inherited | flags & _PROPAGATION)
        if effective is not None and passes_on and replace(effective, flags=0) == replace(ace, flags=0):
            aces.append(handed_down)
            continue
        if effective is not None:
            aces.append(effective)
        if passes_on:
            aces.append(replace(handed_down, flags=handed_down.flags | AceFlags.INHERIT_ONLY))
    return Acl.of(aces) if aces else None


def _resolve(ace: Ace, owner: Sid | None, group: Sid | None) -> Ace:
    sid = ace.sid
    if sid == CREATOR_OWNER and owner is not None:
        sid = owner
    elif sid == CREATOR_GROUP and group is not None:
        sid = group
    mask = map_generic(ace.mask) if ace.type <= AceType.SYSTEM_ALARM_CALLBACK_OBJECT else ace.mask
    return replace(ace, sid=sid, mask=mask)


def inherit(
    parent: SecurityDescriptor | None,
    *,
    is_directory: bool,
    owner: Sid = ADMINISTRATORS,
    group: Sid = LOCAL_SYSTEM,
) -> SecurityDescriptor:
    """Returns the descriptor of a new file or directory below a directory with the descriptor `parent`.

    `owner` and `group` are those of the creating process's token. If nothing is inheritable, the token's default DACL
    applies: full access for the owner and for Local System.
    """
    dacl = sacl = None
    if parent is not None:
        if parent.control & Control.DACL_PRESENT:
            dacl = inherit_acl(parent.dacl, is_directory=is_directory, owner=owner, group=group)
        if parent.control & Control.SACL_PRESENT:
            sacl = inherit_acl(parent.sacl, is_directory=is_directory, owner=owner, group=group)
    control = int(Control.SELF_RELATIVE | Control.DACL_PRESENT)
    if dacl is None:
        allow = int(AceType.ACCESS_ALLOWED)
        dacl = Acl.of(Ace(allow, 0, 0x1F01FF, sid) for sid in dict.fromkeys((owner, LOCAL_SYSTEM)))
    else:
        control |= Control.DACL_AUTO_INHERITED
    if sacl is not None:
        control |= Control.SACL_PRESENT | Control.SACL_AUTO_INHERITED
    return SecurityDescriptor(owner, group, dacl, sacl, control)


@lru_cache(maxsize=128)
def inherited(parent: bytes | None, is_directory: bool) -> bytes:
    """Returns `inherit` of a self-relative descriptor. It is cached, because layers have few distinct ones."""
    above = None if parent is None else SecurityDescriptor.decode(parent)
    return inherit(above, is_directory=is_directory).encode()


def volume_root() -> SecurityDescriptor:
    """Returns the descriptor of the root directory of a volume that Windows formats for its system drive."""
    allow = int(AceType.ACCESS_ALLOWED)
    both = int(AceFlags.OBJECT_INHERIT | AceFlags.CONTAINER_INHERIT)
    container = int(AceFlags.CONTAINER_INHERIT)
    only = int(AceFlags.INHERIT_ONLY)
    aces = (
        Ace(allow, both, 0x1F01FF, LOCAL_SYSTEM),
        Ace(allow, both, 0x1F01FF, ADMINISTRATORS),
        Ace(allow, both, 0x1200A9, USERS),
        Ace(allow, container, 0x4, USERS),
        Ace(allow, container | only, 0x2, USERS),
        Ace(allow, both | only, GENERIC_ALL, CREATOR_OWNER),
    )
    return SecurityDescriptor(
        ADMINISTRATORS,
        LOCAL_SYSTEM,
        Acl(aces),
        None,
        int(Control.SELF_RELATIVE | Control.DACL_PRESENT | Control.DACL_PROTECTED),
    )
