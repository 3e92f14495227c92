"""AppX and MSIX packages: the machine's store of them, users' registrations, manifests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wclayer
from tests.inventory.subjects import Keys, base, child, hive, items, rows
from wclayer.errors import FormatError
from wclayer.inventory.collectors.appx_name import PackageName, parse_full_name, publisher_id

_STORE = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Appx\AppxAllUserStore"
_REPOSITORY = r"Local Settings\Software\Microsoft\Windows\CurrentVersion\AppModel\Repository\Packages"
_MICROSOFT = "CN=Microsoft Corporation, O=Microsoft Corporation, L=Redmond, S=Washington, C=US"
_WINDOWS = "CN=Microsoft Windows, O=Microsoft Corporation, L=Redmond, S=Washington, C=US"
_TERMINAL = "Microsoft.WindowsTerminal_1.18.3181.0_x64__8wekyb3d8bbwe"
_BUNDLE = "Microsoft.WindowsTerminal_3001.18.3181.0_neutral_~_8wekyb3d8bbwe"
_XAML = "Microsoft.UI.Xaml.2.8_8.2310.30001.0_x64__8wekyb3d8bbwe"
_SHELL = "Microsoft.Windows.ShellExperienceHost_10.0.20348.1_neutral_neutral_cw5n1h2txyewy"


def _manifest(identity: str, properties: str = "") -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?><Package xmlns="http://schemas.microsoft.com/appx/manifest/foundation/'
        f'windows10"><Identity {identity}/><Properties>{properties}</Properties></Package>'
    ).encode("utf-8-sig")


TERMINAL = _manifest(
    f'Name="Microsoft.WindowsTerminal" Version="1.18.3181.0" ProcessorArchitecture="x64" Publisher="{_MICROSOFT}"',
    "<DisplayName>Terminal</DisplayName><PublisherDisplayName>Microsoft</PublisherDisplayName>",
)
SHELL = _manifest(
    f'Name="Microsoft.Windows.ShellExperienceHost" Version="10.0.20348.1" ResourceId="neutral" Publisher="{_WINDOWS}"',
    "<DisplayName>ms-resource:AppName</DisplayName><PublisherDisplayName>ms-resource:P</PublisherDisplayName>"
    "<Framework>true</Framework>",
)


def test_packages_are_found_in_the_registry_in_users_hives_and_by_their_files(tmp_path: Path) -> None:
    keys: Keys = {
        rf"{_STORE}\Applications\{_BUNDLE}": {"Path": r"C:\Program Files\WindowsApps\x\AppxBundleManifest.xml"},
        rf"{_STORE}\InboxApplications\{_SHELL}": {"Path": r"C:\Windows\SystemApps\x\AppxManifest.xml"},
        rf"{_STORE}\Staged\Microsoft.WindowsTerminal_8wekyb3d8bbwe\{_TERMINAL}": {"Path": "x"},
        rf"{_STORE}\Deprovisioned\Microsoft.People_8wekyb3d8bbwe": {},
    }
    classes = hive({rf"{_REPOSITORY}\{_TERMINAL}": {}, rf"{_REPOSITORY}\{_XAML}": {}})
    files = {
        "Users/app/AppData/Local/Microsoft/Windows/UsrClass.dat": classes,
        f"Program Files/WindowsApps/{_TERMINAL}/AppxManifest.xml": TERMINAL,
        "Windows/SystemApps/ShellExperienceHost_cw5n1h2txyewy/AppxManifest.xml": SHELL,
    }
    found = wclayer.take_inventory(child(tmp_path, base(tmp_path, keys), {}, files), files=False)
    assert found.findings == ()
    assert rows(found, "appx-package", "architecture", "states", "users", "resource") == [
        ("Microsoft.WindowsTerminal", "3001.18.3181.0", 1, "neutral", ["provisioned"], None, "~"),
        ("Microsoft.Windows.ShellExperienceHost", "10.0.20348.1", 1, "neutral", ["inbox", "files"], None, "neutral"),
        ("Microsoft.WindowsTerminal", "1.18.3181.0", 1, "x64", ["staged", "registered", "files"], ["app"], None),
        ("Microsoft.UI.Xaml.2.8", "8.2310.30001.0", 2, "x64", ["registered"], ["app"], None),
    ]
    shell, terminal = items(found, "appx-package")[1:3]
    assert (shell.publisher, terminal.publisher) == (_WINDOWS, "Microsoft")
    assert terminal.properties["display_name"] == "Terminal"
    assert "display_name" not in shell.properties
    assert (shell.properties["is_framework"], terminal.properties["is_framework"]) == (True, False)
    assert shell.properties["manifest"] == (r"C:\Windows\SystemApps\ShellExperienceHost_cw5n1h2txyewy\AppxManifest.xml")
    assert terminal.properties["family_name"] == "Microsoft.WindowsTerminal_8wekyb3d8bbwe"


def test_a_damaged_manifest_and_a_wrong_name_are_findings(tmp_path: Path) -> None:
    keys: Keys = {rf"{_STORE}\Applications\not a package": {}, rf"{_STORE}\Applications\{_TERMINAL}": {}}
    apps = "Program Files/WindowsApps"
    files = {
        f"{apps}/a/AppxManifest.xml": b"<Package>", f"{apps}/b/AppxManifest.xml": b"<Package/>",
        f"{apps}/c/AppxManifest.xml": _manifest('Name="x" Version="1"'),
        f"{apps}/d/AppxManifest.xml": b'<!DOCTYPE x><Package/>',
    }  # fmt: skip
    found = wclayer.take_inventory(base(tmp_path, keys, files), files=False)
    assert [item.properties["full_name"] for item in items(found, "appx-package")] == [_TERMINAL]
    assert [finding.kind for finding in found.findings] == ["damaged"] * 5


@pytest.mark.parametrize(("publisher", "expected"), [(_MICROSOFT, "8wekyb3d8bbwe"), (_WINDOWS, "cw5n1h2txyewy")])
def test_the_hash_of_microsofts_names_is_the_one_in_their_packages(publisher: str, expected: str) -> None:
    assert publisher_id(publisher) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (_TERMINAL, ("Microsoft.WindowsTerminal", "1.18.3181.0", "x64", "", "8wekyb3d8bbwe")),
        (_BUNDLE, ("Microsoft.WindowsTerminal", "3001.18.3181.0", "neutral", "~", "8wekyb3d8bbwe")),
        ("1527c705-839a-4832-9118-54d4Bd6a0c89_10.0.1.2_neutral_split.scale-125_cw5n1h2txyewy",
         ("1527c705-839a-4832-9118-54d4Bd6a0c89", "10.0.1.2", "neutral", "split.scale-125", "cw5n1h2txyewy")),
    ],
)  # fmt: skip
def test_a_full_name_has_five_parts(text: str, expected: tuple[str, ...]) -> None:
    assert parse_full_name(text) == PackageName(*expected)
    assert str(parse_full_name(text)) == text


@pytest.mark.parametrize("text", ["", "a_1.0.0.0_x64_8wekyb3d8bbwe", _TERMINAL[:-1], f"_{_TERMINAL}", f"{_TERMINAL}\n"])
def test_what_is_no_full_name_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_full_name(text)


@given(st.text(max_size=80))
def test_the_hash_of_any_publisher_can_be_in_a_full_name(publisher: str) -> None:
    assert parse_full_name(f"a_1.2.3.4_x64__{publisher_id(publisher)}").name == "a"
