"""Services and drivers: those of a real machine as regipy reads them, and the forms of the path of a program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import wclayer
from tests.formats.regf.support import regipy_hive
from tests.inventory.subjects import Keys, base, child, items, rows
from tests.layers.hive_layers import base_layer
from tests.packages import system_hive

_SERVICES = r"HKLM\SYSTEM\ControlSet001\Services"
_SELECT: Keys = {r"HKLM\SYSTEM\Select": {"Current": 1}}


def test_the_services_and_drivers_of_a_real_machine_are_those_that_regipy_reads(tmp_path: Path) -> None:
    (tmp_path / "SYSTEM").write_bytes(system_hive())
    expected = {}
    for key in regipy_hive(tmp_path / "SYSTEM").get_key(r"\ControlSet001\Services").iter_subkeys():
        values: dict[str, Any] = {value.name.lower(): value.value for value in key.iter_values()}
        if isinstance(values.get("type"), int) and isinstance(values.get("start"), int):
            kind = "driver" if values["type"] in (1, 2, 8) else "service"
            start = ("boot", "system", "automatic", "manual", "disabled")[values["start"]]
            delayed = " (delayed)" if start == "automatic" and values.get("delayedautostart") else ""
            expected[key.name] = kind, start + delayed, values.get("objectname"), values.get("imagepath")
    found = wclayer.take_inventory(base_layer(tmp_path, SYSTEM=system_hive()), files=False)
    taken = {
        item.name: (str(item.kind), *(item.properties.get(name) for name in ("start", "account", "command")))
        for item in [*items(found, "service"), *items(found, "driver")]
    }
    assert len(expected) > 400
    assert taken == expected
    assert found.findings == ()


@pytest.mark.parametrize(
    ("command", "binary", "exists"),
    [
        (r"%SystemRoot%\System32\svchost.exe -k netsvcs -p", r"C:\Windows\System32\svchost.exe", True),
        (r'"C:\Program Files\App\app.exe" --run', r"C:\Program Files\App\app.exe", True),
        (r"C:\Program Files\App\app.exe --run x y", r"C:\Program Files\App\app.exe", True),
        (r"C:\Program Files\App\app --run", r"C:\Program Files\App\app.exe", True),
        (r"C:\Program Files\App\gone.exe", r"C:\Program Files\App\gone.exe", False),
        (r"C:\Program Files\App\run.cmd --run", r"C:\Program Files\App\run.cmd", True),
        (r"\??\C:\Program Files\App\APP.EXE", r"C:\Program Files\App\APP.EXE", True),
        (r"\SystemRoot\System32\svchost.exe", r"C:\Windows\System32\svchost.exe", True),
        (r"c:/windows/system32/svchost.exe", r"c:\windows\system32\svchost.exe", True),
        (r"D:\x.exe", None, None),
        (r"%Unknown%\x.exe", None, None),
        ("", None, None),
        ('"', None, None),
        ("%", None, None),
    ],
)
def test_the_program_of_a_service_is_found_as_windows_finds_it(
    tmp_path: Path, command: str, binary: str | None, exists: bool | None
) -> None:
    keys: Keys = {rf"{_SERVICES}\s": {"Type": 0x10, "Start": 2, "ImagePath": command}, **_SELECT}
    files = {
        "Windows/System32/svchost.exe": b"MZ",
        "Program Files/App/app.exe": b"MZ",
        "Program Files/App/run.cmd": b"",
    }
    found = wclayer.take_inventory(base(tmp_path, keys, files), files=False)
    assert rows(found, "service", "binary", "binary_exists") == [("s", "", 1, binary, exists)]
    assert found.findings == ()


def test_a_service_and_a_driver_have_what_their_keys_say(tmp_path: Path) -> None:
    keys: Keys = {
        rf"{_SERVICES}\Dnscache": {
            "Type": 0x20, "Start": 2, "DelayedAutostart": 1, "ErrorControl": 1, "DisplayName": "DNS Client",
            "ObjectName": r"NT AUTHORITY\NetworkService", "ImagePath": r"%SystemRoot%\system32\svchost.exe -k Net -p",
            "DependOnService": ["nsi", "Afd"], "Group": "TDI",
        },
        rf"{_SERVICES}\Dnscache\Parameters": {"ServiceDll": r"%SystemRoot%\System32\dnsrslvr.dll"},
        rf"{_SERVICES}\Dnscache\TriggerInfo\0": {"Type": 1},
        rf"{_SERVICES}\Afd": {"Type": 1, "Start": 1},
        rf"{_SERVICES}\Fs": {"Type": 2, "Start": 0, "ImagePath": r"System32\drivers\fs.sys"},
        rf"{_SERVICES}\.NET CLR Data": {"Library": "x"},
        **_SELECT,
    }  # fmt: skip
    own: Keys = {rf"{_SERVICES}\app": {"Type": 0x10, "Start": 3, "ImagePath": r"C:\app\run.exe"}}
    layer = child(
        tmp_path, base(tmp_path, keys, {"Windows/System32/drivers/fs.sys": b"MZ"}), own, {"app/run.exe": b"MZ"}
    )
    found = wclayer.take_inventory(layer, files=False)
    assert rows(found, "service", "start", "binary_exists") == [
        ("app", "", 2, "manual", True),
        ("Dnscache", "", 1, "automatic (delayed)", False),
    ]
    assert rows(found, "driver", "type", "start", "binary", "binary_exists") == [
        ("Afd", "", 1, "kernel driver", "system", r"C:\Windows\System32\drivers\Afd.sys", False),
        ("Fs", "", 1, "file system driver", "boot", r"C:\Windows\System32\drivers\fs.sys", True),
    ]
    assert dict(items(found, "service")[1].properties) == {
        "type": "shared process", "start": "automatic (delayed)", "display_name": "DNS Client",
        "account": r"NT AUTHORITY\NetworkService", "group": "TDI",
        "command": r"%SystemRoot%\system32\svchost.exe -k Net -p", "library": r"%SystemRoot%\System32\dnsrslvr.dll",
        "error_control": "normal", "depends_on": ["nsi", "Afd"], "host_group": "Net", "has_triggers": True,
        "is_user_service": False, "binary": r"C:\Windows\System32\dnsrslvr.dll", "binary_exists": False,
    }  # fmt: skip
