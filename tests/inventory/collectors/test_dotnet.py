""".NET: the Framework, runtimes, SDKs, PowerShell."""

from __future__ import annotations

from pathlib import Path

import pytest

import wclayer
from tests.formats.pe import craft
from tests.inventory.subjects import Keys, base, child, items, rows
from wclayer.inventory.collectors.dotnet import framework_version

_NDP = r"Microsoft\NET Framework Setup\NDP"


def test_the_framework_and_the_runtimes_are_those_of_registry_and_folders(tmp_path: Path) -> None:
    keys: Keys = {
        rf"HKLM\SOFTWARE\{_NDP}\v4\Full": {"Install": 1, "Release": 528049, "Version": "4.8.04161"},
        rf"HKLM\SOFTWARE\Wow6432Node\{_NDP}\v4\Full": {"Install": 1, "Release": 528049, "Version": "4.8.04161"},
        rf"HKLM\SOFTWARE\{_NDP}\v3.5": {"Install": 1, "SP": 1, "Version": "3.5.30729.4926"},
        rf"HKLM\SOFTWARE\Wow6432Node\{_NDP}\v2.0.50727": {"Install": 1, "SP": 2, "Version": "2.0.50727.4927"},
        rf"HKLM\SOFTWARE\{_NDP}\v3.0": {"Install": 0, "Version": "3.0.30729.4926"},
        r"HKLM\SOFTWARE\Microsoft\PowerShell\3\PowerShellEngine": {"PowerShellVersion": "5.1.20348.558"},
    }
    version = craft.version_info(
        ((7, 4, 1, 500), (7, 4, 1, 500)), {"040904b0": [("ProductVersion", "7.4.1 SHA: 6a98b")]}
    )
    files = {
        "Program Files/dotnet/shared/Microsoft.NETCore.App/8.0.1/Microsoft.NETCore.App.deps.json": b"{}",
        "Program Files/dotnet/shared/Vendor.App/1.0.0-preview.2/x.dll": b"",
        "Program Files/dotnet/host/fxr/8.0.1/hostfxr.dll": b"",
        "Program Files (x86)/dotnet/sdk/6.0.418/dotnet.dll": b"",
        "Program Files (x86)/dotnet/sdk/NuGetFallbackFolder/x": b"",
        "Program Files/PowerShell/7/pwsh.dll": craft.with_version(version).encode(),
    }
    layer = child(tmp_path, base(tmp_path, keys), {}, files)
    found = wclayer.take_inventory(layer, files=False)
    assert found.findings == ()
    assert rows(found, "dotnet", "part", "full_version", "service_pack", "view") == [
        (".NET Framework", "4.8", 1, "framework", "4.8.04161", None, "64"),
        (".NET Framework", "3.5", 1, "framework", "3.5.30729.4926", 1, "64"),
        (".NET Framework", "2.0.50727", 1, "framework", "2.0.50727.4927", 2, "32"),
        ("Microsoft.NETCore.App", "8.0.1", 2, "runtime", None, None, None),
        ("Vendor.App", "1.0.0-preview.2", 2, "runtime", None, None, None),
        ("Microsoft.NETCore.DotNetHostResolver", "8.0.1", 2, "host", None, None, None),
        ("Microsoft.NET.Sdk", "6.0.418", 2, "sdk", None, None, None),
        ("Windows PowerShell", "5.1.20348.558", 1, "powershell", None, None, None),
        ("PowerShell", "7.4.1", 2, "powershell", None, None, None),
    ]
    assert items(found, "dotnet")[3].origin.place == r"C:\Program Files\dotnet\shared\Microsoft.NETCore.App\8.0.1"
    assert [item.publisher for item in items(found, "dotnet")[3:5]] == ["Microsoft Corporation", ""]


@pytest.mark.parametrize(
    ("release", "version"),
    [
        (378388, "4.0"), (378389, "4.5"), (378675, "4.5.1"), (378758, "4.5.1"), (379893, "4.5.2"), (393295, "4.6"),
        (393297, "4.6"), (394254, "4.6.1"), (394271, "4.6.1"), (394802, "4.6.2"), (394806, "4.6.2"), (460798, "4.7"),
        (460805, "4.7"), (461308, "4.7.1"), (461310, "4.7.1"), (461808, "4.7.2"), (461814, "4.7.2"), (528040, "4.8"),
        (528372, "4.8"), (528449, "4.8"), (528049, "4.8"), (533320, "4.8.1"), (533325, "4.8.1"), (999999, "4.8.1"),
    ],
)  # fmt: skip
def test_a_release_means_the_version_of_microsofts_table(release: int, version: str) -> None:
    assert framework_version(release) == version


def test_a_powershell_that_is_no_program_is_a_finding(tmp_path: Path) -> None:
    files = {"Program Files/PowerShell/7/pwsh.dll": b"MZ", "Program Files/dotnet/shared/x/1.2.3/y": b""}
    found = wclayer.take_inventory(base(tmp_path, {}, files), files=False)
    assert [finding.place for finding in found.findings] == [r"C:\Program Files\PowerShell\7\pwsh.dll"]
    assert rows(found, "dotnet") == [("x", "1.2.3", 1)]
