"""Registries that somebody made to do harm: they take time that is linear in their size, and stop nothing else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import wclayer
from tests.inventory.subjects import Keys, base, items, rows
from wclayer.formats.regf.values import ValueType
from wclayer.inventory.collectors import tasks

_SYSTEM = r"HKLM\SYSTEM\ControlSet001"
_MACHINE = rf"{_SYSTEM}\Control\Session Manager\Environment"
_CBS = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages"
_UNINSTALL = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall"
_MANY = 4000
_EXPANDED: Keys = {_MACHINE: {f"V{number}": "%V0%" for number in range(_MANY)}}
_LARGE: dict[str, tuple[str, Keys]] = {
    "variables": ("environment-variable", {_MACHINE: {f"V{number}": "v" for number in range(_MANY)}}),
    "variables that name others": ("environment-variable", _EXPANDED),
    "features": ("feature", {rf"{_CBS}\P~1~2~3~4\Updates": {f"F{number}": 112 for number in range(_MANY)}}),
    "programs": ("program", {rf"{_UNINSTALL}\P{number}": {"DisplayName": "x"} for number in range(_MANY)}),
}


@pytest.mark.parametrize("name", _LARGE)
def test_a_large_key_takes_linear_time(tmp_path: Path, name: str) -> None:
    kind, keys = _LARGE[name]
    layer = base(tmp_path, keys)
    began = time.process_time()
    found = wclayer.take_inventory(layer, files=False)
    assert time.process_time() - began < 10
    assert len(items(found, kind)) == _MANY
    assert found.findings == ()


def test_a_variable_that_its_references_make_too_long_stops_nothing(tmp_path: Path) -> None:
    keys: Keys = {
        _MACHINE: {"A": "x" * 30_000, "B": "%A%%A%", "Path": r"%B%;C:\gone"},
        rf"{_SYSTEM}\Services\S": {"Type": 16, "Start": 2, "ImagePath": r"%B%\x.exe"},
    }
    found = wclayer.take_inventory(base(tmp_path, keys), files=False)
    assert rows(found, "service", "start") == [("S", "", 1, "automatic")]
    assert [item.name for item in items(found, "environment-variable")] == ["A", "B", "Path"]


def test_variables_that_name_each_other_do_not_fill_the_memory(tmp_path: Path) -> None:
    large = {f"V{number:04}": "%A%" for number in range(4000)}
    found = wclayer.take_inventory(base(tmp_path, {_MACHINE: {"A": "x" * 30_000, **large}}), files=False)
    assert len(items(found, "environment-variable")) == 4001


def test_tasks_whose_keys_lead_in_a_circle_are_read_once(tmp_path: Path) -> None:
    cache = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache\Tree"
    target = (ValueType.REG_LINK, rf"\Registry\Machine\{cache}".encode("utf-16-le"))
    links: Keys = {rf"HKLM\{cache}\{name}": {"SymbolicLinkValue": target} for name in "abc"}
    layer = base(tmp_path, {**links, rf"HKLM\{cache}\Task": {"Id": "{1}"}})
    found = wclayer.take_inventory(layer, files=False)
    assert [item.name for item in items(found, "task")] == [r"\Task"]


def test_too_many_tasks_are_one_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_MOST", 20)
    cache = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache\Tree"
    layer = base(tmp_path, {rf"{cache}\{number}": {"Id": "{1}"} for number in range(50)})
    found = wclayer.take_inventory(layer, files=False)
    assert [finding.kind for finding in found.findings] == ["limited"]
