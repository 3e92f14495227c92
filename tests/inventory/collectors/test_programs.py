"""Installed programs: both views of the registry, each user, and the layer that brought each."""

from __future__ import annotations

from pathlib import Path

import wclayer
from tests.inventory.subjects import Keys, base, child, hive, items, rows
from tests.layers.hive_layers import base_layer
from wclayer.inventory.item import FindingKind

_UNINSTALL = r"Microsoft\Windows\CurrentVersion\Uninstall"
_64 = rf"HKLM\SOFTWARE\{_UNINSTALL}"
_32 = rf"HKLM\SOFTWARE\Wow6432Node\{_UNINSTALL}"
_CODE = "{23170F69-40C1-2702-2201-000001000000}"
BASE: Keys = {
    rf"{_64}\{_CODE}": {
        "DisplayName": "7-Zip 22.01 (x64 edition)", "DisplayVersion": "22.01.00.0", "Publisher": "Igor Pavlov",
        "InstallDate": "20240102", "UninstallString": f"MsiExec.exe /I{_CODE}", "WindowsInstaller": 1,
        "EstimatedSize": 5553, "InstallLocation": "C:\\Program Files\\7-Zip\\", "URLInfoAbout": "http://www.7-zip.org/",
    },
    rf"{_64}\AddressBook": {},
    rf"{_64}\Fontcore": {"SystemComponent": 1},
    rf"{_32}\Vendor Runtime": {
        "DisplayName": "Vendor Runtime", "VersionMajor": 3, "VersionMinor": 7, "SystemComponent": 1,
    },
    rf"{_32}\Vendor Runtime.KB4521": {"DisplayName": "Update for Vendor Runtime", "ParentKeyName": "Vendor Runtime"},
    rf"{_32}\nameless": {"UninstallString": r"C:\x\uninstall.exe", "Publisher": "Somebody"},
}  # fmt: skip


def test_programs_of_both_views_and_of_users_have_what_their_keys_say(tmp_path: Path) -> None:
    user = hive({rf"Software\{_UNINSTALL}\Tool": {"DisplayName": "A user's tool", "DisplayVersion": "1.0"}})
    keys: Keys = {**BASE, rf"HKU\.DEFAULT\Software\{_UNINSTALL}\D": {"DisplayName": "The system's tool"}}
    files = {
        "Users/app/NTUSER.DAT": user,
        "Windows/ServiceProfiles/LocalService/NTUSER.DAT": user,
        "Users/app/AppData/Local/Microsoft/Windows/UsrClass.dat": hive({}),
    }
    found = wclayer.take_inventory(base(tmp_path, keys, files), files=False)
    assert found.findings == ()
    assert rows(found, "program", "view", "user", "is_named", "is_update", "is_system_component") == [
        ("7-Zip 22.01 (x64 edition)", "22.01.00.0", 1, "64", None, True, False, False),
        ("nameless", "", 1, "32", None, False, False, False),
        ("Vendor Runtime", "3.7", 1, "32", None, True, False, True),
        ("Update for Vendor Runtime", "", 1, "32", None, True, True, False),
        ("The system's tool", "", 1, "user", ".DEFAULT", True, False, False),
        ("A user's tool", "1.0", 1, "user", "app", True, False, False),
        ("A user's tool", "1.0", 1, "user", "LocalService", True, False, False),
    ]
    first, second = items(found, "program")[0], items(found, "program")[-2]
    assert first.publisher == "Igor Pavlov"
    assert first.origin.place == rf"{_64}\{_CODE}"
    assert dict(first.properties) == {
        "key": _CODE, "view": "64", "install_location": "C:\\Program Files\\7-Zip\\", "install_date": "20240102",
        "uninstall_command": f"MsiExec.exe /I{_CODE}", "about_url": "http://www.7-zip.org/", "estimated_kib": 5553,
        "is_named": True, "is_update": False, "is_system_component": False, "is_windows_installer": True,
        "product_code": _CODE,
    }  # fmt: skip
    assert second.origin.place == rf"C:\Users\app\NTUSER.DAT\Software\{_UNINSTALL}\Tool"


def test_the_layer_of_a_program_is_that_which_states_its_version(tmp_path: Path) -> None:
    own: Keys = {
        rf"{_64}\{_CODE}": {"DisplayVersion": "23.01"},
        rf"{_64}\Own": {"DisplayName": "Own", "DisplayVersion": "1"},
    }
    found = wclayer.take_inventory(child(tmp_path, base(tmp_path, BASE), own), files=False)
    assert [row for row in rows(found, "program", "view") if row[3] == "64"] == [
        ("Own", "1", 2, "64"),
        ("7-Zip 22.01 (x64 edition)", "23.01", 2, "64"),
    ]


def test_a_damaged_hive_of_a_user_is_one_finding_and_stops_nothing(tmp_path: Path) -> None:
    files = {
        "Users/bad/NTUSER.DAT": b"regf" + bytes(5000),
        "Users/good/NTUSER.DAT": hive({rf"Software\{_UNINSTALL}\T": {"DisplayName": "T"}}),
    }
    found = wclayer.take_inventory(base(tmp_path, {}, files), files=False)
    damaged = [finding.place for finding in found.findings if finding.kind is FindingKind.DAMAGED]
    assert damaged == [r"C:\Users\bad\NTUSER.DAT"]
    assert rows(found, "program", "user") == [("T", "", 1, "good")]


def test_a_damaged_hive_of_the_machine_is_told_once_and_stops_no_other_hive(tmp_path: Path) -> None:
    damaged = b"regf" + bytes(5000)
    software = hive({rf"{_UNINSTALL}\T": {"DisplayName": "T"}})
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    found = wclayer.take_inventory(base_layer(one, SYSTEM=damaged, SOFTWARE=software), files=False)
    assert [(finding.kind, finding.place) for finding in found.findings] == [("damaged", r"HKLM\SYSTEM")]
    assert rows(found, "program") == [("T", "", 1)]
    found = wclayer.take_inventory(base_layer(two, SYSTEM=hive({}), SOFTWARE=damaged), files=False)
    assert [finding.place for finding in found.findings if "\\" in finding.place] == [r"HKLM\SOFTWARE"]
