r"""Users: the accounts of the hive SAM, with their local groups, and the profiles that Windows has made.

Of an account, only what everybody may know is read: neither passwords nor their hashes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial

from wclayer.errors import FormatError
from wclayer.formats.regf.model import Key
from wclayer.formats.sam import (
    AccountFlags,
    parse_account_facts,
    parse_account_texts,
    parse_domain_sid,
    parse_group,
)
from wclayer.inventory.collectors.guarding import Found, each_subkey, guarded
from wclayer.inventory.collectors.key_values import KeyValues
from wclayer.inventory.item import Finding, Item, ItemKind, Property
from wclayer.inventory.subject.registry import SubjectRegistry
from wclayer.inventory.subject.subject import Subject
from wclayer.win32.accounts import CONTAINER_ADMINISTRATOR, CONTAINER_USER
from wclayer.win32.sid import ALIASES, LOCAL_SYSTEM, Sid

_DOMAINS = r"HKLM\SAM\SAM\Domains"
_ACCOUNTS = rf"{_DOMAINS}\Account"
_OWN_GROUPS = rf"{_ACCOUNTS}\Aliases"
_GROUPS = (rf"{_DOMAINS}\Builtin\Aliases", _OWN_GROUPS)
_NAMES = rf"{_ACCOUNTS}\Users\Names"
_PROFILES = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList"
_NOT_GROUPS = ("Names", "Members")
_KNOWN = {
    LOCAL_SYSTEM: "SYSTEM",
    ALIASES["LS"]: "LOCAL SERVICE",
    ALIASES["NS"]: "NETWORK SERVICE",
    CONTAINER_ADMINISTRATOR: "ContainerAdministrator",
    CONTAINER_USER: "ContainerUser",
}


def collect(subject: Subject) -> Found:
    """Yields the accounts, then the users that have only a profile. The property `source` is "account" or "profile"."""
    registry = subject.registry
    groups: defaultdict[Sid, list[str]] = defaultdict(list)
    for path in _GROUPS:
        yield from each_subkey(registry, path, partial(_add_members, groups))
    profiles: dict[Sid, tuple[str, str]] = {}
    yield from each_subkey(registry, _PROFILES, partial(_add_profile, profiles))
    yield from guarded(_ACCOUNTS, _accounts, registry, groups, profiles)
    for sid, (path, folder) in profiles.items():
        name = _KNOWN.get(sid) or folder.rstrip("\\").rpartition("\\")[2] or str(sid)
        properties = _properties("profile", sid, groups, folder)
        yield Item(ItemKind.USER, name, "", registry.origin(path), "", properties)


def _add_members(groups: defaultdict[Sid, list[str]], path: str, key: Key) -> Iterable[Finding]:
    """Adds the members of a group to what is known."""
    if key.name not in _NOT_GROUPS:
        group = parse_group(_data(KeyValues(key), "C"))
        for member in group.members:
            groups[member].append(group.name)
    return ()


def _add_profile(profiles: dict[Sid, tuple[str, str]], path: str, key: Key) -> Iterable[Finding]:
    """Adds a profile to those that are known: its key and its folder."""
    # Windows renames the key of a profile that it could not load: S-1-….bak
    with suppress(ValueError):
        profiles[Sid.parse(key.name)] = path, KeyValues(key).text("ProfileImagePath")
    return ()


def _accounts(
    registry: SubjectRegistry, groups: Mapping[Sid, list[str]], profiles: dict[Sid, tuple[str, str]]
) -> Found:
    if registry.find(_NAMES) is None:
        return
    machine = _machine_sid(registry.find)

    def account(path: str, key: Key) -> Iterator[Item]:
        rid = _number(key)
        values = KeyValues(registry.find(rf"{_ACCOUNTS}\Users\{rid:08X}"))
        facts, texts = parse_account_facts(_data(values, "F")), parse_account_texts(_data(values, "V"))
        sid = Sid(machine.authority, (*machine.sub_authorities, rid))
        properties = _properties("account", sid, groups, profiles.pop(sid, ("", ""))[1])
        properties |= {
            "is_disabled": bool(facts.flags & AccountFlags.DISABLED),
            "is_password_required": not facts.flags & AccountFlags.PASSWORD_NOT_REQUIRED,
            "password_expires": not facts.flags & AccountFlags.PASSWORD_NEVER_EXPIRES,
        }
        properties |= {
            name: text for name, text in (("full_name", texts.full_name), ("comment", texts.comment)) if text
        }
        yield Item(ItemKind.USER, key.name, "", registry.origin(path), "", properties)

    yield from each_subkey(registry, _NAMES, account)


def account_names(find: Callable[[str], Key | None]) -> dict[Sid, str]:
    """Returns the names of the accounts and of the groups that only this machine has.

    Args:
        find: returns the key at a path, or None.

    Raises:
        FormatError, InvalidDataError: the registry is damaged.
    """
    users, groups = find(_NAMES), find(_OWN_GROUPS)
    if users is None and groups is None:
        return {}
    machine = _machine_sid(find)
    named = [(_number(key), key.name) for key in (() if users is None else users.subkeys())]
    for key in () if groups is None else groups.subkeys():
        if key.name not in _NOT_GROUPS:
            group = parse_group(_data(KeyValues(key), "C"))
            named.append((group.rid, group.name))
    return {Sid(machine.authority, (*machine.sub_authorities, rid)): name for rid, name in named}


def _machine_sid(find: Callable[[str], Key | None]) -> Sid:
    return parse_domain_sid(_data(KeyValues(find(_ACCOUNTS)), "V"))


def _number(account: Key) -> int:
    """Returns the number of an account by the key of its name."""
    default = KeyValues(account).value("")
    if default is None:
        raise FormatError("the account has no number: its key has no default value")
    # It is where other values have their type.
    return default.type


def _properties(source: str, sid: Sid, groups: Mapping[Sid, list[str]], profile: str) -> dict[str, Property]:
    properties: dict[str, Property] = {"source": source, "sid": str(sid), "groups": list(groups.get(sid, ()))}
    if profile:
        properties["profile"] = profile
    return properties


def _data(values: KeyValues, name: str) -> bytes:
    value = values.value(name)
    if value is None:
        raise FormatError(f"the value {name} is missing")
    return value.data
