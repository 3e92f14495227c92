r"""PowerShell in RUN: keys and values of the registry, and variables of the machine and the user."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from dissect.regf import regf

from tests.builder.machines import PATH_VALUE, Machine, machine
from wclayer.builder.commands.table import POWERSHELL, PWSH
from wclayer.builder.commands.words import join_arguments
from wclayer.errors import NotSupportedError

APP = r"HKLM\SOFTWARE\App"
ENVIRONMENT = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
PS_ENVIRONMENT = r"'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Environment'"


@pytest.fixture
def windows(tmp_path: Path, bases: Path) -> Iterator[Machine]:
    with machine(tmp_path, bases, "Default") as made:
        yield made


def run(windows: Machine, script: str) -> int:
    """Runs a script in a process of its own, as the exec form of RUN does."""
    return windows.run(POWERSHELL, join_arguments(["-Command", script]))


def _strings(text: str) -> bytes:
    return (text + "\0").encode("utf-16-le")


VALUES = [
    ("-Name a -PropertyType String -Value text", "a", 1, _strings("text")),
    ("a -Value text", "a", 1, _strings("text")),
    ("-Name a -Type ExpandString -Value '%SystemRoot%\\x'", "a", 2, _strings("%SystemRoot%\\x")),
    ("-Name a -PropertyType MultiString -Value b, 'c d'", "a", 7, _strings("b\0c d\0")),
    ("-Name a -PropertyType MultiString -Value ('b', 'c')", "a", 7, _strings("b\0c\0")),
    ("-Name a -PropertyType DWord -Value 1", "a", 4, b"\1\0\0\0"),
    ("-Name a -PropertyType dword -Value '0x10'", "a", 4, b"\x10\0\0\0"),
    ("-Name a -PropertyType DWORD -Value 0xFFFFFFFF", "a", 4, b"\xff\xff\xff\xff"),
    ("-Name a -PropertyType DWORD -Value 4294967295", "a", 4, b"\xff\xff\xff\xff"),
    ("-Name a -PropertyType DWord", "a", 4, b"\0\0\0\0"),
    ("-Name a -PropertyType QWord -Value 1KB", "a", 11, b"\0\4\0\0\0\0\0\0"),
    ("-Name a -PropertyType Binary -Value 1, 0x2, 255", "a", 3, b"\1\2\xff"),
    ("-Name a -PropertyType String -Value 0x10", "a", 1, _strings("16")),
    ("-Name a -Value 7", "a", 4, b"\7\0\0\0"),
    ("-Name a -Value 5000000000", "a", 11, (5_000_000_000).to_bytes(8, "little")),
    ("-Name a", "a", 1, _strings("")),
    ("-Name '(Default)' -Value d", "", 1, _strings("d")),
]


@pytest.mark.parametrize(("words", "name", "kind", "data"), VALUES)
def test_values_have_the_types_of_dotnet(windows: Machine, words: str, name: str, kind: int, data: bytes) -> None:
    script = rf"New-Item -Path HKLM:\SOFTWARE\App | Out-Null; New-ItemProperty -Path HKLM:\SOFTWARE\App {words}"
    assert run(windows, script) == 0
    assert windows.value(APP, name) == (kind, data)
    hive = regf.RegistryHive(io.BytesIO(windows.delta("Software")))
    assert hive.open("App").value(name or "(Default)").type == kind


def test_set_item_property_keeps_the_type_that_a_value_has(windows: Machine) -> None:
    key = r"HKLM:\SOFTWARE\App"
    run(windows, rf"New-Item {key}; New-ItemProperty {key} n -PropertyType QWord -Value 1")
    assert run(windows, rf"Set-ItemProperty {key} n 2") == 0
    assert windows.value(APP, "n") == (11, b"\2\0\0\0\0\0\0\0")
    assert run(windows, rf"sp {key} n 'no number'") == 0
    assert windows.value(APP, "n") == (1, _strings("no number"))
    assert run(windows, rf"Set-ItemProperty -Path {key} -Name n -Value 3 -Type DWord") == 0
    assert windows.value(APP, "n") == (4, b"\3\0\0\0")


def test_a_key_is_made_once_and_with_force_anew(windows: Machine) -> None:
    key = r"HKLM:\SOFTWARE\App"
    assert run(windows, rf"New-Item {key}\Below") == 1
    assert b"does not exist" in windows.errors
    assert run(windows, rf"New-Item -Path {key} -Name Below -Force -Value d") == 0
    assert windows.value(APP + r"\Below", "") == (1, _strings("d"))
    assert run(windows, rf"New-Item {key}\Below") == 1
    assert windows.errors == b"New-Item : A key in this path already exists.\r\n"
    assert run(windows, rf"New-Item {key}\Below -Force") == 0
    assert windows.value(APP + r"\Below", "") is None
    assert run(windows, rf"if (!(Test-Path {key})) {{ exit 3 }}; if (Test-Path {key} -PathType Leaf) {{ exit 4 }}") == 0


def test_keys_and_values_are_removed(windows: Machine) -> None:
    key = r"HKLM:\SOFTWARE\App"
    run(windows, rf"New-Item {key}\Below -Force; Set-ItemProperty {key} a 1; Set-ItemProperty {key} b 2")
    assert run(windows, rf"Remove-ItemProperty -Path {key} -Name a, b") == 0
    assert windows.value(APP, "a") is None
    assert run(windows, rf"Remove-ItemProperty {key} a") == 1
    assert b"Property a does not exist" in windows.errors
    assert run(windows, rf"Remove-ItemProperty {key} a -ErrorAction SilentlyContinue; exit 0") == 0
    assert not windows.errors
    assert run(windows, rf"Remove-Item {key}") == 1
    assert windows.keys(APP) == ["Below"]
    assert run(windows, rf"Remove-Item {key} -Recurse -Force") == 0
    assert windows.keys(APP) is None


def test_what_exists_and_what_does_not_are_errors(windows: Machine) -> None:
    key = r"HKLM:\SOFTWARE\App"
    assert run(windows, rf"New-ItemProperty {key} a") == 1
    assert b"Cannot find path" in windows.errors
    run(windows, rf"New-Item {key}; New-ItemProperty {key} a -Value 1")
    assert run(windows, rf"New-ItemProperty {key} a -Value 2") == 1
    assert windows.value(APP, "a") == (4, b"\1\0\0\0")
    assert run(windows, rf"New-ItemProperty {key} a -Value 2 -Force") == 0
    assert windows.value(APP, "a") == (4, b"\2\0\0\0")
    script = rf"$ErrorActionPreference = 'Stop'; New-ItemProperty {key} a; Set-ItemProperty {key} b 1"
    assert run(windows, script) == 1
    assert windows.value(APP, "b") is None


def test_the_users_hive_and_other_spellings_of_a_key(windows: Machine) -> None:
    assert run(windows, r"New-Item 'HKCU:\Software\My App' -Force; Set-ItemProperty 'HKCU:/Software/My App' a 1") == 0
    assert run(windows, r"if (Test-Path 'HKCU:\software\my app') { exit 3 }") == 3
    assert (
        run(windows, r"New-Item Registry::HKEY_LOCAL_MACHINE\SOFTWARE\One; New-Item Registry::HKLM\SOFTWARE\Two") == 0
    )
    assert run(windows, r"New-Item Microsoft.PowerShell.Core\Registry::HKEY_CLASSES_ROOT\.app -Force -Value app") == 0
    assert windows.keys(r"HKLM\SOFTWARE") == ["Classes", "One", "Two"]
    assert windows.value(r"HKLM\SOFTWARE\Classes\.app", "") == (1, _strings("app"))


def test_a_variable_of_the_machine_becomes_plain_text(windows: Machine) -> None:
    assert run(windows, r"[Environment]::SetEnvironmentVariable('Tool', '%SystemRoot%\x', 'Machine')") == 0
    assert windows.value(ENVIRONMENT, "Tool") == (1, _strings(r"%SystemRoot%\x"))
    assert windows.planned.machine.get("TOOL") == r"%SystemRoot%\x"
    assert not windows.planned.machine.expands("TOOL")
    assert run(windows, "[Environment]::SetEnvironmentVariable('tool', '', [EnvironmentVariableTarget]::Machine)") == 0
    assert windows.value(ENVIRONMENT, "Tool") is None
    assert "Tool" not in windows.planned.machine


def test_path_is_read_with_its_references_replaced(windows: Machine) -> None:
    windows.planned.environment.set("SystemRoot", r"C:\Windows")
    windows.planned.machine.set("Path", PATH_VALUE, expands=True)
    script = (
        "$path = [System.Environment]::GetEnvironmentVariable('PATH', 'Machine'); "
        r"[System.Environment]::SetEnvironmentVariable('PATH', $path + ';C:\app', 'Machine')"
    )
    assert run(windows, script) == 0
    expected = r"C:\Windows\system32;C:\Windows;C:\app"
    assert windows.value(ENVIRONMENT, "Path") == (1, _strings(expected))
    assert windows.planned.machine.get("Path") == expected


def test_path_keeps_its_type_as_a_property(windows: Machine) -> None:
    windows.planned.machine.set("Path", PATH_VALUE, expands=True)
    assert run(windows, rf"Set-ItemProperty -Path {PS_ENVIRONMENT} -Name Path -Value '%SystemRoot%;C:\app'") == 0
    assert windows.value(ENVIRONMENT, "Path") == (2, _strings(r"%SystemRoot%;C:\app"))
    assert windows.planned.machine.expands("Path")
    assert windows.planned.machine.get("Path") == r"%SystemRoot%;C:\app"


def test_a_variable_of_the_user_is_in_the_users_hive(windows: Machine) -> None:
    assert run(windows, "[Environment]::SetEnvironmentVariable('Mine', 'v', 'User')") == 0
    assert run(windows, "if ([Environment]::GetEnvironmentVariable('MINE', 'User') -eq 'v') { exit 3 }") == 3
    assert windows.planned.machine.get("Mine") == "v"


def test_programs_of_the_registry_are_called_from_powershell(windows: Machine) -> None:
    assert run(windows, rf"reg add '{APP}' /v a /t REG_DWORD /d 5 /f | Out-Null") == 0
    assert windows.value(APP, "a") == (4, b"\5\0\0\0")
    assert windows.output == b""
    assert run(windows, 'setx /M TOOLS "C:\\a b;$env:TEMP"') == 0


REFUSED = {
    r"New-Item HKLM:\SOFTWARE -Force": "root of a hive",
    r"New-Item HKLM:\NOHIVE\App": "in no hive of an image",
    r"New-Item HKCR:\.app": "no such drive",
    r"New-ItemProperty HKLM:\SOFTWARE\App a -PropertyType Text": "no type of a value",
    r"New-ItemProperty HKLM:\SOFTWARE\App a -PropertyType DWord -Value text": "an integer of 32 bits",
    r"New-ItemProperty HKLM:\SOFTWARE\App a -PropertyType DWord -Value 5000000000": "an integer of 32 bits",
    r"New-ItemProperty HKLM:\SOFTWARE\App a -PropertyType Binary -Value 256": "an integer of 8 bits",
    r"New-ItemProperty HKLM:\SOFTWARE\App a -Value 1, 2": "no type follows",
    r"New-ItemProperty HKLM:\SOFTWARE\App a -Value 1.5": "no integer",
    r"New-ItemProperty HKLM:\SOFTWARE\App -Value 1": "write -Name",
    r"New-ItemProperty C:\t a": "a key of the registry is expected",
    r"Set-ItemProperty C:\t\base.txt IsReadOnly $true": "a key of the registry is expected",
    r"Set-ItemProperty HKLM:\SOFTWARE\* a 1": "wildcards in keys",
    r"Set-ItemProperty HKLM:\SOFTWARE\App a": "write -Value",
    r"Remove-ItemProperty HKLM:\SOFTWARE\App *": "wildcards are not supported",
    r"Test-Path HKLM:\SOFTWARE, C:\t": "in one call",
    "[Environment]::SetEnvironmentVariable('A', 'b', 'Everyone')": "possible are 'Machine'",
    "[Environment]::SetEnvironmentVariable('A')": "takes a name, a value",
    "[Environment]::SetEnvironmentVariable('A=B', 'b', 'Machine')": "no = in it",
    "[Environment]::SetEnvironmentVariable('A', 5, 'Machine')": "a text is expected",
    "Write-Host ([Environment]::GetEnvironmentVariable('A', 'User'))": "not known before",
    "$x = [Environment]::SetEnvironmentVariable('A', 'b')": "not supported as a value",
}


@pytest.mark.parametrize(("script", "advice"), REFUSED.items())
def test_what_is_not_supported_is_refused(windows: Machine, script: str, advice: str) -> None:
    before = sorted(windows.scratch.rglob("*"))
    with pytest.raises(NotSupportedError) as caught:
        run(windows, script)
    assert advice in caught.value.detail
    assert sorted(windows.scratch.rglob("*")) == before


def test_an_empty_variable_is_refused_in_pwsh_whose_versions_differ(windows: Machine) -> None:
    with pytest.raises(NotSupportedError, match="depends on the version of pwsh"):
        windows.run(PWSH, "-Command [Environment]::SetEnvironmentVariable('A', '', 'Machine')")
