"""`wclayer fleet diff`: what differs between two fleets is what a plain comparison of their rows says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.made_fleet import MadeFleet, made_fleet, write_fleet
from tests.support import parsed, run, text
from wclayer.errors import PathNotFoundError
from wclayer.fleet.query.difference import FleetImageChange, diff_fleets
from wclayer.fleet.tables.schema import ImageRow, PackageRow
from wclayer.images.descriptor import digest_of
from wclayer.view.diff import Change

Item = tuple[str, str, str]


class Pair:
    """Two fleets of one registry: an earlier and a later one."""

    def __init__(self, folder: Path) -> None:
        self.old, self.new = made_fleet(90), made_fleet(120)
        images = self.new.rows.images
        # Some references go, some get the image of another one, one cannot be read any more.
        images[:] = [row for number, row in enumerate(images) if number % 17 != 3]
        for number in range(0, 60, 7):
            target = next(row for row in images[number + 5 :] if row.status == "ok")
            _retag(images, number, target)
        images[1] = images[1]._replace(image=None, status="error", error="gone", layers=(), layer_count=0)
        # The next version of an image with the next versions of its packages, under two references.
        named = {(row.reference, row.image) for row in self.old.rows.images}
        kept = Counter(row.image for row in images if (row.reference, row.image) in named and row.status == "ok")
        self.twice = str(next(image for image, count in kept.items() if count == 2))
        rebuilt = next(row for row in images if row.image == self.twice)._replace(image=digest_of(b"rebuilt"))
        for number, row in enumerate(images):
            if row.image == self.twice:
                _retag(images, number, rebuilt)
        held = [row for row in self.old.rows.packages if row.image == self.twice]
        for package in held:
            next_version = package._replace(image=str(rebuilt.image), version=f"{package.version}.1")
            self.new.rows.packages.append(next_version)
        # Packages of one name: two versions each, one of which is the same.
        for fleet, versions in ((self.old, ("1", "2")), (self.new, ("2", "3", "4"))):
            image = next(row for row in fleet.rows.images if row.reference == images[7].reference).image
            for version in versions:
                package = PackageRow(str(image), "go-module", "Twice", version, None, None, version, None, False, "{}")
                fleet.rows.packages.append(package)
        # A reference to images for two releases of Windows; a new one comes for one of them.
        two = [next(row for row in images if row.build == build) for build in (17763, 20348)]
        for fleet, third in ((self.old, two[1]), (self.new, two[1]._replace(image=digest_of(b"third")))):
            fleet.rows.images += [_named(row, "index:1") for row in (two[0], third)]
        for fleet, place in ((self.old, folder / "old"), (self.new, folder / "new")):
            _drop_strangers(fleet)
            write_fleet(str(place), fleet)
        self.places = folder / "old", folder / "new"


def _named(row: ImageRow, reference: str) -> ImageRow:
    return row._replace(reference=reference, repository=reference.partition(":")[0], tag="1")


def _retag(images: list[ImageRow], number: int, target: ImageRow) -> None:
    row = images[number]
    images[number] = target._replace(reference=row.reference, repository=row.repository, tag=row.tag)


def _drop_strangers(fleet: MadeFleet) -> None:
    """Removes what images hold that are no longer there."""
    known = {row.image for row in fleet.rows.images}
    for name in ("packages", "updates", "registry", "findings"):
        setattr(fleet.rows, name, [row for row in getattr(fleet.rows, name) if row.image in known])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("diff"))


def _images(fleet: MadeFleet, twins: set[str]) -> dict[tuple[str, Any], ImageRow]:
    return {(row.reference, row.build if row.reference in twins else None): row for row in fleet.rows.images}


def _held(fleet: MadeFleet, image: str) -> Counter[Item]:
    updates = (
        ("update", row.kb or row.name.partition("~")[0], f"{row.version}, {row.state}")
        for row in fleet.rows.updates
        if row.image == image
    )
    packages = ((row.kind, row.name, row.version or "") for row in fleet.rows.packages if row.image == image)
    return Counter([*updates, *packages])


def _changed_items(old: Iterable[Item], new: Iterable[Item]) -> Counter[tuple[str, str, Change]]:
    """How many things of each name were added, removed, and changed."""
    versions: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for side, items in enumerate((old, new)):
        for kind, name, _ in items:
            versions[kind, name][side] += 1
    found: Counter[tuple[str, str, Change]] = Counter()
    for (kind, name), (less, more) in versions.items():
        found[kind, name, Change.CHANGED] = min(less, more)
        found[kind, name, Change.REMOVED] = less - min(less, more)
        found[kind, name, Change.ADDED] = more - min(less, more)
    return +found


def test_references_differ_as_their_rows_do(pair: Pair) -> None:
    old, new = (_images(fleet, {"index:1"}) for fleet in (pair.old, pair.new))
    with diff_fleets(*pair.places) as difference:
        changes = list(difference.images())
        summary = difference.summary()
    found = Counter((change.change, reference) for change in changes for reference in change.references)
    changed = {
        key for key in old.keys() & new.keys() if (old[key].image, old[key].status) != (new[key].image, new[key].status)
    }
    assert found == Counter(
        [(Change.REMOVED, key[0]) for key in old.keys() - new.keys()]
        + [(Change.ADDED, key[0]) for key in new.keys() - old.keys()]
        + [(Change.CHANGED, key[0]) for key in changed]
    )
    assert summary.images == {
        each: sum(count for (change, _), count in found.items() if change is each) for each in Change
    }
    assert min(summary.images.values()) > 3
    assert summary.same == len(old.keys() & new.keys()) - len(changed)
    assert found[Change.CHANGED, "index:1"] == 1
    order = [(change.change, change.references[0]) for change in changes]
    assert order == sorted(
        order, key=lambda each: ([Change.REMOVED, Change.ADDED, Change.CHANGED].index(each[0]), each[1])
    )


def test_updates_and_packages_differ_as_their_rows_do(pair: Pair) -> None:
    with diff_fleets(*pair.places) as difference:
        changes = [change for change in difference.images() if change.change is Change.CHANGED]
        summary = difference.summary()
    totals = {"update": Counter[Change](), "package": Counter[Change]()}
    for change in changes:
        _check_items(pair, change)
        for item in change.items:
            totals["update" if item.kind == "update" else "package"][item.change] += 1
    assert sum(change.is_compared for change in changes) > 5
    assert not all(change.is_compared for change in changes)
    assert Counter(summary.updates) == totals["update"]
    assert Counter(summary.packages) == totals["package"]
    assert all(totals["package"][each] for each in Change)


def _check_items(pair: Pair, change: FleetImageChange) -> None:
    old, new = change.old, change.new
    assert old is not None
    assert new is not None
    assert change.is_compared == (old.status == new.status == "ok" and old.image != new.image)
    if not change.is_compared:
        assert change.items == ()
        return
    before, after = _held(pair.old, old.image), _held(pair.new, new.image)
    expected = _changed_items((before - after).elements(), (after - before).elements())
    assert Counter((item.kind, item.name, item.change) for item in change.items) == expected
    assert Counter((item.kind, item.name, item.old) for item in change.items if item.old is not None) == before - after
    assert Counter((item.kind, item.name, item.new) for item in change.items if item.new is not None) == after - before


def test_references_that_differ_alike_are_told_once(pair: Pair) -> None:
    with diff_fleets(*pair.places) as difference:
        rebuilt = [each for each in difference.images() if each.new and each.new.image == digest_of(b"rebuilt")]
    assert [len(each.references) for each in rebuilt if each.old and each.old.image == pair.twice] == [2]
    held = [row for row in pair.old.rows.packages if row.image == pair.twice]
    assert held
    for row in held:
        changes = {(item.name, item.old, item.new) for each in rebuilt for item in each.items}
        assert (row.name, row.version, f"{row.version}.1") in changes


def test_layers_differ_as_those_of_the_images_do(pair: Pair) -> None:
    old, new = (
        {layer for row in fleet.rows.images if row.image for layer in row.layers} for fleet in (pair.old, pair.new)
    )
    with diff_fleets(*pair.places) as difference:
        layers = list(difference.layers())
        summary = difference.summary()
    assert {layer.layer for layer in layers if layer.change is Change.REMOVED} == old - new
    assert {layer.layer for layer in layers if layer.change is Change.ADDED} == new - old
    assert summary.layers == {Change.ADDED: len(new - old), Change.REMOVED: len(old - new)}
    known = pair.new.layers | pair.old.layers
    assert {layer.layer: layer.stored_size for layer in layers} == {each: known[each].stored_size for each in old ^ new}


def test_the_command_tells_it(pair: Pair) -> None:
    record: Any = parsed("fleet", "diff", *pair.places, status=1)
    with diff_fleets(*pair.places) as difference:
        changes = list(difference.images())
        summary = difference.summary()
    assert [each["references"] for each in record["images"]] == [list(change.references) for change in changes]
    assert record["summary"] == parsed("fleet", "diff", "--summary", *pair.places, status=1)
    assert record["summary"]["images"]["changed"] == summary.images[Change.CHANGED]
    lines = text("fleet", "diff", *pair.places, status=1).splitlines()
    head = text("fleet", "diff", "--summary", *pair.places, status=1).splitlines()
    assert lines[: len(head)] == head
    marks = Counter(
        line.split(" ")[0] for line in lines[len(head) :] if not line.startswith((" ", "+ layer", "- layer"))
    )
    assert marks == {
        "+": summary.images[Change.ADDED],
        "-": summary.images[Change.REMOVED],
        "~": summary.images[Change.CHANGED],
    }


def test_a_fleet_does_not_differ_from_itself(pair: Pair) -> None:
    done = run("fleet", "diff", pair.places[0], pair.places[0])
    assert b"0 added, 0 removed, 0 changed" in done.stdout
    record: Any = parsed("fleet", "diff", pair.places[0], pair.places[0])
    assert (record["images"], record["layers"]) == ([], [])


def test_empty_and_missing_fleets(pair: Pair, tmp_path: Path) -> None:
    write_fleet(str(tmp_path / "empty"), MadeFleet())
    with diff_fleets(tmp_path / "empty", pair.places[0]) as difference:
        assert {change.change for change in difference.images()} == {Change.ADDED}
    with diff_fleets(tmp_path / "empty", tmp_path / "empty") as difference:
        assert not difference.summary()
    with pytest.raises(PathNotFoundError, match="nothing"):
        diff_fleets(pair.places[0], tmp_path / "nothing")
