"""The access check: which rights a token has in the end, and which entries give them.

Sources: [MS-DTYP] 2.5.3.1 (SidInToken), 2.5.3.2 (access check), 2.5.3.3 (mandatory integrity check), "How AccessCheck
Works" (Win32).

What depends on more than SIDs is not known here, and is taken so that nothing is missed: the condition of an
allowing entry holds, that of a denying one does not. An entry for a part of an object (with an object type) says
nothing of a file or a key. Privileges, such as that to take ownership, are those of administrators, and are not asked
for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wclayer.rights.kinds import READ_CONTROL, WRITE_DAC, ObjectKind
from wclayer.win32.inherit import GENERIC_EXECUTE, GENERIC_READ, GENERIC_WRITE
from wclayer.win32.security import Ace, AceFlags, AceType, Control, SecurityDescriptor
from wclayer.win32.sid import ALIASES, Sid

OWNER_RIGHTS = ALIASES["OW"]
UNTRUSTED, LOW, MEDIUM, HIGH, SYSTEM = 0x0, 0x1000, 0x2000, 0x3000, 0x4000
"""Integrity levels: the last number of their SIDs."""
LABEL_AUTHORITY = 16
NO_WRITE_UP, NO_READ_UP, NO_EXECUTE_UP = 0x1, 0x2, 0x4

_BY_DACL = 0x001F_FFFF
"""The rights that a DACL can give: those of the kind, and the standard ones."""

ALLOWING = frozenset({AceType.ACCESS_ALLOWED, AceType.ACCESS_ALLOWED_CALLBACK, AceType.ACCESS_ALLOWED_OBJECT,
                      AceType.ACCESS_ALLOWED_CALLBACK_OBJECT})  # fmt: skip
DENYING = frozenset({AceType.ACCESS_DENIED, AceType.ACCESS_DENIED_CALLBACK, AceType.ACCESS_DENIED_OBJECT,
                     AceType.ACCESS_DENIED_CALLBACK_OBJECT})  # fmt: skip
CONDITIONAL = frozenset({AceType.ACCESS_ALLOWED_CALLBACK, AceType.ACCESS_DENIED_CALLBACK,
                         AceType.ACCESS_ALLOWED_CALLBACK_OBJECT, AceType.ACCESS_DENIED_CALLBACK_OBJECT})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """Who asks for access.

    Attributes:
        sids: the user and its groups.
        integrity: its integrity level.
    """

    sids: frozenset[Sid]
    integrity: int = MEDIUM

    @classmethod
    def of(cls, *sids: Sid, integrity: int = MEDIUM) -> Token:
        """Returns a token with those SIDs."""
        return cls(frozenset(sids), integrity)


@dataclass(frozen=True, slots=True)
class Access:
    """The rights that a token has.

    Attributes:
        mask: all of them; generic rights are replaced by those of the kind of object.
        by_entries: the entries of the DACL that give rights, each with those that no earlier entry gives.
        by_owner: the rights that the token has as the owner.
        has_no_dacl: True if there is no DACL, so that everybody has all rights.
    """

    mask: int
    by_entries: tuple[tuple[Ace, int], ...]
    by_owner: int
    has_no_dacl: bool


def check_access(descriptor: SecurityDescriptor, token: Token, kind: ObjectKind) -> Access:
    """Returns all rights that a token has.

    Args:
        descriptor: that of the object.
        token: who asks.
        kind: what the object is.
    """
    possible = _BY_DACL & ~not_permitted_by_label(descriptor, token, kind)
    if descriptor.dacl is None or not descriptor.control & Control.DACL_PRESENT:
        return Access(kind.all_rights & possible, (), 0, has_no_dacl=True)
    aces = [ace for ace in descriptor.dacl.aces if not ace.flags & AceFlags.INHERIT_ONLY and _is_of_whole(ace)]
    is_owner = descriptor.owner is not None and descriptor.owner in token.sids
    by_owner = 0
    if is_owner and all(ace.sid != OWNER_RIGHTS for ace in aces):
        by_owner = (READ_CONTROL | WRITE_DAC) & possible
    granted, denied = by_owner, 0
    by_entries: list[tuple[Ace, int]] = []
    for ace in aces:
        if ace.sid not in token.sids and not (is_owner and ace.sid == OWNER_RIGHTS):
            continue
        mask = kind.mapped(ace.mask) & possible
        if ace.type in ALLOWING:
            new = mask & ~denied & ~granted
            if new:
                by_entries.append((ace, new))
            granted |= new
        elif ace.type in DENYING and ace.type not in CONDITIONAL:
            denied |= mask & ~granted
    return Access(granted, tuple(by_entries), by_owner, has_no_dacl=False)


def _is_of_whole(ace: Ace) -> bool:
    """Returns whether an entry is about the whole object, not a part of it."""
    return ace.object_type is None


def label_of(descriptor: SecurityDescriptor) -> Ace | None:
    """Returns the entry with the mandatory label of an object; None if it has none, which means Medium."""
    if descriptor.sacl is None:
        return None
    return next((ace for ace in _of_object(descriptor.sacl.aces) if _is_label(ace)), None)


def _of_object(aces: Iterable[Ace]) -> Iterable[Ace]:
    return (ace for ace in aces if not ace.flags & AceFlags.INHERIT_ONLY)


def _is_label(ace: Ace) -> bool:
    return (
        ace.type == AceType.SYSTEM_MANDATORY_LABEL
        and ace.sid is not None
        and ace.sid.authority == LABEL_AUTHORITY
        and len(ace.sid.sub_authorities) == 1
    )


def not_permitted_by_label(descriptor: SecurityDescriptor, token: Token, kind: ObjectKind) -> int:
    """Returns the rights that the mandatory label of an object does not permit to a token, whatever the DACL says."""
    label = label_of(descriptor)
    level, policy = MEDIUM, NO_WRITE_UP
    if label is not None and label.sid is not None:
        level, policy = label.sid.sub_authorities[0], label.mask
    if token.integrity >= level:
        return 0
    read, write, execute = (kind.mapped(right) for right in (GENERIC_READ, GENERIC_WRITE, GENERIC_EXECUTE))
    permitted = 0
    if not policy & NO_READ_UP:
        permitted |= read
    if not policy & NO_EXECUTE_UP:
        permitted |= execute
    if not policy & NO_WRITE_UP:
        permitted |= write | ~(read | execute)
    return ~permitted & 0xFFFF_FFFF
