"""Scheduled tasks: their documents, and what the scheduler has registered."""

from __future__ import annotations

from pathlib import Path

import pytest

import wclayer
from tests.inventory.subjects import Keys, base, child, items, rows
from wclayer.errors import FormatError
from wclayer.inventory.collectors.task_document import parse_task

_CACHE = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache"
_ID = "{01234567-89AB-CDEF-0123-456789ABCDEF}"

# A document as `schtasks /create` and Windows' own tasks have it.
TASK = """<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Author>CONTOSO\\admin</Author><Version>1.4</Version><Description>Nightly work</Description>
    <URI>\\App\\Nightly</URI></RegistrationInfo>
  <Triggers><CalendarTrigger><StartBoundary>2024-01-01T02:00:00</StartBoundary></CalendarTrigger><BootTrigger/></Triggers>
  <Principals>
    <Principal id="Other"><UserId>S-1-5-19</UserId></Principal>
    <Principal id="Author"><UserId>S-1-5-18</UserId><RunLevel>HighestAvailable</RunLevel></Principal>
  </Principals>
  <Settings><Enabled>false</Enabled><Hidden>true</Hidden></Settings>
  <Actions Context="Author">
    <Exec><Command>C:\\app\\night.exe</Command><Arguments>--all "x y"</Arguments>
      <WorkingDirectory>C:\\app</WorkingDirectory></Exec>
    <ComHandler><ClassId>{A6BA00FE-40E8-477C-B713-C64A14F18ADB}</ClassId></ComHandler>
  </Actions>
</Task>
"""
_SMALL = '<Task xmlns="http://x"><Actions><ComHandler><ClassId>{1}</ClassId></ComHandler></Actions></Task>'
_TASKS = "Windows/System32/Tasks"


def _registered(*tasks: str) -> Keys:
    keys: dict[str, dict[str, str]] = {rf"{_CACHE}\Tasks\{_ID}": {"Author": "Somebody", "Path": "x"}}
    return {**keys, **{rf"{_CACHE}\Tree\{task}": {"Id": _ID} for task in tasks}}


def test_a_task_does_what_its_document_says(tmp_path: Path) -> None:
    layer = child(tmp_path, base(tmp_path, {}), _registered(r"App\Nightly"), {f"{_TASKS}/App/nightly": _utf16(TASK)})
    found = wclayer.take_inventory(layer, files=False)
    assert found.findings == ()
    (task,) = items(found, "task")
    assert (task.name, task.version, task.publisher) == (r"\App\nightly", "1.4", "CONTOSO\\admin")
    assert task.origin.place == r"C:\Windows\System32\Tasks\App\nightly"
    assert dict(task.properties) == {
        "is_enabled": False, "command": r"C:\app\night.exe", "arguments": '--all "x y"', "working_directory": r"C:\app",
        "further_commands": ["COM {A6BA00FE-40E8-477C-B713-C64A14F18ADB}"], "triggers": ["calendar", "boot"],
        "user": "S-1-5-18", "run_level": "HighestAvailable", "description": "Nightly work", "is_hidden": True,
        "is_registered": True, "has_document": True,
    }  # fmt: skip


def test_tasks_without_document_and_documents_without_task_are_told_apart(tmp_path: Path) -> None:
    files = {f"{_TASKS}/alone": _SMALL.encode(), f"{_TASKS}/deep/both": _utf16(_SMALL)}
    found = wclayer.take_inventory(base(tmp_path, _registered("gone", r"deep\both"), files), files=False)
    assert found.findings == ()
    assert rows(found, "task", "command", "is_registered", "has_document", "is_enabled") == [
        (r"\alone", "", 1, "COM {1}", False, True, True),
        (r"\deep\both", "", 1, "COM {1}", True, True, True),
        (r"\gone", "", 1, None, True, False, None),
    ]
    assert items(found, "task")[2].publisher == "Somebody"


def test_a_document_that_is_none_is_a_finding_and_stops_no_other(tmp_path: Path) -> None:
    entity = b'<!DOCTYPE Task [<!ENTITY a "b">]><Task>&a;</Task>'
    files = {
        f"{_TASKS}/a": b"", f"{_TASKS}/b": b"<Task>", f"{_TASKS}/c": entity, f"{_TASKS}/d": b"<Job/>",
        f"{_TASKS}/e": _SMALL.encode(), f"{_TASKS}/f": b"<a>" * 100 + b"</a>" * 100,
    }  # fmt: skip
    found = wclayer.take_inventory(base(tmp_path, {}, files), files=False)
    assert [item.name for item in items(found, "task")] == ["\\e"]
    assert [(finding.kind, finding.place[-1]) for finding in found.findings] == [
        ("damaged", "a"), ("damaged", "b"), ("damaged", "c"), ("damaged", "d"), ("limited", "f"),
    ]  # fmt: skip


def test_folders_of_tasks_that_are_too_deep_are_a_finding(tmp_path: Path) -> None:
    found = wclayer.take_inventory(base(tmp_path, _registered("a", 60 * "b\\" + "c")), files=False)
    assert [item.name for item in items(found, "task")] == ["\\a"]
    assert [finding.kind for finding in found.findings] == ["limited"]


@pytest.mark.parametrize("text", ["", "<Task", "<a/>"])
def test_what_is_no_task_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_task(text.encode())


def _utf16(text: str) -> bytes:
    return text.encode("utf-16")
