"""Users: accounts of a hive SAM, which regipy reads the same, their groups, and profiles."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from regipy.plugins.sam.local_sid import LocalSidPlugin
from regipy.plugins.sam.samparse import SAMParsePlugin

import wclayer
from tests.formats.regf.support import regipy_hive
from tests.inventory.subjects import Keys, base, hive, items, rows
from wclayer.errors import FormatError
from wclayer.formats.sam import parse_account_facts, parse_account_texts, parse_domain_sid, parse_group
from wclayer.win32.sid import Sid

_ACCOUNT = r"HKLM\SAM\SAM\Domains\Account"
_BUILTIN = r"HKLM\SAM\SAM\Domains\Builtin\Aliases"
_PROFILES = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList"
_MACHINE = "S-1-5-21-11-22-33"


def facts(rid: int, flags: int) -> bytes:
    """A value F: 80 bytes, with the number at 48 and the flags at 56."""
    data = bytearray(80)
    struct.pack_into("<I4xH", data, 48, rid, flags)
    return bytes(data)


def texts(*parts: str) -> bytes:
    """A value V: 17 descriptors, the second one of which is the name's."""
    heads, contents = b"", b""
    for number in range(17):
        raw = parts[number - 1].encode("utf-16-le") if 0 < number <= len(parts) else b""
        heads += struct.pack("<III", len(contents), len(raw), 0)
        contents += raw
    return heads + contents


def group(rid: int, name: str, *members: str) -> bytes:
    """A value C: a header of 52 bytes, then the name and the members."""
    raw, sids = name.encode("utf-16-le"), b"".join(Sid.parse(member).encode() for member in members)
    head = struct.pack("<I12x", rid) + struct.pack("<II4x", 0, len(raw)) + struct.pack("<II4x", len(raw), 0)
    return head + struct.pack("<III", len(raw), len(sids), len(members)) + raw + sids


def accounts() -> Keys:
    """The keys of two accounts and two groups."""
    return {
        _ACCOUNT: {"V": bytes(64) + Sid.parse(_MACHINE).encode()},
        rf"{_ACCOUNT}\Users\000001F4": {
            "F": facts(500, 0x211), "V": texts("Administrator", "", "Built-in account"),
        },
        rf"{_ACCOUNT}\Users\000003E9": {"F": facts(1001, 0x14), "V": texts("app", "The application")},
        rf"{_ACCOUNT}\Users\Names\Administrator": {"": (500, b"")},
        rf"{_ACCOUNT}\Users\Names\app": {"": (1001, b"")},
        rf"{_BUILTIN}\00000220": {"C": group(544, "Administrators", f"{_MACHINE}-500", "S-1-5-93-2-1")},
        rf"{_BUILTIN}\00000221": {"C": group(545, "Users", "S-1-5-11", f"{_MACHINE}-1001")},
        rf"{_BUILTIN}\Names\Users": {"": (545, b"")},
        rf"{_BUILTIN}\Members": {},
    }  # fmt: skip


def test_accounts_and_profiles_have_numbers_flags_and_groups(tmp_path: Path) -> None:
    keys = {
        **accounts(),
        rf"{_PROFILES}\{_MACHINE}-1001": {"ProfileImagePath": r"C:\Users\app"},
        rf"{_PROFILES}\S-1-5-18": {"ProfileImagePath": r"%systemroot%\system32\config\systemprofile"},
        rf"{_PROFILES}\S-1-5-93-2-1": {"ProfileImagePath": r"C:\Users\ContainerAdministrator"},
        rf"{_PROFILES}\S-1-5-82-1-2-3-4-5": {"ProfileImagePath": r"C:\Users\DefaultAppPool"},
        rf"{_PROFILES}\S-1-5-21-9-9-9-9.bak": {"ProfileImagePath": r"C:\Users\old"},
    }
    found = wclayer.take_inventory(base(tmp_path, keys), files=False)
    assert found.findings == ()
    assert rows(found, "user", "source", "sid", "groups", "profile") == [
        ("Administrator", "", 1, "account", f"{_MACHINE}-500", ["Administrators"], None),
        ("app", "", 1, "account", f"{_MACHINE}-1001", ["Users"], r"C:\Users\app"),
        ("SYSTEM", "", 1, "profile", "S-1-5-18", [], r"%systemroot%\system32\config\systemprofile"),
        ("DefaultAppPool", "", 1, "profile", "S-1-5-82-1-2-3-4-5", [], r"C:\Users\DefaultAppPool"),
        ("ContainerAdministrator", "", 1, "profile", "S-1-5-93-2-1", ["Administrators"],
         r"C:\Users\ContainerAdministrator"),
    ]  # fmt: skip
    assert rows(found, "user", "is_disabled", "is_password_required", "password_expires", "full_name", "comment")[
        :2
    ] == [
        ("Administrator", "", 1, True, True, False, None, "Built-in account"),
        ("app", "", 1, False, False, True, "The application", None),
    ]


def test_a_damaged_account_and_a_damaged_group_stop_no_other(tmp_path: Path) -> None:
    keys = {
        **accounts(),
        rf"{_ACCOUNT}\Users\000001F4": {"F": b"short", "V": b""},
        rf"{_BUILTIN}\00000220": {"C": group(544, "x", "S-1-5-18")[:-1]},
    }
    found = wclayer.take_inventory(base(tmp_path, keys), files=False)
    assert [item.name for item in items(found, "user")] == ["app"]
    assert [finding.place for finding in found.findings] == [
        rf"{_BUILTIN}\00000220", rf"{_ACCOUNT}\Users\Names\Administrator",
    ]  # fmt: skip


@given(st.binary(max_size=300))
def test_arbitrary_values_of_the_hive_give_at_most_an_error(data: bytes) -> None:
    for parse in (parse_account_facts, parse_account_texts, parse_group, parse_domain_sid):
        try:
            parse(data)
        except FormatError:
            pass


def test_a_text_outside_of_its_value_is_refused() -> None:
    with pytest.raises(FormatError, match="lies outside"):
        parse_account_texts(texts("name", "full name")[:-1])
    with pytest.raises(FormatError, match="members, more than"):
        parse_group(struct.pack("<48xI", 10_001))


def test_regipy_reads_the_same_numbers_and_flags_of_the_accounts(tmp_path: Path) -> None:
    below = {path.removeprefix("HKLM\\SAM\\"): values for path, values in accounts().items()}
    (tmp_path / "SAM").write_bytes(hive(below))
    opened = regipy_hive(tmp_path / "SAM")
    parsed: Any = SAMParsePlugin(opened, as_json=True)
    parsed.run()
    machine: Any = LocalSidPlugin(opened, as_json=True)
    machine.run()
    assert [entry["machine_sid"] for entry in machine.entries] == [_MACHINE]
    users = {int(str(item.properties["sid"]).rpartition("-")[2]): item for item in _users(tmp_path)}
    assert {entry["rid"] for entry in parsed.entries} == users.keys()
    for entry in parsed.entries:
        properties = users[entry["rid"]].properties
        assert ("Account Disabled" in entry["account_flags_parsed"]) == properties["is_disabled"]
        assert ("Password Not Required" in entry["account_flags_parsed"]) != properties["is_password_required"]
        assert ("Password Does Not Expire" in entry["account_flags_parsed"]) != properties["password_expires"]


def _users(folder: Path) -> list[wclayer.Item]:
    return items(wclayer.take_inventory(base(folder, accounts()), files=False), "user")
