"""The ready questions about a registry full of images: each answer is a plain count over the inventories of single
images, taken one after the other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.registry_fleet import Expected, Fleet, FleetRegistry
from tests.fleet.scans import scan
from wclayer.fleet.query.questions import fleet_question
from wclayer.fleet.query.session import FleetSession
from wclayer.fleet.tables.parquet import stored_text
from wclayer.images.windows_version import WindowsVersion
from wclayer.inventory.cve.versions import numbers_of
from wclayer.inventory.item import Inventory, ItemKind
from wclayer.layers.directory.database import Origin
from wclayer.view.merged import MergedTree

LOG4J = "org.apache.logging.log4j:log4j-core"
BELOW = "2.17.1"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, fleet_registry: FleetRegistry) -> Path:
    out = tmp_path_factory.mktemp("asked") / "out"
    ended = scan(fleet_registry.host, out, "--jobs", "2")
    assert ended.status == 0, ended.told
    return out


def _ask(session: FleetSession, name: str, /, **values: str) -> list[dict[str, Any]]:
    asked = fleet_question(name)
    return list(session.ask(asked.sql, asked.values(values)).records())


def _version(inventory: Inventory) -> WindowsVersion:
    assert inventory.operating_system is not None
    version = WindowsVersion.parse(inventory.operating_system.version)
    assert version is not None
    return version


def test_answers_are_those_of_single_inventories(out: Path, expected: Expected, fleet_registry: FleetRegistry) -> None:
    host = fleet_registry.host
    held = [(f"{host}/{name}", each) for name, all_ in expected.by_reference().items() for each in all_]
    assert len(held) > 200
    with FleetSession({"main": out}) as session:
        _check_updates(session, held)
        _check_packages(session, held)
        newest: Counter[int] = Counter()
        for _, each in held:
            version = _version(each)
            newest[version.build] = max(newest[version.build], version.revision)
        behind = Counter(name for name, each in held if _version(each).revision < newest[_version(each).build])
        assert behind
        assert Counter(row["reference"] for row in _ask(session, "behind")) == behind
        levels = Counter((_version(each).build, _version(each).revision) for _, each in held)
        assert {
            (row["build"], row["revision"]): row["image_references"] for row in _ask(session, "patch-levels")
        } == levels
        findings = Counter((name, f.kind, f.place, f.text) for name, each in held for f in each.findings)
        answer = _ask(session, "findings")
        assert Counter((row["reference"], row["kind"], row["place"], row["text"]) for row in answer) == findings
        accounts = Counter(
            (name, item.name)
            for name, each in held
            for item in each.of_kind(ItemKind.USER)
            if item.properties.get("is_password_required") is False and item.properties.get("is_disabled") is False
        )
        assert Counter((row["reference"], row["name"]) for row in _ask(session, "no-password")) == accounts
        assert _ask(session, "errors") == []
        layers = {each.digest: [layer.digest for layer in each.layers] for _, each in held}
        used = Counter(layer for chain in layers.values() for layer in chain)
        answer = _ask(session, "shared-layers", first="1000")
        assert {row["layer"]: row["images"] for row in answer if row["layer"] in used} == used


def _check_updates(session: FleetSession, held: list[tuple[str, Inventory]]) -> None:
    known = Counter(str(item.properties["kb"]) for _, each in held for item in each.items if item.properties.get("kb"))
    assert known
    for kb in [*known][:3]:
        lacking = Counter(
            name
            for name, each in held
            if not any(
                item.properties.get("kb") == kb and item.properties["state"] in ("installed", "superseded", "permanent")
                for item in each.of_kind(ItemKind.UPDATE)
            )
        )
        assert Counter(row["reference"] for row in _ask(session, "lacks-kb", kb=kb)) == lacking


def _check_packages(session: FleetSession, held: list[tuple[str, Inventory]]) -> None:
    found = Counter(
        (name, item.version, item.origin.place)
        for name, each in held
        for item in each.of_kind(ItemKind.JAVA_PACKAGE)
        if item.name == LOG4J
    )
    assert found
    answer = _ask(session, "holds", name=LOG4J)
    assert Counter((row["reference"], row["version"], row["place"]) for row in answer) == found
    old = Counter({each: count for each, count in found.items() if numbers_of(each[1]) < numbers_of(BELOW)})
    answer = _ask(session, "holds", name="log4j-core", below=BELOW)
    assert Counter((row["reference"], row["version"], row["place"]) for row in answer) == old


def test_images_show_what_they_show_when_they_are_unpacked(out: Path, fleet: Fleet, expected: Expected) -> None:
    with FleetSession({"main": out}) as session:
        for digest in [*fleet.images][::40]:
            paths = [layer.path for layer in expected.inventory(digest).layers]
            with MergedTree([*reversed(paths)]) as tree:
                shown = {
                    stored_text(node.key): None if node.is_directory else (tree.digest(node) or b"").hex() or None
                    for node in tree.walk(tree.root())
                    if node.row.origin == Origin.OWN
                }
            answer = session.ask(
                "SELECT key, sha256 FROM files_of($image) WHERE kind <> 'hard-link'", {"image": digest}
            )
            found: dict[str, str | None] = dict(answer)
            assert found
            assert {key: shown.get(key, "nothing") for key in found} == found
            every = session.ask("SELECT key FROM files_of($image)", {"image": digest})
            assert sorted(key for (key,) in every) == sorted(shown)
