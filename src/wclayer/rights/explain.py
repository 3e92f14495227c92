"""`explain_security`: a security descriptor in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from wclayer.errors import during
from wclayer.rights.access import (
    ALLOWING,
    CONDITIONAL,
    DENYING,
    NO_EXECUTE_UP,
    NO_READ_UP,
    NO_WRITE_UP,
    OWNER_RIGHTS,
    Token,
    check_access,
    label_of,
)
from wclayer.rights.audited import ADMINISTRATOR, AUDITED, AUTHENTICATED, EVERYONE, STANDARD_USER, SYSTEM_ACCOUNT
from wclayer.rights.kinds import ObjectKind
from wclayer.rights.principals import AccountNames, Principal, level_name
from wclayer.win32.sddl import ace_text, security_text
from wclayer.win32.security import Ace, AceFlags, AceType, Acl, Control, SecurityDescriptor
from wclayer.win32.sid import Sid

_AUDITING = frozenset({
    AceType.SYSTEM_AUDIT, AceType.SYSTEM_AUDIT_OBJECT, AceType.SYSTEM_AUDIT_CALLBACK,
    AceType.SYSTEM_AUDIT_CALLBACK_OBJECT, AceType.SYSTEM_ALARM, AceType.SYSTEM_ALARM_OBJECT,
    AceType.SYSTEM_ALARM_CALLBACK, AceType.SYSTEM_ALARM_CALLBACK_OBJECT,
})  # fmt: skip
_OTHER_TYPES = {
    AceType.SYSTEM_RESOURCE_ATTRIBUTE: "a property of it, for conditions",
    AceType.SYSTEM_SCOPED_POLICY_ID: "a central access policy holds for it",
    AceType.SYSTEM_PROCESS_TRUST_LABEL: "processes that are less protected may not do more than",
    AceType.SYSTEM_ACCESS_FILTER: "a filter of accesses",
}
_WHO = (
    ("Everyone", AUDITED[EVERYONE]),
    ("Authenticated Users", AUDITED[AUTHENTICATED]),
    ("a standard user", STANDARD_USER),
    ("an administrator", ADMINISTRATOR),
    ("SYSTEM", SYSTEM_ACCOUNT),
)
_PLACES = {
    ObjectKind.DIRECTORY: ("this folder", "subfolders", "files"),
    ObjectKind.KEY: ("this key", "subkeys", ""),
    ObjectKind.FILE: ("this file", "", ""),
}


@dataclass(frozen=True, slots=True)
class ExplainedAce:
    """An entry of a DACL or a SACL in words.

    Attributes:
        who: whom it is about; None if the type of the entry is unknown.
        text: what it says, as a sentence without a full stop.
        rights: its rights.
        applies_to: what it holds for: "this folder, subfolders and files".
        is_inherited: True if it comes from above, False if it is the object's own.
        sddl: the entry as SDDL; "" if SDDL cannot express it.
    """

    who: Principal | None
    text: str
    rights: tuple[str, ...]
    applies_to: str
    is_inherited: bool
    sddl: str

    def __str__(self) -> str:
        return f"{self.text} [{self.applies_to}; {'inherited' if self.is_inherited else 'own'}]"

    def to_json(self) -> dict[str, Any]:
        """Returns the entry for JSON."""
        return {
            "who": None if self.who is None else {"sid": self.who.sid, "name": self.who.name},
            "text": self.text, "rights": list(self.rights), "applies_to": self.applies_to,
            "is_inherited": self.is_inherited, "sddl": self.sddl or None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class EffectiveRights:
    """What somebody may do in the end.

    Attributes:
        who: "Everyone", "a standard user", …
        rights: the rights in words; empty if there are none.
    """

    who: str
    rights: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.who}: {', '.join(self.rights) or 'nothing'}"


@dataclass(frozen=True, slots=True)
class SecurityExplanation:
    """A security descriptor in words.

    Attributes:
        kind: what it belongs to.
        sddl: the descriptor as SDDL, or in hexadecimal if SDDL cannot express it; None if there is no descriptor.
        owner, group: its owner and group; None if it has none.
        access: the entries of its DACL, in their order: the first one that speaks of a right decides.
        audit: the entries of its SACL.
        effective: what some people may do in the end.
        notes: what else matters, as sentences.
    """

    kind: ObjectKind
    sddl: str | None
    owner: Principal | None
    group: Principal | None
    access: tuple[ExplainedAce, ...]
    audit: tuple[ExplainedAce, ...]
    effective: tuple[EffectiveRights, ...]
    notes: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Yields the explanation as lines of text."""
        if self.sddl is not None:
            yield f"SDDL: {self.sddl}"
            yield f"Owner: {self.owner or 'nobody'}"
            yield f"Group: {self.group or 'none'}"
        for title, entries in (("Who may do what:", self.access), ("What is logged, and labels:", self.audit)):
            if entries:
                yield title
                yield from (f"  {number}. {entry}" for number, entry in enumerate(entries, 1))
        if self.effective:
            yield "In the end:"
            yield from (f"  {each}" for each in self.effective)
        yield from self.notes

    def to_json(self) -> dict[str, Any]:
        """Returns the explanation for JSON."""
        return {
            "kind": str(self.kind), "security": self.sddl,
            "owner": None if self.owner is None else {"sid": self.owner.sid, "name": self.owner.name},
            "group": None if self.group is None else {"sid": self.group.sid, "name": self.group.name},
            "access": [entry.to_json() for entry in self.access],
            "audit": [entry.to_json() for entry in self.audit],
            "effective": [{"who": each.who, "rights": list(each.rights)} for each in self.effective],
            "notes": list(self.notes),
        }  # fmt: skip


@during("explain security")
def explain_security(
    descriptor: bytes | None, kind: ObjectKind, names: AccountNames | None = None, *, with_sids: bool = True
) -> SecurityExplanation:
    """Returns a security descriptor in plain words: who may do what, on what, and what that means in the end.

    Args:
        descriptor: the self-relative descriptor; None if a layer has none for the entry.
        kind: what it belongs to, because the same right means another thing for a file, a directory and a key.
        names: the names of the accounts and services of the image; by default only those that every Windows has.
        with_sids: whether each sentence has the SID behind the name. Who has no name is told with the SID in any case.

    Raises:
        InvalidDataError: the descriptor is damaged.
    """
    if descriptor is None:
        note = "The layer has no descriptor for it: Windows gives it one when the layer is used, by what is above it."
        return SecurityExplanation(kind, None, None, None, (), (), (), (note,))
    parsed = SecurityDescriptor.decode(descriptor)
    told = _Explainer(kind, names or AccountNames(), with_sids)
    return SecurityExplanation(
        kind,
        security_text(descriptor),
        None if parsed.owner is None else told.principal(parsed.owner),
        None if parsed.group is None else told.principal(parsed.group),
        tuple(told.entries(parsed.dacl)),
        tuple(told.entries(parsed.sacl)),
        tuple(told.effective(parsed)),
        tuple(_notes(parsed, kind)),
    )


class _Explainer:
    """Makes the parts of an explanation.

    Args:
        kind: what the descriptor belongs to.
        names: the names of SIDs.
        with_sids: whether sentences have the SIDs of those that have names.
    """

    def __init__(self, kind: ObjectKind, names: AccountNames, with_sids: bool) -> None:
        self._kind = kind
        self._names = names
        self._with_sids = with_sids

    def principal(self, sid: Sid) -> Principal:
        """Returns who a SID is."""
        return self._names.principal(sid)

    def entries(self, acl: Acl | None) -> Iterator[ExplainedAce]:
        """Yields the entries of an ACL in words."""
        for ace in () if acl is None else acl.aces:
            who = None if ace.sid is None else self.principal(ace.sid)
            is_label = ace.type == AceType.SYSTEM_MANDATORY_LABEL
            rights = _label_words(ace.mask) if is_label else self._kind.words(ace.mask)
            try:
                sddl = ace_text(ace)
            except ValueError:
                sddl = ""
            inherited = bool(ace.flags & AceFlags.INHERITED)
            yield ExplainedAce(who, self._sentence(ace, who, rights), rights, self._place(ace.flags), inherited, sddl)

    def _sentence(self, ace: Ace, principal: Principal | None, rights: Sequence[str]) -> str:
        if principal is None:
            return f"an entry of the unknown type {ace.type:#x}, which Windows ignores"
        who = principal.text(with_sid=self._with_sids)
        what = ", ".join(rights) or "nothing"
        if ace.type in ALLOWING:
            text = f"{who} may {_as_verbs(what)}"
        elif ace.type in DENYING:
            text = f"{who} may not {_as_verbs(what)}"
        elif ace.type in _AUDITING:
            text = f"it is logged if {who} {_outcomes(ace.flags)}: {what}"
        elif ace.type == AceType.SYSTEM_MANDATORY_LABEL and ace.sid is not None:
            level = level_name(ace.sid.sub_authorities[0]) if ace.sid.sub_authorities else "unknown"
            text = f"its integrity level is {level}: who has a lower one may not {_as_verbs(what)}"
        else:
            text = f"{_OTHER_TYPES.get(AceType(ace.type), 'another entry')}: {who}: {what}"
        if ace.type in CONDITIONAL:
            text += ", if a condition holds, which is not looked into"
        if ace.object_type is not None:
            text += f", of its part {ace.object_type} alone, which says nothing of a {self._kind}"
        return text

    def _place(self, flags: int) -> str:
        this, containers, objects = _PLACES[self._kind]
        parts = [] if flags & AceFlags.INHERIT_ONLY else [this]
        if flags & AceFlags.CONTAINER_INHERIT and containers:
            parts.append(containers)
        if flags & AceFlags.OBJECT_INHERIT and objects:
            parts.append(objects)
        is_own = not flags & AceFlags.INHERIT_ONLY
        is_for_others = len(parts) > is_own
        text = " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:]))) or "nothing"
        if containers and parts and is_own != is_for_others:
            text += " only"
        if is_for_others and flags & AceFlags.NO_PROPAGATE_INHERIT:
            text += ", one level deep"
        return text

    def effective(self, descriptor: SecurityDescriptor) -> Iterator[EffectiveRights]:
        """Yields what some people may do in the end."""
        who: list[tuple[str, Token]] = list(_WHO)
        owner = descriptor.owner
        if owner is not None and not any(owner in token.sids for _, token in who):
            name = f"the owner, {self.principal(owner).name}"
            who.append((name, Token(STANDARD_USER.sids | {owner})))
        for name, token in who:
            yield EffectiveRights(name, self._kind.words(check_access(descriptor, token, self._kind).mask))


def _as_verbs(what: str) -> str:
    return f"do everything ({what})" if what == "full control" else what


def _outcomes(flags: int) -> str:
    outcomes = [
        word
        for bit, word in ((AceFlags.SUCCESSFUL_ACCESS, "succeeds"), (AceFlags.FAILED_ACCESS, "fails"))
        if flags & bit
    ]
    return f"{' or '.join(outcomes)} to do this" if outcomes else "does this, but neither success nor failure is meant"


def _label_words(mask: int) -> tuple[str, ...]:
    words = ((NO_WRITE_UP, "write"), (NO_READ_UP, "read"), (NO_EXECUTE_UP, "execute"))
    return tuple(word for bit, word in words if mask & bit)


def _notes(descriptor: SecurityDescriptor, kind: ObjectKind) -> Iterator[str]:
    what = "key" if kind is ObjectKind.KEY else "directory"
    dacl = descriptor.dacl
    if dacl is None:
        yield "It has no DACL: everyone may do everything with it."
    elif not dacl.aces:
        yield "Its DACL is empty: nobody may do anything, but the owner may change its permissions."
    if descriptor.control & Control.DACL_PROTECTED:
        yield f"It is protected: it inherits nothing from the {what} above it."
    if dacl is not None and dacl.aces:
        has_owner_rights = any(ace.sid == OWNER_RIGHTS and not ace.flags & AceFlags.INHERIT_ONLY for ace in dacl.aces)
        if has_owner_rights:
            yield "OWNER RIGHTS says what the owner may do: it cannot change permissions unless an entry allows it."
        elif descriptor.owner is not None:
            yield "The owner may always read and change its permissions."
        if not _is_in_usual_order(dacl):
            yield (
                "Its entries are not in the usual order (own before inherited ones, denials first): the first entry"
                " that speaks of a right decides, so that a later denial may be without effect."
            )
    if label_of(descriptor) is None and descriptor.sacl is not None and any(map(_is_any_label, descriptor.sacl.aces)):
        yield "Its label is for what lies below it; it has none itself, which means Medium."


def _is_any_label(ace: Ace) -> bool:
    return ace.type == AceType.SYSTEM_MANDATORY_LABEL


def _is_in_usual_order(dacl: Acl) -> bool:
    own = [ace.type in ALLOWING for ace in dacl.aces if not ace.flags & AceFlags.INHERITED]
    inherited = [bool(ace.flags & AceFlags.INHERITED) for ace in dacl.aces]
    return own == sorted(own) and inherited == sorted(inherited)
