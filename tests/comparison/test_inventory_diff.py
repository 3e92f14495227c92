"""What differs between what images hold, beside expectations written by hand."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import wclayer
from tests.images import samples, stores
from tests.inventory import windows
from tests.support import parsed, text
from wclayer.comparison.image_diff import file_differences
from wclayer.comparison.inventory_diff import diff_contents, diff_inventories
from wclayer.inventory.item import Finding, FindingKind, Inventory, Item, ItemKind, Origin, Property, SubjectLayer

_LAYER = SubjectLayer(1, "", "", "", True, "")
_BEFORE = "before:1"


def _item(name: str, version: str, place: str = "C:\\a", *, kind: str = "program", **properties: Property) -> Item:
    return Item(ItemKind(kind), name, version, Origin(place, _LAYER), properties=properties)


def _inventory(*items: Item, findings: tuple[Finding, ...] = ()) -> Inventory:
    return Inventory("", "", "", (_LAYER,), items, findings)


def _rows(a: Inventory, b: Inventory) -> list[tuple[str, str, str, dict[str, tuple[object, object]]]]:
    return [(each.change.value, str(each.kind), each.name, each.fields) for each in diff_inventories(a, b).items]


def test_another_version_is_a_change_and_a_place_is_none() -> None:
    old = _inventory(_item("Python", "3.11"), _item("Gone", "1"), _item("same", "1", "C:\\x"))
    new = _inventory(_item("PYTHON", "3.12"), _item("New", "1"), _item("same", "1", "C:\\y"))
    assert _rows(old, new) == [
        ("removed", "program", "Gone", {}),
        ("added", "program", "New", {}),
        ("changed", "program", "PYTHON", {"version": ("3.11", "3.12")}),
    ]
    assert not diff_inventories(old, old)


def test_the_same_name_of_another_kind_is_another_thing() -> None:
    rows = _rows(_inventory(_item("a", "1")), _inventory(_item("a", "1", kind="service")))
    assert rows == [("removed", "program", "a", {}), ("added", "service", "a", {})]


def test_properties_differ_but_for_those_that_files_tell() -> None:
    old = _inventory(_item("a", "1", state="staged", size=1, sha256="x", gone=True))
    new = _inventory(_item("a", "1", state="installed", size=2, sha256="y"))
    assert _rows(old, new) == [("changed", "program", "a", {"state": ("staged", "installed"), "gone": (True, None)})]


def test_findings_are_compared_in_linear_time() -> None:
    a, b = (
        tuple(Finding(FindingKind.DAMAGED, f"C:\\{side}{number}", "x") for number in range(10_000)) for side in "ab"
    )
    began = time.process_time()
    difference = diff_inventories(_inventory(findings=a), _inventory(findings=b))
    assert time.process_time() - began < 5
    assert (difference.old_findings, difference.new_findings) == (a, b)


def test_things_of_one_name_are_told_apart_by_place_then_by_version() -> None:
    old = _inventory(_item("a", "1", "C:\\x"), _item("a", "2", "C:\\y"), _item("a", "3", "C:\\z"))
    new = _inventory(
        _item("a", "3", "C:\\moved"), _item("a", "5", "c:\\X"), _item("a", "7", "C:\\n"), _item("a", "9", "C:\\o")
    )
    assert _rows(old, new) == [
        ("changed", "program", "a", {"version": ("1", "5")}),
        ("changed", "program", "a", {"version": ("2", "7")}),
        ("added", "program", "a", {}),
    ]


def test_findings_of_one_image_alone_are_told() -> None:
    both, first, second = (Finding(FindingKind.DAMAGED, place, "is damaged") for place in ("both", "first", "second"))
    found = diff_inventories(_inventory(findings=(both, first)), _inventory(findings=(second, both)))
    assert (found.old_findings, found.new_findings, bool(found)) == ((first,), (second,), True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> wclayer.ImageStore:
    """A store with an image of Windows before and after a monthly update."""
    store = wclayer.ImageStore(tmp_path_factory.mktemp("windows") / "store")
    updated = windows.base_image(store, tmp_path_factory.mktemp("base"))
    before = samples.image(
        "docker", updated.layers[:1], windows.HISTORY[:1], updated.record["config"], os_version=windows.VERSION
    )
    stores.fill(store, _BEFORE, before)
    return store


def test_an_update_is_told(store: wclayer.ImageStore) -> None:
    arguments = ("diff", "--no-times", "--store", store.path, _BEFORE, windows.BASE)
    lines = text(*arguments, status=1).splitlines()
    start = lines.index("~ operating-system Windows Server 2022 Datacenter: 10.0.20348.2113 -> 10.0.20348.2322")
    end = next(number for number, line in enumerate(lines) if " Files/" in line or " Hives" in line)
    updates = [line for line in lines[start:end] if line[2:].startswith("update ")]
    assert updates == [
        "- update KB5030216: 20348.1970.1.0",
        "- update KB5030216: 20348.1970.1.0",
        "+ update KB5034613: 10.0.4690.1",
        "~ update Package_for_RollupFix: 20348.2113.1.10",
        "+ update Package_for_RollupFix: 20348.2322.1.8",
        "+ update Package_for_ServicingStack_2320: 20348.2320.1.2",
    ]
    assert "    state: installed -> superseded" in lines[start:end]
    summary = text(*arguments, "--summary", status=1).splitlines()
    (first,) = [line for line in summary if line.startswith("inventory")]
    assert first == "inventory ~ operating-system Windows Server 2022 Datacenter: 10.0.20348.2113 -> 10.0.20348.2322"
    found = parsed(*arguments, status=1)
    assert isinstance(found, dict)
    assert {"change": "added", "name": "KB5034613"}.items() <= found["inventory"]["items"][3].items()


_METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n"
_SITE = "Python/Lib/site-packages"
_OLD = {
    f"{_SITE}/kept-1.dist-info/METADATA": _METADATA.format("kept", 1),
    f"{_SITE}/changed-1.dist-info/METADATA": _METADATA.format("changed", 1),
    f"{_SITE}/moved-1.dist-info/METADATA": _METADATA.format("moved", 1),
    f"{_SITE}/other-1.dist-info/METADATA": _METADATA.format("other", 1),
    f"{_SITE}/other-1.dist-info/INSTALLER": "pip\n",
    "app/package.json": '{"name": "app", "version": "1"}',
    "tool/node_modules/left/package.json": '{"name": "left", "version": "1"}',
}
_NEW = {
    f"{_SITE}/kept-1.dist-info/METADATA": _METADATA.format("kept", 1),
    f"{_SITE}/changed-2.dist-info/METADATA": _METADATA.format("changed", 2),
    f"{_SITE}/sub/moved-1.dist-info/METADATA": _METADATA.format("moved", 1),
    f"{_SITE}/other-1.dist-info/METADATA": _METADATA.format("other", 1),
    f"{_SITE}/other-1.dist-info/INSTALLER": "conda\n",
    "app/package.json": '{"name": "app", "version": "1"}',
    "app/node_modules/x/package.json": '{"name": "x", "version": "1"}',
    "tool/node_modules/left/package.json": '{"name": "left", "version": "2"}',
}


def test_only_files_that_differ_are_looked_into_and_the_answer_is_that_of_all(tmp_path: Path) -> None:
    store = wclayer.ImageStore(tmp_path / "store")
    base = samples.layer(samples.small_base_tar())
    for name, files in (("old:1", _OLD), ("new:1", _NEW)):
        tar = samples.small_tar({f"Files/{path}": data.encode() for path, data in files.items()})
        stores.fill(store, name, samples.image("docker", [base, samples.layer(tar)], [], {}))
    with wclayer.open_image("old:1", store) as a, wclayer.open_image("new:1", store) as b:
        found = diff_contents(a, b, [each.path for each in file_differences(a.path, b.path, times=False)])
        assert found == diff_inventories(wclayer.take_inventory(a), wclayer.take_inventory(b))
    assert [(each.change.value, each.name) for each in found.items if each.kind is ItemKind.NODE_PACKAGE] == [
        ("added", "app"),  # an application, since packages are beside its package.json
        ("changed", "left"),
        ("added", "x"),
    ]
    python = [(each.change.value, each.name) for each in found.items if each.kind is ItemKind.PYTHON_PACKAGE]
    assert ("changed", "changed") in python
    assert not {"kept", "moved"} & {name for _, name in python}
