"""Products and patches of Windows Installer."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wclayer
from tests.inventory.subjects import Keys, base, child, items, rows
from wclayer.errors import FormatError
from wclayer.inventory.collectors.msi import version_text
from wclayer.win32.guid import pack_guid, unpack_guid

_DATA = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Installer\UserData"
_CLASSES = r"HKLM\SOFTWARE\Classes\Installer"
_UNINSTALL = r"HKLM\SOFTWARE\Wow6432Node\Microsoft\Windows\CurrentVersion\Uninstall"
# The codes of 7-Zip 9.20 (x64), and the keys that its installer makes.
_CODE, _PACKED = "{23170F69-40C1-2702-0920-000001000000}", "96F071321C0420729002000010000000"
_UPGRADE, _PACKED_UPGRADE = "{23170F69-40C1-2702-0000-000004000000}", "96F071321C0420720000000040000000"
_PATCH, _PACKED_PATCH = "{12345678-9ABC-DEF0-1234-56789ABCDEF0}", "87654321CBA90FED21436587A9CBED0F"
_OLD_PATCH, _PACKED_OLD = "{00000000-0000-0000-0000-000000000001}", "00000000000000000000000000000010"

KEYS: Keys = {
    rf"{_DATA}\S-1-5-18\Products\{_PACKED}\InstallProperties": {
        "DisplayName": "7-Zip", "DisplayVersion": "22.01.00.0", "Version": 0x16010000, "Publisher": "Igor Pavlov",
        "LocalPackage": r"C:\Windows\Installer\1a2b.msi", "InstallDate": "20240102",
    },
    rf"{_DATA}\S-1-5-18\Products\{_PACKED}\Patches\{_PACKED_PATCH}": {
        "State": 1, "DisplayName": "Security update", "MoreInfoURL": "https://example.com/kb", "Installed": "20240301",
    },
    rf"{_DATA}\S-1-5-18\Products\{_PACKED}\Patches\{_PACKED_OLD}": {"State": 2},
    rf"{_DATA}\S-1-5-18\Patches\{_PACKED_PATCH}": {"LocalPackage": r"C:\Windows\Installer\3c4d.msp"},
    rf"{_DATA}\S-1-5-18\Products\{31 * '0'}1\Usage": {"x": 1},
    rf"{_DATA}\S-1-5-21-1-2-3-1000\Products\{_PACKED_PATCH}\InstallProperties": {"Version": 0x02030405},
    rf"{_CLASSES}\Products\{_PACKED}": {"ProductName": "7-Zip", "PackageCode": _PACKED_PATCH, "Version": 0x16010000},
    rf"{_CLASSES}\Products\{_PACKED_OLD}": {"ProductName": "Offered", "Version": 0x01020003},
    rf"{_CLASSES}\UpgradeCodes\{_PACKED_UPGRADE}": {_PACKED: ""},
    rf"{_UNINSTALL}\{_CODE}": {"DisplayName": "7-Zip 22.01", "WindowsInstaller": 1},
}  # fmt: skip


def test_products_and_patches_have_what_the_tables_of_windows_installer_say(tmp_path: Path) -> None:
    found = wclayer.take_inventory(base(tmp_path, KEYS, {"Windows/Installer/1a2b.msi": b""}), files=False)
    assert found.findings == ()
    assert rows(found, "msi-product", "product_code", "state", "sid") == [
        ("7-Zip", "22.01.00.0", 1, _CODE, "installed", None),
        (_PATCH, "2.3.1029", 1, _PATCH, "installed", "S-1-5-21-1-2-3-1000"),
        ("Offered", "1.2.3", 1, _OLD_PATCH, "advertised", None),
    ]
    assert rows(found, "msi-patch", "state", "product_code", "local_package", "local_package_exists") == [
        (_OLD_PATCH, "", 1, "superseded", _CODE, None, None),
        ("Security update", "", 1, "applied", _CODE, r"C:\Windows\Installer\3c4d.msp", False),
    ]
    product = items(found, "msi-product")[0]
    assert product.publisher == "Igor Pavlov"
    assert dict(product.properties) == {
        "product_code": _CODE, "state": "installed", "upgrade_code": _UPGRADE, "package_code": _PATCH,
        "install_date": "20240102", "local_package": r"C:\Windows\Installer\1a2b.msi", "local_package_exists": True,
        "program": rf"{_UNINSTALL}\{_CODE}", "patches": ["Security update"],
    }  # fmt: skip
    assert items(found, "program")[0].properties["product_code"] == _CODE


def test_the_layer_of_a_product_is_that_which_states_its_version(tmp_path: Path) -> None:
    own: Keys = {rf"{_DATA}\S-1-5-18\Products\{_PACKED}\InstallProperties": {"DisplayVersion": "23.01"}}
    found = wclayer.take_inventory(child(tmp_path, base(tmp_path, KEYS), own), files=False)
    assert rows(found, "msi-product")[0] == ("7-Zip", "23.01", 2)


def test_a_key_that_is_no_packed_guid_is_a_finding(tmp_path: Path) -> None:
    keys: Keys = {
        rf"{_DATA}\S-1-5-18\Products\short\InstallProperties": {"DisplayName": "x"},
        rf"{_DATA}\S-1-5-18\Products\{_PACKED}\InstallProperties": {"DisplayName": "7-Zip"},
        rf"{_CLASSES}\UpgradeCodes\{32 * 'g'}": {},
    }
    found = wclayer.take_inventory(base(tmp_path, keys), files=False)
    assert rows(found, "msi-product") == [("7-Zip", "", 1)]
    assert {(finding.kind, finding.place) for finding in found.findings} == {
        ("damaged", rf"{_DATA}\S-1-5-18\Products\short"), ("damaged", rf"{_CLASSES}\UpgradeCodes\{32 * 'g'}"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("guid", "packed"),
    [(_CODE, _PACKED), (_UPGRADE, _PACKED_UPGRADE), (_PATCH, _PACKED_PATCH), (_OLD_PATCH, _PACKED_OLD)],
)
def test_a_packed_guid_has_the_digits_of_each_part_backwards(guid: str, packed: str) -> None:
    assert pack_guid(UUID(guid)) == packed
    assert unpack_guid(packed.lower()) == UUID(guid)


@given(st.uuids())
def test_a_guid_that_was_packed_is_unpacked(guid: UUID) -> None:
    assert unpack_guid(pack_guid(guid)) == guid


@given(st.text(max_size=40) | st.text("0123456789abcdefABCDEF", min_size=31, max_size=33))
def test_what_is_no_packed_guid_is_refused(text: str) -> None:
    try:
        assert pack_guid(unpack_guid(text)) == text.upper()
    except FormatError:
        assert len(text) != 32 or not all(digit in "0123456789abcdefABCDEF" for digit in text)


def test_a_version_number_has_8_and_8_and_16_bits() -> None:
    assert version_text(0xFFFFFFFF) == "255.255.65535"
