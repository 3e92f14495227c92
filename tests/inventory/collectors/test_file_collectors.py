"""The walk over all files: who is asked for which file, the same answers of a layer and of its disk, and the limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import wclayer
from tests.formats.pe.craft import Pe
from tests.inventory.trees import METADATA, NUSPEC, SITE, inventory_of, make_layer
from tests.support import run
from wclayer.inventory import collecting
from wclayer.inventory.collectors.file_collector import Dispatch
from wclayer.inventory.item import FindingKind

PROGRAM = Pe().encode()
FILES = {
    "a.exe": PROGRAM, "Windows/WinSxS/x/b.dll": PROGRAM + b"!", "unknown.suffix": PROGRAM + b"?",
    f"{SITE}/a-1.dist-info/METADATA": METADATA, "p/a.nuspec": NUSPEC,
    "node_modules/n/package.json": b'{"name": "n", "version": "1"}', "bad.jar": b"bad", "text.txt": PROGRAM,
}  # fmt: skip
LINKS = {"Windows/b.dll": "Windows/WinSxS/x/b.dll"}


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("a.exe", {"PeFiles"}), ("A.DLL", {"PeFiles"}), ("x.PY", set()), ("a.tar.gz", set()), ("none", {"PeFiles"}),
        ("a.xyz", {"PeFiles"}), ("d.dist-info/METADATA", {"PythonPackages"}), ("a.egg-info", {"PythonPackages"}),
        ("Package.json", {"NodePackages"}), ("app.deps.json", {"NugetPackages"}), ("a.JAR", {"JavaPackages"}),
        ("manifest.xml", set()), (".hidden", {"PeFiles"}), ("a.b/file.", {"PeFiles"}),
    ],
)  # fmt: skip
def test_the_name_of_a_file_tells_who_is_asked(path: str, asked: set[str]) -> None:
    dispatch = Dispatch(collecting.FILE_COLLECTORS)
    assert {collector.__name__ for collector in dispatch.asked_for(path.rpartition("/")[2])} == asked


def test_a_disk_and_its_layer_hold_the_same(tmp_path: Path) -> None:
    layer = make_layer(tmp_path / "a", FILES, LINKS)
    run("convert", "--to", "ntfs", "-o", tmp_path / "disk.img", layer)
    of_layer, of_disk = wclayer.take_inventory(layer), wclayer.take_inventory(tmp_path / "disk.img")
    assert len(of_layer.items) == 6
    assert [(item.kind, item.name, item.version, item.origin.place, item.properties) for item in of_disk.items] == [
        (item.kind, item.name, item.version, item.origin.place, item.properties) for item in of_layer.items
    ]
    assert of_disk.findings == of_layer.findings
    assert [finding.place for finding in of_layer.findings] == [r"C:\bad.jar"]


def test_the_walk_is_left_out_on_wish(tmp_path: Path) -> None:
    taken = wclayer.take_inventory(make_layer(tmp_path / "a", FILES, LINKS), files=False)
    assert not taken.items
    assert not taken.findings


def test_the_number_of_items_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.inventory.collecting.MAX_FOUND", 4000)
    taken = inventory_of(tmp_path / "a", {f"{number}.exe": PROGRAM for number in range(5)})
    assert len(taken.items) == 3
    assert [(finding.kind, finding.place) for finding in taken.findings] == [(FindingKind.LIMITED, "C:\\")]


def test_the_number_of_pe_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.inventory.collectors.pe_files._MOST", 2)
    taken = inventory_of(tmp_path / "a", {f"{number}.exe": PROGRAM for number in range(3)}, {"4.exe": "0.exe"})
    assert [item.name for item in taken.items] == ["0.exe", "1.exe"]
    assert taken.items[0].properties["names"] == [r"C:\0.exe", r"C:\4.exe"]
    assert [(finding.kind, finding.place) for finding in taken.findings] == [(FindingKind.LIMITED, r"C:\2.exe")]


def test_hashing_stops_at_the_limit_of_sizes_and_the_files_stay(tmp_path: Path) -> None:
    layer = make_layer(tmp_path / "a", {"a.exe": PROGRAM, "b.exe": PROGRAM, "c.exe": PROGRAM})
    run("convert", "--to", "ntfs", "-o", tmp_path / "disk.img", layer)
    printed = run("inventory", "--json", f"--max-total-size={len(PROGRAM)}", tmp_path / "disk.img").stdout
    taken = json.loads(printed)
    assert ["sha256" in item["properties"] for item in taken["items"]] == [True, False, False]
    assert [(finding["kind"], finding["place"]) for finding in taken["findings"]] == [("limited", r"C:\b.exe")]
