"""Security as facts: the owner, who may do what in words, and the descriptor as SDDL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from wclayer.errors import LayerError, detail_of
from wclayer.explore.model.details import Fact, heading, line, warning
from wclayer.explore.model.metadata import hex_text

if TYPE_CHECKING:
    from wclayer.formats.regf.model import Key
    from wclayer.rights.explain import EffectiveRights, SecurityExplanation
    from wclayer.rights.kinds import ObjectKind
    from wclayer.rights.principals import AccountNames


class Accounts:
    """The names of the accounts and services of what is explored. They are read when they are first asked for.

    Args:
        find: returns the key of its registry at a path, or None.
    """

    def __init__(self, find: Callable[[str], Key | None]) -> None:
        self._find = find
        self._names: AccountNames | None = None
        self.problem = ""
        """Why names are missing; "" if none are, or if nobody has asked yet."""

    def names(self) -> AccountNames:
        """Returns the names, or as many of them as can be read."""
        if self._names is None:
            # Loaded when it is asked for, so that the first screen does not wait for it.
            from wclayer.rights.names_of_image import names_of_image
            from wclayer.rights.principals import AccountNames

            try:
                self._names, self.problem = names_of_image(self._find)
            except LayerError as error:
                self._names, self.problem = AccountNames(), f"the names of accounts are missing: {error}"
        return self._names


def security_facts(descriptor: bytes | None, kind: ObjectKind, accounts: Accounts | None) -> Iterator[Fact]:
    """Yields the owner and the group of a security descriptor, and all of it as SDDL.

    Args:
        descriptor: the self-relative descriptor; None if none is stored.
        kind: what it belongs to.
        accounts: the names of accounts; None for those alone that every Windows has.
    """
    yield heading("Security")
    try:
        told = _explained(descriptor, kind, accounts)
    except LayerError as error:
        yield warning(f"the security descriptor is damaged: {detail_of(error)}")
        yield Fact(hex_text(descriptor or b""), "data")
        return
    if told.sddl is None:
        yield from map(line, told.notes)
        return
    yield Fact("nobody" if told.owner is None else told.owner.text(with_sid=False), "owner")
    yield Fact("none" if told.group is None else told.group.text(with_sid=False), "group")
    yield Fact(told.sddl, "SDDL")


def rights_facts(descriptor: bytes | None, kind: ObjectKind, accounts: Accounts | None) -> Iterator[Fact]:
    """Yields in words who may do what. For the arguments, see `security_facts`, which tells of damage, too."""
    try:
        told = _explained(descriptor, kind, accounts)
    except LayerError:
        return
    if told.sddl is None:
        return
    yield heading("Who may do what")
    yield from (line(f"{number}. {entry}") for number, entry in enumerate(told.access, 1))
    if told.audit:
        yield heading("What is logged, and labels")
        yield from (line(f"{number}. {entry}") for number, entry in enumerate(told.audit, 1))
    yield heading("In the end")
    yield from map(line, _grouped(told.effective))
    yield from map(line, told.notes)
    if accounts is not None and accounts.problem:
        yield warning(accounts.problem)


def _explained(descriptor: bytes | None, kind: ObjectKind, accounts: Accounts | None) -> SecurityExplanation:
    from wclayer.rights.explain import explain_security

    return explain_security(descriptor, kind, None if accounts is None else accounts.names(), with_sids=False)


def _grouped(effective: Sequence[EffectiveRights]) -> Iterator[str]:
    """Yields what people may do, with those in one line who may do the same."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for each in effective:
        groups.setdefault(each.rights, []).append(each.who)
    for rights, who in groups.items():
        yield f"{', '.join(who)}: {', '.join(rights) or 'nothing'}"
