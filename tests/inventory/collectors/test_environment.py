"""Environment variables of machine, users and configuration; ports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import wclayer
from tests.inventory.subjects import Keys, base, child, hive, items, rows
from wclayer.errors import FormatError
from wclayer.images.config import parse_config
from wclayer.inventory.collectors import environment, ports
from wclayer.inventory.collectors.ports import parse_port
from wclayer.inventory.item import Finding, Item
from wclayer.inventory.subject.subject import Subject

_MACHINE = r"HKLM\SYSTEM\ControlSet001\Control\Session Manager\Environment"


def _subject(layer: Path, **config: object) -> Subject:
    record = {
        "os": "windows", "architecture": "amd64", "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + 64 * "0"]},
    }  # fmt: skip
    return Subject.of_layers([layer], "image", None, parse_config(json.dumps(record).encode()))


def test_each_variable_has_its_value_as_it_is_stored_and_its_layer(tmp_path: Path) -> None:
    keys: Keys = {
        _MACHINE: {
            "ComSpec": r"%SystemRoot%\system32\cmd.exe",
            "Path": r"%SystemRoot%\system32;%Tools%\bin",
            "OS": "W",
        },
        r"HKU\.DEFAULT\Environment": {"TEMP": r"%USERPROFILE%\Temp"},
    }
    user = hive({"Environment": {"Path": r"%USERPROFILE%\bin;C:\user\bin"}})
    bottom = base(tmp_path, keys, {"Users/app/NTUSER.DAT": user, "user/bin/x.exe": b""})
    own: Keys = {
        _MACHINE: {"Tools": r"C:\tools", "Path": r'%SystemRoot%\system32;"%Tools%\bin";C:\gone;D:\else;%No%\x'}
    }
    found = wclayer.take_inventory(child(tmp_path, bottom, own, {"tools/bin/t.exe": b""}), files=False)
    assert found.findings == ()
    assert rows(found, "environment-variable", "value", "scope", "user", "missing_directories") == [
        ("ComSpec", "", 1, r"%SystemRoot%\system32\cmd.exe", "machine", None, None),
        ("Path", "", 2, r'%SystemRoot%\system32;"%Tools%\bin";C:\gone;D:\else;%No%\x', "machine", None, [r"C:\gone"]),
        ("OS", "", 1, "W", "machine", None, None),
        ("Tools", "", 2, r"C:\tools", "machine", None, None),
        ("TEMP", "", 1, r"%USERPROFILE%\Temp", "user", ".DEFAULT", None),
        ("Path", "", 1, r"%USERPROFILE%\bin;C:\user\bin", "user", "app", []),
    ]


def test_variables_that_are_too_long_do_not_end_the_inventory(tmp_path: Path) -> None:
    keys: Keys = {
        _MACHINE: {"A": 20_000 * "a", "B": "%A%%A%", "C": 40_000 * "c", "Path": r"%B%;C:\gone;%SystemRoot%\gone"},
        r"HKLM\SYSTEM\ControlSet001\Services\s": {"Type": 0x10, "Start": 2, "ImagePath": r"%SystemRoot%\s.exe"},
    }
    found = wclayer.take_inventory(base(tmp_path, keys, {"Windows/s.exe": b""}), files=False)
    assert found.findings == ()
    assert {item.name: len(str(item.properties["value"])) for item in items(found, "environment-variable")} == {
        "A": 20_000, "B": 6, "C": 32_766, "Path": 29,
    }  # fmt: skip
    assert rows(found, "environment-variable", "missing_directories")[-1][-1] == [r"C:\gone", r"%SystemRoot%\gone"]
    assert rows(found, "service", "binary_exists") == [("s", "", 1, True)]


def test_variables_of_the_configuration_hide_those_of_the_machine(tmp_path: Path) -> None:
    layer = base(tmp_path, {_MACHINE: {"MODE": "machine", "OTHER": "x"}})
    with _subject(layer, Env=["Mode=config", "TOKEN=a=b", "EMPTY"]) as subject:
        found = [item for item in environment.collect(subject) if isinstance(item, Item)]
    assert [(item.name, item.properties["value"], item.properties.get("is_hidden")) for item in found] == [
        ("MODE", "machine", True), ("OTHER", "x", False), ("Mode", "config", None), ("TOKEN", "a=b", None),
        ("EMPTY", "", None),
    ]  # fmt: skip
    assert found[-1].origin.place == "config: Env"
    assert found[-1].origin.layer is None


def test_ports_have_number_and_protocol_and_a_wrong_one_is_a_finding(tmp_path: Path) -> None:
    with _subject(base(tmp_path, {}), ExposedPorts={"8080/tcp": {}, "53/udp": {}, "443": {}, "x/tcp": {}}) as subject:
        found = list(ports.collect(subject))
    taken = [(each.name, each.properties) for each in found if isinstance(each, Item)]
    assert taken == [
        ("8080/tcp", {"port": 8080, "protocol": "tcp"}),
        ("53/udp", {"port": 53, "protocol": "udp"}),
        ("443/tcp", {"port": 443, "protocol": "tcp"}),
    ]
    (finding,) = (each for each in found if isinstance(each, Finding))
    assert finding.place == "config: ExposedPorts"
    assert "'x/tcp' is not a port" in finding.text


@pytest.mark.parametrize("text", ["", "/tcp", "0/tcp", "65536/tcp", "80/icmp", "-1/tcp", "٨٠/tcp", "80/"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_port(text)


def test_the_largest_port_is_one() -> None:
    assert parse_port("65535/UDP") == (65535, "udp")


def test_variables_of_the_configuration_that_are_none_leave_those_of_the_machine(tmp_path: Path) -> None:
    keys: Keys = {_MACHINE: {"Tools": r"C:\tools"}}
    with _subject(base(tmp_path, keys), Env=[1, "A=b"]) as subject:
        found = list(environment.collect(subject))
    assert [(item.name, item.properties["scope"]) for item in found if isinstance(item, Item)] == [("Tools", "machine")]
    assert [item.place for item in found if isinstance(item, Finding)] == ["config: Env"]
