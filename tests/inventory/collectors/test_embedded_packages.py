"""Modules of Go and crates of Rust, of which programs say that they were made of them."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from tests.formats.pe import craft_go
from tests.formats.pe.craft import FIRST_RVA, Pe, Section
from tests.inventory.trees import inventory_of
from wclayer.inventory.item import FindingKind, ItemKind

GO = craft_go.program(craft_go.inline()).encode()


def rust(record: object) -> bytes:
    data = zlib.compress(json.dumps(record).encode())
    return Pe(sections=[Section(FIRST_RVA, data, b".dep-v0")]).encode()


def test_the_modules_of_a_program_are_items(tmp_path: Path) -> None:
    taken = inventory_of(tmp_path / "a", {"app/app.exe": GO})
    found = list(taken.of_kind(ItemKind.GO_MODULE))
    assert {item.origin.place for item in found} == {r"C:\app\app.exe"}
    assert [(item.name, item.version, item.properties) for item in found] == [
        ("example.org/app", "v1.2.3", {"is_main": True, "sum": "h1:main="}),
        ("example.org/one", "v0.1.0", {"is_main": False, "sum": "h1:one="}),
        ("example.org/fork", "v0.2.1", {"is_main": False, "replaces": "example.org/two v0.2.0", "sum": "h1:fork="}),
        ("example.org/local", "v0.3.0", {"is_main": False, "replaced_by": "../local"}),
        ("stdlib", "1.22.1", {"is_main": False}),
    ]  # fmt: skip
    assert not taken.findings


def test_the_crates_of_a_program_are_items(tmp_path: Path) -> None:
    record = {
        "packages": [
            {"name": "app", "version": "0.1.0", "source": "local", "root": True, "dependencies": [1, 2]},
            {"name": "serde", "version": "1.0.200", "source": "crates.io"},
            {"name": "cc", "version": "1.0.1", "source": "crates.io", "kind": "build"},
        ]
    }
    found = list(inventory_of(tmp_path / "a", {"app.exe": rust(record)}).of_kind(ItemKind.RUST_CRATE))
    assert [(item.name, item.version, item.properties) for item in found] == [
        ("app", "0.1.0", {"is_main": True, "is_development": False, "source": "local"}),
        ("serde", "1.0.200", {"is_main": False, "is_development": False, "source": "crates.io"}),
        ("cc", "1.0.1", {"is_main": False, "is_development": True, "source": "crates.io"}),
    ]


def test_each_copy_of_a_program_has_its_modules_and_another_name_has_none(tmp_path: Path) -> None:
    taken = inventory_of(tmp_path / "a", {"a.exe": GO, "b/a.exe": GO}, {"c.exe": "a.exe"})
    main = [item for item in taken.of_kind(ItemKind.GO_MODULE) if item.properties["is_main"]]
    assert {item.origin.place for item in main} == {r"C:\a.exe", r"C:\b\a.exe"}


@pytest.mark.parametrize(
    "data",
    [
        craft_go.program(craft_go.inline("g" * 256)).encode(), rust([]), rust({"packages": {}}),
        rust({"packages": [1]}),
        Pe(sections=[Section(FIRST_RVA, b"no zlib", b".dep-v0")]).encode(),
    ],
)  # fmt: skip
def test_damage_is_a_finding_and_the_program_stays(tmp_path: Path, data: bytes) -> None:
    taken = inventory_of(tmp_path / "a", {"a.exe": data})
    assert [item.name for item in taken.of_kind(ItemKind.PE_FILE)] == ["a.exe"]
    (finding,) = taken.findings
    assert (finding.kind, finding.place) == (FindingKind.DAMAGED, r"C:\a.exe")


def test_a_list_of_more_packages_than_any_program_has_does_not_fill_the_memory(tmp_path: Path) -> None:
    taken = inventory_of(tmp_path / "a", {"app.exe": rust({"packages": [{}] * 300_000})})
    assert len(list(taken.of_kind(ItemKind.RUST_CRATE))) == 10_000
    assert [(finding.kind, finding.place) for finding in taken.findings] == [(FindingKind.LIMITED, r"C:\app.exe")]


def test_the_packages_of_all_programs_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.inventory.collectors.pe_files._MOST_PACKAGES_OF_ALL", 3)
    files = {f"{name}.exe": rust({"packages": [{"name": name}, {}]}) for name in "ab"}
    taken = inventory_of(tmp_path / "a", files)
    assert len(list(taken.of_kind(ItemKind.RUST_CRATE))) == 2
    assert len(list(taken.of_kind(ItemKind.PE_FILE))) == 2
    assert [(finding.kind, finding.place) for finding in taken.findings] == [(FindingKind.LIMITED, r"C:\b.exe")]
