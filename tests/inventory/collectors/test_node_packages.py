"""Packages of Node.js: which package.json is one, and what lock files add."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.inventory.trees import inventory_of, items
from wclayer.inventory.item import FindingKind, ItemKind

PACKAGE = b'{"name": "n", "version": "1.0.0"}'


def test_installed_packages_and_the_application_are_found(tmp_path: Path) -> None:
    files = {
        "app/package.json": b'{"name": "app", "private": true, "dependencies": {"left-pad": "^1.0.0"}}',
        "app/node_modules/left-pad/package.json": b"""{"name": "left-pad", "version": "1.3.0", "license": "WTFPL",
            "author": "azer <a@example.org> (https://example.org)"}""",
        "app/node_modules/@types/node/package.json": b"""\xef\xbb\xbf{"name": "@types/node", "version": "20.1.0",
            "author": {"name": "A"}, "license": {"type": "MIT", "url": "x"}}""",
        "app/node_modules/left-pad/node_modules/deep/package.json": b'{"name": "deep", "version": "0.1.0"}',
        "app/node_modules/left-pad/dist/esm/package.json": b'{"type": "module", "name": "no", "version": "1.0.0"}',
        "tools/package.json": b'{"name": "sources", "version": "1.0.0"}',
    }  # fmt: skip
    found = items(inventory_of(tmp_path / "a", files), ItemKind.NODE_PACKAGE)
    modules = r"C:\app\node_modules"
    assert {place: (item.name, item.version, item.publisher, item.properties) for place, item in found.items()} == {
        r"C:\app\package.json": ("app", "", "", {"is_application": True}),
        rf"{modules}\left-pad\package.json": (
            "left-pad", "1.3.0", "azer", {"license": "WTFPL", "is_application": False},
        ),
        rf"{modules}\@types\node\package.json": (
            "@types/node", "20.1.0", "A", {"license": "MIT", "is_application": False},
        ),
        rf"{modules}\left-pad\node_modules\deep\package.json": ("deep", "0.1.0", "", {"is_application": False}),
    }  # fmt: skip


LOCK = {
    "lockfileVersion": 3,
    "packages": {
        "": {"name": "app", "version": "1.0.0"},
        "node_modules/a": {"version": "1.0.0", "license": "MIT"},
        "node_modules/@s/b/node_modules/c": {"version": "2.0.0", "dev": True},
        "node_modules/alias": {"name": "real", "version": "3.0.0"},
        "node_modules/workspace": {"resolved": "packages/workspace", "link": True},
        "packages/workspace": {"version": "1.0.0"},
    },
}


def test_a_lock_file_counts_where_nothing_is_installed(tmp_path: Path) -> None:
    lock = {"app/package-lock.json": json.dumps(LOCK).encode()}
    found = list(inventory_of(tmp_path / "a", lock).of_kind(ItemKind.NODE_PACKAGE))
    assert [(item.name, item.version, item.properties["is_development"]) for item in found] == [
        ("a", "1.0.0", False), ("c", "2.0.0", True), ("real", "3.0.0", False),
    ]  # fmt: skip
    assert found[0].properties == {"license": "MIT", "source": "package-lock.json", "is_development": False}
    installed = {**lock, "app/node_modules/a/package.json": PACKAGE}
    assert [item.name for item in inventory_of(tmp_path / "b", installed).of_kind(ItemKind.NODE_PACKAGE)] == ["n"]


@pytest.mark.parametrize("version", [1, "3", None])
def test_a_lock_file_of_another_version_is_left_alone(tmp_path: Path, version: object) -> None:
    taken = inventory_of(
        tmp_path / "a", {"package-lock.json": json.dumps({**LOCK, "lockfileVersion": version}).encode()}
    )
    assert not list(taken.of_kind(ItemKind.NODE_PACKAGE))
    assert not taken.findings


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"{", FindingKind.DAMAGED), (b"[]", FindingKind.DAMAGED), (b"\xff\xfe{\0}\0", FindingKind.DAMAGED),
        (b'{"a":' * 100_000, FindingKind.LIMITED), (b" " * (5 << 20), FindingKind.LIMITED),
        (b'{"version": ' + b"1" * 100_000 + b"}", FindingKind.DAMAGED),
    ],
)  # fmt: skip
def test_a_damaged_document_is_a_finding_and_hides_no_other(tmp_path: Path, data: bytes, kind: FindingKind) -> None:
    files = {"node_modules/bad/package.json": data, "node_modules/good/package.json": PACKAGE}
    taken = inventory_of(tmp_path / "a", files)
    assert [item.name for item in taken.of_kind(ItemKind.NODE_PACKAGE)] == ["n"]
    (finding,) = taken.findings
    assert (finding.kind, finding.place) == (kind, r"C:\node_modules\bad\package.json")


@pytest.mark.parametrize("data", [b"{}", b'{"name": 1, "version": []}', b'{"name": "a"}', b'{"version": "1"}'])
def test_what_states_no_name_and_version_is_no_package(tmp_path: Path, data: bytes) -> None:
    taken = inventory_of(tmp_path / "a", {"node_modules/x/package.json": data})
    assert not list(taken.of_kind(ItemKind.NODE_PACKAGE))
    assert not taken.findings


def test_a_lock_file_of_very_many_packages_is_read_up_to_a_limit(tmp_path: Path) -> None:
    many = {f"node_modules/p{number}": {"version": "1"} for number in range(20_001)}
    lock = json.dumps({"lockfileVersion": 2, "packages": many}).encode()
    taken = inventory_of(tmp_path / "a", {"package-lock.json": lock})
    assert len(list(taken.of_kind(ItemKind.NODE_PACKAGE))) == 20_000
    assert [finding.kind for finding in taken.findings] == [FindingKind.LIMITED]
