"""What of an image is compared with advisories: Windows, its updates, .NET Framework, runtimes, PowerShell."""

from __future__ import annotations

from pathlib import Path

import wclayer
from tests.formats.pe import craft
from tests.inventory.cve.forms import Case, Fix, cvrf_json
from tests.inventory.subjects import Keys, base, child
from wclayer import VulnerabilityState
from wclayer.images.windows_version import WindowsVersion
from wclayer.inventory.cve.installed import installed_system
from wclayer.inventory.cve.system import Runtime

_CORE = "Windows Server 2022 (Server Core installation)"
_CBS = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages"
_NT = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
_NDP = r"HKLM\SOFTWARE\Microsoft\NET Framework Setup\NDP"
_TOKEN = "31bf3856ad364e35"
_DOTNET = "Program Files/dotnet/shared"
_SYSTEM: Keys = {
    _NT: {
        "ProductName": "Windows Server 2022 Datacenter", "InstallationType": "Server Core",
        "CurrentBuildNumber": "20348", "CurrentMajorVersionNumber": 10, "CurrentMinorVersionNumber": 0, "UBR": 2113,
    },
    rf"{_NDP}\v4\Full": {"Install": 1, "Release": 528449, "Version": "4.8.04161"},
    rf"{_NDP}\v3.5": {"Install": 1, "SP": 1, "Version": "3.5.30729.4926"},
    rf"{_CBS}\Package_for_RollupFix~{_TOKEN}~amd64~~20348.2113.1.10": {"CurrentState": 0x70},
    rf"{_CBS}\Package_for_KB5030216~{_TOKEN}~amd64~~20348.1970.1.0": {"CurrentState": 0x50},
    rf"{_CBS}\Package_for_KB5031111~{_TOKEN}~amd64~~20348.1971.1.0": {"CurrentState": 0x40},
    rf"{_CBS}\Package_for_DotNetRollup~{_TOKEN}~amd64~~10.0.4690.2": {"CurrentState": 0x70},
}  # fmt: skip
_FILES = {
    f"{_DOTNET}/Microsoft.NETCore.App/8.0.1/x.dll": b"",
    f"{_DOTNET}/Microsoft.AspNetCore.App/8.0.2/x.dll": b"",
    f"{_DOTNET}/Microsoft.WindowsDesktop.App/8.0.1/x.dll": b"",
    "Program Files/PowerShell/7/pwsh.dll": craft.with_version(
        craft.version_info(((7, 4, 1, 500), (7, 4, 1, 500)), {"040904b0": [("ProductVersion", "7.4.1 SHA: 6a98b")]})
    ).encode(),
}
_UPDATE: Keys = {
    _NT: {"UBR": 2322},
    rf"{_CBS}\Package_for_KB5034613~{_TOKEN}~amd64~~10.0.4739.4": {"CurrentState": 0x70},
}


def _image(folder: Path) -> Path:
    return child(folder, base(folder, _SYSTEM, _FILES), _UPDATE, {f"{_DOTNET}/Microsoft.NETCore.App/8.0.5/x.dll": b""})


def test_the_system_is_that_of_all_layers_together(tmp_path: Path) -> None:
    system = installed_system(wclayer.take_inventory(_image(tmp_path), files=False))
    assert system.version == WindowsVersion(10, 0, 20348, 2322)
    assert (system.product_name, system.installation_type) == ("Windows Server 2022 Datacenter", "Server Core")
    # What a later update replaced was installed; what is only staged is not.
    assert system.updates == {"5030216", "5034613"}
    assert (system.framework, system.has_framework_3_5) == ("4.8", True)
    assert sorted(system.framework_updates) == ["10.0.4690.2", "10.0.4739.4"]
    assert sorted((runtime.family, runtime.version) for runtime in system.runtimes) == [
        (".NET", "8.0.1"), (".NET", "8.0.5"), ("ASP.NET Core", "8.0.2"), ("PowerShell", "7.4.1"),
    ]  # fmt: skip
    assert Runtime(".NET", "8.0.5", r"C:\Program Files\dotnet\shared\Microsoft.NETCore.App\8.0.5") in system.runtimes


def test_every_product_of_an_image_is_checked(tmp_path: Path) -> None:
    names = {
        "1": _CORE, "2": f"Microsoft .NET Framework 3.5 AND 4.8 on {_CORE}", "3": ".NET 8.0 installed on Windows",
        "4": "ASP.NET Core 8.0", "5": "PowerShell 7.4", "6": "PowerShell 7.5",
    }  # fmt: skip
    fixes = (
        Fix(("1",), "5034129", "10.0.20348.2227"), Fix(("2",), "5034270", "4.8.4739.04"),
        Fix(("3",), "5038352", "8.0.5"), Fix(("4",), "5038352", "8.0.5"),
        Fix(("5",), "", "7.4.2"), Fix(("6",), "", "7.5.0"),
    )  # fmt: skip
    document = tmp_path / "month.json"
    document.write_bytes(cvrf_json(Case(affected=tuple(names), fixes=fixes), names=names))
    report = wclayer.find_vulnerabilities(wclayer.take_inventory(_image(tmp_path), files=False), [document])
    assert report.findings == ()
    found = {(each.product.name, each.product.version): each.state for each in report.vulnerabilities if each.product}
    assert found == {
        (_CORE, "10.0.20348.2322"): VulnerabilityState.FIXED,
        ("Microsoft .NET Framework 4.8", "4.8"): VulnerabilityState.FIXED,
        (".NET 8.0", "8.0.1"): VulnerabilityState.VULNERABLE,
        (".NET 8.0", "8.0.5"): VulnerabilityState.FIXED,
        ("ASP.NET Core 8.0", "8.0.2"): VulnerabilityState.VULNERABLE,
        ("PowerShell 7.4", "7.4.1"): VulnerabilityState.VULNERABLE,
    }
    # One vulnerability of several products counts once.
    assert sum(report.counts.values()) == report.counts[VulnerabilityState.VULNERABLE] == 1


def test_a_version_that_is_damaged_is_told_and_not_compared(tmp_path: Path) -> None:
    keys: Keys = {**_SYSTEM, _NT: {**_SYSTEM[_NT], "CurrentBuildNumber": "x"}}
    document = tmp_path / "month.json"
    document.write_bytes(cvrf_json(Case()))
    report = wclayer.find_vulnerabilities(wclayer.take_inventory(base(tmp_path, keys), files=False), [document])
    assert [product.name for product in report.products] == ["Microsoft .NET Framework 4.8"]
    assert report.findings[0].text.startswith("the registry has no version of Windows")
    assert report.counts[VulnerabilityState.NOT_AFFECTED] == 1


def test_findings_of_the_inventory_are_findings_of_the_check(tmp_path: Path) -> None:
    finding = wclayer.Finding(wclayer.FindingKind.DAMAGED, r"HKLM\SOFTWARE", "the hive is cut")
    document = tmp_path / "month.json"
    document.write_bytes(cvrf_json(Case()))
    report = wclayer.find_vulnerabilities(wclayer.Inventory("image", "", "", (), (), (finding,)), [document])
    assert report.findings[0] == finding
