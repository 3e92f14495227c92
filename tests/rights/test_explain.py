"""Security descriptors in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wclayer
from tests.rights.descriptors import descriptors
from wclayer.rights.access import Token, check_access
from wclayer.rights.audited import STANDARD_USER
from wclayer.rights.explain import explain_security
from wclayer.rights.kinds import ObjectKind
from wclayer.rights.principals import AccountNames, capability_sid
from wclayer.win32.accounts import account_name, account_sid, virtual_account_sid
from wclayer.win32.sddl import from_sddl
from wclayer.win32.security import SecurityDescriptor
from wclayer.win32.sid import ALIASES, Sid

_ROOT = "O:BAG:SYD:P(A;OICI;FA;;;SY)(A;OICI;0x1200a9;;;BU)(A;CI;LC;;;BU)(A;CIIO;DC;;;BU)(A;OICIIO;GA;;;CO)"


def _told(sddl: str, kind: ObjectKind = ObjectKind.DIRECTORY, names: AccountNames | None = None) -> list[str]:
    return list(explain_security(from_sddl(sddl).encode(), kind, names).lines())


def test_a_descriptor_of_windows_in_words() -> None:
    assert _told(_ROOT) == [
        f"SDDL: {_ROOT}",
        "Owner: BUILTIN\\Administrators (S-1-5-32-544)",
        "Group: NT AUTHORITY\\SYSTEM (S-1-5-18)",
        "Who may do what:",
        "  1. NT AUTHORITY\\SYSTEM (S-1-5-18) may do everything (full control)"
        " [this folder, subfolders and files; own]",
        "  2. BUILTIN\\Users (S-1-5-32-545) may read and execute [this folder, subfolders and files; own]",
        "  3. BUILTIN\\Users (S-1-5-32-545) may create folders [this folder and subfolders; own]",
        "  4. BUILTIN\\Users (S-1-5-32-545) may create files [subfolders only; own]",
        "  5. CREATOR OWNER (S-1-3-0) may do everything (full control) [subfolders and files only; own]",
        "In the end:",
        "  Everyone: nothing",
        "  Authenticated Users: nothing",
        "  a standard user: read and execute, create folders",
        "  an administrator: read and execute, create folders, change permissions",
        "  SYSTEM: full control",
        "It is protected: it inherits nothing from the directory above it.",
        "The owner may always read and change its permissions.",
    ]


def test_sentences_may_leave_out_the_sids_of_those_that_have_names() -> None:
    descriptor = from_sddl("O:BAG:SYD:(A;;FR;;;BU)(A;;FR;;;S-1-5-21-1-2-3-1001)").encode()
    told = explain_security(descriptor, ObjectKind.FILE, with_sids=False)
    assert [entry.text for entry in told.access] == [
        "BUILTIN\\Users may read",
        "an account of a machine or a domain, whose name is not known (S-1-5-21-1-2-3-1001) may read",
    ]


@pytest.mark.parametrize(
    ("sddl", "kind", "line"),
    [
        ("D:(D;ID;FA;;;WD)", "file", "  1. Everyone (S-1-1-0) may not do everything (full control)"
         " [this file; inherited]"),
        ("D:(A;CINP;KA;;;BA)", "key", "  1. BUILTIN\\Administrators (S-1-5-32-544) may do everything (full control)"
         " [this key and subkeys, one level deep; own]"),
        ("D:(A;;CCDC;;;BU)", "key", "  1. BUILTIN\\Users (S-1-5-32-545) may query values, set values"
         " [this key only; own]"),
        ("D:(A;;0x80000000;;;BU)", "key", "  1. BUILTIN\\Users (S-1-5-32-545) may read [this key only; own]"),
        ("D:(A;;0x1301bf;;;BU)", "file", "  1. BUILTIN\\Users (S-1-5-32-545) may modify [this file; own]"),
        ("S:(AU;SAFA;FW;;;WD)", "file", "  1. it is logged if Everyone (S-1-1-0) succeeds or fails to do this: write,"
         " read permissions [this file; own]"),
        ("S:(ML;OICI;NWNR;;;HI)", "directory", "  1. its integrity level is High: who has a lower one may not write,"
         " read [this folder, subfolders and files; own]"),
        ("D:(XA;;FR;;;WD;(#61727478))", "file", "  1. Everyone (S-1-1-0) may read, if a condition holds, which is not"
         " looked into [this file; own]"),
        ("S:(TL;;FR;;;S-1-19-512-4096)", "file", "  1. processes that are less protected may not do more than: a"
         " protected process (S-1-19-512-4096): read [this file; own]"),
        ("D:NO_ACCESS_CONTROL", "file", "It has no DACL: everyone may do everything with it."),
        ("D:", "file", "Its DACL is empty: nobody may do anything, but the owner may change its permissions."),
        ("O:BAD:(A;;FR;;;OW)", "file", "OWNER RIGHTS says what the owner may do: it cannot change permissions unless an"
         " entry allows it."),
        ("S:(ML;OICIIO;NW;;;HI)", "directory", "Its label is for what lies below it; it has none itself, which means"
         " Medium."),
    ],
)  # fmt: skip
def test_what_an_entry_means(sddl: str, kind: str, line: str) -> None:
    assert line in _told(sddl, ObjectKind(kind))


@pytest.mark.parametrize(
    ("sddl", "is_usual"),
    [
        ("D:(D;;FA;;;WD)(A;;FA;;;BA)(A;ID;FA;;;SY)", True),
        ("D:(D;;FA;;;WD)(A;;FA;;;BA)(D;ID;FA;;;SY)(A;ID;FA;;;SY)", True),
        ("D:(A;;FA;;;BA)(D;;FA;;;WD)", False),
        ("D:(A;ID;FA;;;BA)(A;;FA;;;WD)", False),
    ],
)
def test_another_order_than_the_usual_one_is_told(sddl: str, is_usual: bool) -> None:
    assert any("not in the usual order" in line for line in _told(sddl)) is not is_usual


def test_a_missing_descriptor_is_told_and_a_damaged_one_is_an_error() -> None:
    (line,) = explain_security(None, ObjectKind.FILE).lines()
    assert "no descriptor" in line
    with pytest.raises(wclayer.InvalidDataError, match="security descriptor"):
        explain_security(b"\1\2", ObjectKind.FILE)


@given(descriptors, st.sampled_from(list(ObjectKind)))
def test_every_descriptor_has_its_words(descriptor: SecurityDescriptor, kind: ObjectKind) -> None:
    told = explain_security(descriptor.encode(), kind)
    assert len(told.access) == (0 if descriptor.dacl is None else len(descriptor.dacl.aces))
    user = next(each for each in told.effective if each.who == "a standard user")
    assert user.rights == kind.words(check_access(descriptor, STANDARD_USER, kind).mask)
    assert all(entry.rights for entry in told.access)
    assert told.to_json()["security"] == told.sddl


@given(st.binary(max_size=120))
def test_arbitrary_bytes_are_explained_or_refused(data: bytes) -> None:
    for prefix in (b"", b"\x01\x00\x14\x80" + bytes(16)):
        try:
            assert list(explain_security(prefix + data, ObjectKind.FILE).lines())
        except wclayer.InvalidDataError as error:
            assert str(error)


@given(st.integers(0, 0xFFFF_FFFF), st.sampled_from(list(ObjectKind)))
def test_no_right_is_lost_in_words(mask: int, kind: ObjectKind) -> None:
    words = kind.words(mask)
    assert bool(words) == bool(mask)
    assert len(set(words)) == len(words)
    if mask:
        # Each bit that is taken away changes the words, but that to wait, which is part of every right.
        bit = 1 << (kind.mapped(mask).bit_length() - 1)
        assert bit == 0x100000 or kind.words(kind.mapped(mask) & ~bit) != words


@pytest.mark.parametrize(
    ("sid", "name"),
    [
        ("S-1-5-21-1-2-3-1001", "an account of a machine or a domain, whose name is not known"),
        ("S-1-5-21-1-2-3-500", "Administrator of a machine or a domain"),
        ("S-1-5-80-1-2-3-4-5", "a service whose name is not known"),
        ("S-1-5-82-1-2-3-4-5", "an application pool of IIS"),
        ("S-1-5-83-1-1-2-3-4", "a virtual machine"),
        ("S-1-5-5-0-1234", "a logon session"),
        ("S-1-5-64-10", "logons by NTLM"),
        ("S-1-5-90-0-1", "a window manager"),
        ("S-1-15-2-1", "APPLICATION PACKAGE AUTHORITY\\ALL APPLICATION PACKAGES"),
        ("S-1-15-2-1-2-3-4-5-6-7", "an app in an AppContainer"),
        ("S-1-15-3-1", "apps with the capability internetClient"),
        ("S-1-15-3-4096", "apps with a capability"),
        ("S-1-15-3-1024-1065365936-1281604716-3511738428-1654721687-432734479-3232135806-4053264122-3456934681",
         "apps with the capability registryRead"),
        ("S-1-15-3-1024-1-2-3-4-5-6-7-8", "apps with a capability"),
        ("S-1-16-8192", "integrity level Medium"),
        ("S-1-18-1", "an identity that the authentication authority asserts"),
        ("S-1-5-93-2-2", "User Manager\\ContainerUser"),
        ("S-1-0-0", "an unknown SID"),
        ("S-1-99-1", "an unknown SID"),
        ("S-1-5", "an unknown SID"),
    ],
)  # fmt: skip
def test_who_a_sid_is(sid: str, name: str) -> None:
    assert AccountNames().principal(Sid.parse(sid)).name == name


def test_the_names_of_an_image() -> None:
    own = Sid(5, (21, 1, 2, 3, 1001))
    names = AccountNames({own: "app"}, ["W3SVC"])
    assert str(names.principal(own)) == "app (S-1-5-21-1-2-3-1001)"
    service = names.principal(virtual_account_sid(80, "W3SVC"))
    assert (service.name, service.is_named) == ("NT SERVICE\\W3SVC", True)


def test_a_name_is_that_of_the_account_which_it_names() -> None:
    for sid in {*ALIASES.values(), Sid(5, (93, 2, 1)), Sid(2, (0,))}:
        if (name := account_name(sid)) is not None:
            assert account_sid(name) == sid
    assert account_name(ALIASES["BU"]) == "BUILTIN\\Users"
    assert account_name(Sid(5, (21, 1))) is None


def test_a_capability_has_the_sid_that_windows_gives_it() -> None:
    # It is in the descriptors of nearly all keys of a registry.
    assert str(capability_sid("registryRead")).endswith("-432734479-3232135806-4053264122-3456934681")


def test_effective_rights_of_another_owner() -> None:
    told = explain_security(from_sddl("O:S-1-5-21-1-2-3-1001D:(A;;FR;;;BU)").encode(), ObjectKind.FILE)
    last = told.effective[-1]
    assert last.who.startswith("the owner, an account")
    assert last.rights == ("read", "change permissions")
    assert check_access(from_sddl("D:(A;;FR;;;BU)"), Token.of(ALIASES["WD"]), ObjectKind.FILE).mask == 0
