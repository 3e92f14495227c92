"""Judges security descriptors: who that is no administrator may write. Each distinct one is judged once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from wclayer.layers.cache import Cache
from wclayer.rights.access import OWNER_RIGHTS, Token, check_access
from wclayer.rights.audit.model import GrantReason
from wclayer.rights.audited import EVERYONE, token_of
from wclayer.rights.kinds import (
    APPEND_DATA,
    CREATE_LINK,
    CREATE_SUB_KEY,
    DELETE,
    DELETE_CHILD,
    SET_VALUE,
    WRITE_DAC,
    WRITE_DATA,
    WRITE_OWNER,
    ObjectKind,
)
from wclayer.win32.sddl import ace_text
from wclayer.win32.security import Ace, AceFlags, SecurityDescriptor
from wclayer.win32.sid import Sid

_OF_ALL = DELETE | WRITE_DAC | WRITE_OWNER
WRITING: Mapping[ObjectKind, int] = {
    ObjectKind.FILE: WRITE_DATA | APPEND_DATA | _OF_ALL,
    ObjectKind.DIRECTORY: WRITE_DATA | APPEND_DATA | DELETE_CHILD | _OF_ALL,
    ObjectKind.KEY: SET_VALUE | CREATE_SUB_KEY | CREATE_LINK | _OF_ALL,
}
"""The rights by which somebody can change an object, or replace it."""
_CACHE = 16 << 20


class GivingEntry(NamedTuple):
    """An entry of a DACL that gives rights: its text as SDDL, the rights to write, and whether it is inherited."""

    text: str
    mask: int
    is_inherited: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """The rights to write that somebody has.

    Attributes:
        sid: who.
        mask: the rights.
        reason: why.
        entries: the entries of the DACL that give them, each with rights that no other one gives.
    """

    sid: Sid
    mask: int
    reason: GrantReason
    entries: tuple[GivingEntry, ...] = ()

    @property
    def is_inherited(self) -> bool:
        """True if all of it comes from above."""
        return bool(self.entries) and all(entry.is_inherited for entry in self.entries)

    def within(self, mask: int) -> Grant:
        """Returns the grant with those of its rights that are in a mask."""
        entries = tuple(entry._replace(mask=entry.mask & mask) for entry in self.entries if entry.mask & mask)
        return Grant(self.sid, self.mask & mask, self.reason, entries)


class Judge:
    """Judges descriptors, and remembers what it found.

    Args:
        accounts: more accounts that are asked for, with their tokens.
    """

    def __init__(self, accounts: Mapping[Sid, Token]) -> None:
        self.descriptors = 0
        """How many different descriptors were judged."""
        self._accounts = accounts
        self._known: Cache[tuple[ObjectKind, bytes], tuple[Grant, ...]] = Cache(_CACHE)

    def grants(self, descriptor: bytes, kind: ObjectKind) -> tuple[Grant, ...]:
        """Returns who may write.

        Args:
            descriptor: the self-relative descriptor.
            kind: what it belongs to.

        Raises:
            SecurityError: it is damaged.
        """
        known = self._known.get((kind, descriptor))
        if known is None:
            self.descriptors += 1
            known = tuple(self._judged(SecurityDescriptor.decode(descriptor), kind))
            size = len(descriptor) + sum(200 + 200 * len(grant.entries) for grant in known)
            self._known.keep((kind, descriptor), known, size)
        return known

    def _judged(self, descriptor: SecurityDescriptor, kind: ObjectKind) -> Iterator[Grant]:
        writing = WRITING[kind]
        aces = () if descriptor.dacl is None else descriptor.dacl.aces
        owner = descriptor.owner
        for sid in dict.fromkeys([EVERYONE, *(ace.sid for ace in aces), owner]):
            token = None if sid is None else self._accounts.get(sid) or token_of(sid)
            if sid is None or token is None:
                continue
            access = check_access(descriptor, token, kind)
            if access.has_no_dacl:
                if access.mask & writing and sid == EVERYONE:
                    yield Grant(sid, access.mask & writing, GrantReason.NO_DACL)
                continue
            giving = tuple(
                GivingEntry(_text(ace), bits & writing, bool(ace.flags & AceFlags.INHERITED))
                for ace, bits in access.by_entries
                if bits & writing and (ace.sid == sid or (ace.sid == OWNER_RIGHTS and owner == sid))
            )
            if giving:
                yield Grant(sid, sum(entry.mask for entry in giving), GrantReason.ENTRY, giving)
            if owner == sid and access.by_owner & writing:
                yield Grant(sid, access.by_owner & writing, GrantReason.OWNER)


def _text(ace: Ace) -> str:
    try:
        return ace_text(ace)
    except ValueError:
        return f"hex:{ace.encode().hex()}"
