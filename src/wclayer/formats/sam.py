r"""The binary values of the hive SAM: facts of accounts, their texts, and the members of groups. Never hashes.

Sources: [MS-SAMR] section 2.2.1.12 (flags of accounts); the offsets are those that winreg-kb documents ("Security
Accounts Manager (SAM) keys"). All numbers are little-endian.
"""

from __future__ import annotations

from enum import IntFlag
from struct import Struct
from typing import NamedTuple

from wclayer.errors import FormatError
from wclayer.win32.sid import Sid

_USER_FACTS = Struct("<8xQ8xQQQI4xH")
_PART = Struct("<II4x")
"""Of the value `V` of an account: where a part is, and its size."""
_PARTS = 17
_PARTS_END = _PARTS * _PART.size
_FULL_NAME, _COMMENT = 2, 3
_GROUP = Struct("<I12xII4xII4xIII")
_DOMAIN_SID_SIZE = 24
_MAX_MEMBERS = 10_000


class AccountFlags(IntFlag):
    """USER_ACCOUNT codes, as far as they are used here."""

    DISABLED = 0x0001
    PASSWORD_NOT_REQUIRED = 0x0004
    PASSWORD_NEVER_EXPIRES = 0x0200


class AccountFacts(NamedTuple):
    """The value `F` of an account. Times are FILETIMEs; 0 is never."""

    last_logon: int
    password_set: int
    expires: int
    last_failure: int
    rid: int
    flags: int


class AccountTexts(NamedTuple):
    """The texts of the value `V` of an account."""

    full_name: str
    comment: str


class Group(NamedTuple):
    """The value `C` of a local group."""

    rid: int
    name: str
    comment: str
    members: tuple[Sid, ...]


class _GroupHeader(NamedTuple):
    """`_GROUP`, unpacked. Places count from its end."""

    rid: int
    name_place: int
    name_size: int
    comment_place: int
    comment_size: int
    members_place: int
    members_size: int
    member_count: int


def parse_account_facts(data: bytes) -> AccountFacts:
    """Returns the facts of an account.

    Raises:
        FormatError: the value is too short.
    """
    if len(data) < _USER_FACTS.size:
        raise FormatError(f"the value F of an account has {len(data)} bytes")
    return AccountFacts._make(_USER_FACTS.unpack_from(data))


def parse_account_texts(data: bytes) -> AccountTexts:
    """Returns the texts of an account.

    Raises:
        FormatError: the value is too short, or a part lies outside of it.
    """
    if len(data) < _PARTS_END:
        raise FormatError(f"the value V of an account has {len(data)} bytes")

    def text(part: int) -> str:
        place, size = _PART.unpack_from(data, part * _PART.size)
        return _text(data, _PARTS_END + place, size)

    return AccountTexts(text(_FULL_NAME), text(_COMMENT))


def parse_group(data: bytes) -> Group:
    """Returns a local group.

    Raises:
        FormatError: the value is too short, a part lies outside of it, or a member is no SID.
    """
    if len(data) < _GROUP.size:
        raise FormatError(f"the value C of a group has {len(data)} bytes")
    header = _GroupHeader._make(_GROUP.unpack_from(data))
    if header.member_count > _MAX_MEMBERS:
        raise FormatError(f"a group has {header.member_count} members, more than {_MAX_MEMBERS}")
    members: list[Sid] = []
    place = _GROUP.size + header.members_place
    for _ in range(header.member_count):
        members.append(Sid.decode(data, place))
        place += members[-1].size
    return Group(
        header.rid,
        _text(data, _GROUP.size + header.name_place, header.name_size),
        _text(data, _GROUP.size + header.comment_place, header.comment_size),
        tuple(members),
    )


def parse_domain_sid(data: bytes) -> Sid:
    """Returns the SID of the machine, with which the value `V` of the key `Account` ends.

    Raises:
        FormatError: it does not.
    """
    if len(data) < _DOMAIN_SID_SIZE:
        raise FormatError(f"the value V of the domain has {len(data)} bytes")
    return Sid.decode(data, len(data) - _DOMAIN_SID_SIZE)


def _text(data: bytes, place: int, size: int) -> str:
    if place + size > len(data):
        raise FormatError(f"a text of {size} bytes at {place} lies outside of a value of {len(data)} bytes")
    return data[place : place + (size & ~1)].decode("utf-16-le", "replace")
