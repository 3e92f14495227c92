"""The access check: as Samba's, and where Samba has none, as the documents say."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.rights.descriptors import BITS, descriptors, samba_grants, tokens
from wclayer.rights.access import HIGH, LOW, MEDIUM, Token, check_access
from wclayer.rights.audited import AUDITED, EVERYONE, STANDARD_USER, token_of
from wclayer.rights.kinds import ObjectKind
from wclayer.win32.sddl import ace_text, from_sddl
from wclayer.win32.security import SecurityDescriptor
from wclayer.win32.sid import ADMINISTRATORS, ALIASES, USERS, Sid

FILE = ObjectKind.FILE
_USER = Token.of(USERS, EVERYONE)
_ALL = 0x1F01FF
_READ, _WRITE, _EXECUTE = 0x120089, 0x120116, 0x1200A0


def test_samba_gives_the_same_rights() -> None:
    questions: list[tuple[SecurityDescriptor, Token]] = []

    @given(descriptors, tokens)
    def collect(descriptor: SecurityDescriptor, token: Token) -> None:
        questions.append((descriptor, token))

    collect()
    answers = samba_grants(questions)
    assert len(answers) == len(questions) > 50
    for (descriptor, token), granted in zip(questions, answers, strict=True):
        assert check_access(descriptor, token, FILE).mask & sum(BITS) == granted, (descriptor, token)
    assert 0 < sum(answer == 0 for answer in answers) < len(answers)


@given(descriptors, tokens)
def test_each_right_has_one_reason(descriptor: SecurityDescriptor, token: Token) -> None:
    access = check_access(descriptor, token, FILE)
    if access.has_no_dacl:
        assert descriptor.dacl is None
        assert access.mask == _ALL
        return
    reasons = [access.by_owner, *(bits for _, bits in access.by_entries)]
    assert sum(reasons) == access.mask
    for ace, bits in access.by_entries:
        assert bits & ~FILE.mapped(ace.mask) == 0


def _granted(sddl: str, token: Token = _USER, kind: ObjectKind = FILE) -> int:
    return check_access(from_sddl(sddl), token, kind).mask


@pytest.mark.parametrize(
    ("sddl", "granted"),
    [
        ("O:BAD:(A;;FR;;;BU)(D;;FR;;;BU)", _READ),
        ("O:BAD:(D;;FR;;;WD)(A;;FA;;;BU)", _ALL & ~_READ),
        ("O:BAD:(D;;FW;;;BA)(A;;FR;;;BU)", _READ),
        ("O:BAD:(A;OICIIO;FA;;;BU)", 0),
        ("O:BUD:", 0x60000),
        ("O:BUD:(A;;FR;;;OW)", _READ),
        ("O:BUD:(D;;FA;;;WD)", 0x60000),
        ("O:BAD:NO_ACCESS_CONTROL", _ALL),
        ("O:BA", _ALL),
        ("O:BAD:(A;;GA;;;BU)", _ALL),
        ("O:BAD:(XA;;FR;;;BU;(#61727478))", _READ),
        ("O:BAD:(XD;;FR;;;BU;(#61727478))(A;;FR;;;BU)", _READ),
        ("O:BAD:(OA;;FR;bf967aba-0de6-11d0-a285-00aa003049e2;;BU)", 0),
        ("O:BAD:(OA;;FR;;;BU)", _READ),
    ],
)
def test_the_order_and_the_kind_of_entries(sddl: str, granted: int) -> None:
    assert _granted(sddl) == granted


@pytest.mark.parametrize(
    ("label", "level", "granted"),
    [
        ("", MEDIUM, _ALL),
        ("", LOW, _READ | _EXECUTE),
        ("S:(ML;;NW;;;LW)", LOW, _ALL),
        ("S:(ML;;NW;;;HI)", MEDIUM, _READ | _EXECUTE),
        ("S:(ML;;NW;;;HI)", HIGH, _ALL),
        ("S:(ML;;NWNR;;;HI)", MEDIUM, _EXECUTE),
        ("S:(ML;;NWNRNX;;;HI)", MEDIUM, 0),
        ("S:(ML;OICIIO;NW;;;HI)", MEDIUM, _ALL),
        ("S:(ML;;NX;;;HI)", MEDIUM, _ALL & ~(_EXECUTE & ~(_READ | _WRITE))),
    ],
)
def test_a_label_stands_above_the_dacl(label: str, level: int, granted: int) -> None:
    assert _granted(f"O:BUD:(A;;FA;;;WD){label}", Token(_USER.sids, level)) == granted


def test_keys_have_rights_of_their_own() -> None:
    assert _granted("O:BAD:(A;;GR;;;BU)", kind=ObjectKind.KEY) == 0x20019
    assert _granted("O:BAD:(A;;GW;;;BU)", kind=ObjectKind.KEY) == 0x20006
    assert _granted("O:BAD:(A;;GA;;;BU)", kind=ObjectKind.KEY) == 0xF003F


def test_the_entry_that_gives_a_right_is_known() -> None:
    descriptor = from_sddl("O:BAD:(A;;FR;;;WD)(A;;FA;;;BU)")
    access = check_access(descriptor, _USER, FILE)
    assert [(ace_text(ace), bits) for ace, bits in access.by_entries] == [
        ("(A;;FR;;;WD)", _READ), ("(A;;FA;;;BU)", _ALL & ~_READ),
    ]  # fmt: skip


def test_nobody_who_is_audited_is_an_administrator() -> None:
    for sid, token in AUDITED.items():
        assert ADMINISTRATORS not in token.sids
        assert sid in token.sids
        assert token_of(sid) is token
    assert token_of(ADMINISTRATORS) is None
    assert token_of(ALIASES["SY"]) is None
    assert token_of(Sid(5, (21, 1, 2, 3, 1001))) is None
    assert token_of(Sid(5, (21, 1, 2, 3, 513))) == Token.of(Sid(5, (21, 1, 2, 3, 513)), EVERYONE)
    assert AUDITED[USERS].sids <= STANDARD_USER.sids
