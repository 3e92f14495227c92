"""The ready questions: each answer is what a plain count over the rows says, without SQL."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import made_fleet as made
from tests.fleet.made_fleet import MadeFleet, write_fleet
from wclayer.errors import InvalidParameterError
from wclayer.fleet.query.asking import query_fleet
from wclayer.fleet.query.questions import QUESTIONS, fleet_question
from wclayer.fleet.tables.schema import FileKind, ImageRow, LayerRow, PackageRow, RegistryRow, unknown
from wclayer.images.descriptor import digest_of

Rows = list[tuple[Any, ...]]
TODAY = date(2026, 11, 30)
LOG4J = "org.apache.logging.log4j:log4j-core"
VERSIONS = ("2.3", "2.17.0", "2.17.1", "2.17.1-rc1", "2.100", "2.17.1.redhat-3", "unspecific", None)
"""Versions of log4j that images of their own have: of these, which are below 2.17.1 is said by `_IS_BELOW`."""
_IS_BELOW = (True, True, False, True, False, None, None, None)


@dataclass(frozen=True)
class Place:
    """A fleet, and where it was written."""

    path: Path
    fleet: MadeFleet

    @property
    def images(self) -> list[ImageRow]:
        return self.fleet.rows.images

    @property
    def windows(self) -> list[ImageRow]:
        return [row for row in self.images if row.status != "other-platform"]

    def references(self, image: str) -> list[str]:
        return [row.reference for row in self.images if row.image == image]

    def ask(self, name: str, /, **values: str) -> Rows:
        with query_fleet(self.path, fleet_question(name), values) as answer:
            return list(answer)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    fleet = made.made_fleet(120)
    rows = fleet.rows
    some = next(row for row in rows.images if row.status == "ok")
    for number, version in enumerate(VERSIONS):
        image = digest_of(f"log4j {version}".encode())
        created = some.created if number % 2 else None
        rows.images.append(
            some._replace(reference=f"logs/app{number}:1", repository=f"logs/app{number}", image=image, created=created)
        )
        rows.packages.append(
            PackageRow(
                image, "java-package", LOG4J, version, None, None, f"C:\\{number}.jar", some.layers[-1], False, "{}"
            )
        )
        rows.packages.append(
            PackageRow(image, "python-package", "Log4J_Helper", "1", None, None, "C:\\x", None, False, "{}")
        )
        for name, is_disabled, needs in (("Guest", True, False), ("Open", False, False), ("Safe", False, True)):
            properties: dict[str, Any] = {"source": "account", "sid": f"S-1-5-21-{number}", "groups": ["Users"]}
            properties |= {"is_disabled": is_disabled, "is_password_required": needs}
            rows.registry.append(
                RegistryRow(image, "user", name, None, None, "HKLM\\SAM", some.layers[0], True, json.dumps(properties))
            )
    # A base image of which others are made, an update that is only staged, a layer of no image, one with most.
    base = made.BASES[3]
    rows.images.append(
        next(row for row in rows.images if row.layers[:2] == base.layers)._replace(
            reference="base:1", repository="base", image=digest_of(b"base"), layers=base.layers, layer_count=2,
            own_size=0, created=datetime(2024, 2, 29, 23, 59, tzinfo=UTC),
        )
    )  # fmt: skip
    for number, day in enumerate([1, 2, 2, 3, 4]):
        # The second newest image has the oldest tag, too.
        image = digest_of(f"old {number if number else 3}".encode())
        reference, created = f"old/app:{number}", datetime(2025, 5, day, tzinfo=UTC)
        rows.images.append(
            some._replace(reference=reference, repository="old/app", tag=f"{number}", image=image, created=created)
        )
    update = next(row for row in rows.updates if row.state == "installed")
    rows.updates.append(update._replace(image=digest_of(b"base"), kb="KB7777777", state="staged"))
    unused = LayerRow(**unknown(LayerRow) | {"layer": digest_of(b"unused"), "stored_size": 5, "is_base": False})
    fleet.layers[unused.layer] = unused
    path = tmp_path_factory.mktemp("questions") / "fleet"
    write_fleet(str(path), fleet)
    return Place(path, fleet)


def _unread(row: ImageRow) -> bool:
    return row.status in ("error", "incomplete")


def _levels(place: Place) -> dict[int, list[int]]:
    found: defaultdict[int, set[int]] = defaultdict(set)
    for row in place.images:
        if row.build is not None and row.revision is not None:
            found[row.build].add(row.revision)
    return {build: sorted(revisions) for build, revisions in found.items()}


def _newer(place: Place, row: ImageRow) -> int:
    if row.build is None:
        return 0
    return sum(revision > (row.revision or 0) for revision in _levels(place)[row.build])


@pytest.mark.parametrize("kb", ["KB501003", "kb502005", "5010003", "KB7777777", "KB9999999"])
def test_which_images_lack_an_update(place: Place, kb: str) -> None:
    known = f"KB{kb.upper().removeprefix('KB')}"
    states: defaultdict[str, set[str]] = defaultdict(set)
    for update in place.fleet.rows.updates:
        if update.kb == known:
            states[update.image].add(str(update.state))
    lacking = [row for row in place.windows if not states[str(row.image)] & {"installed", "superseded"}]
    expected = {
        (row.reference, row.os_version, "unknown" if _unread(row) else "lacks", row.error if _unread(row) else reason)
        for row in lacking
        for reason in ["it is staged" if states[str(row.image)] else "no update has that number"]
    }
    assert lacking
    assert set(place.ask("lacks-kb", kb=kb)) == expected


@pytest.mark.parametrize("version", ["20348.3100", "10.0.20348.3037", "26100", "17763.1"])
def test_which_images_are_older_than_an_update(place: Place, version: str) -> None:
    build, _, revision = version.removeprefix("10.0.").partition(".")
    expected = {
        row.reference
        for row in place.windows
        if row.build is None or (row.build == int(build) and (not revision or (row.revision or 0) < int(revision)))
    }
    assert {reference for reference, *_ in place.ask("lacks-kb", kb="KB9999999", version=version)} == expected


@pytest.mark.parametrize("name", [LOG4J, LOG4J.upper(), "log4j-core", "*log4j-c*"])
def test_which_images_hold_a_package(place: Place, name: str) -> None:
    expected = Counter(
        (reference, row.kind, row.name, row.version, None, row.place, row.layer, row.is_base)
        for row in place.fleet.rows.packages
        if row.name == LOG4J
        for reference in place.references(row.image)
    )
    assert len(expected) > 20
    assert Counter(place.ask("holds", name=name)) == expected
    assert [row[2] for row in place.ask("holds", name="log4j-helper")] == ["Log4J_Helper"] * len(VERSIONS)
    assert place.ask("holds", name="log4j") == place.ask("holds", name="[log4j-core") == []


def test_which_images_hold_an_old_version_of_a_package(place: Place) -> None:
    verdicts = dict(zip(VERSIONS, _IS_BELOW, strict=True)) | {"2.14.1": True, "2.24.3": False}
    expected = Counter(
        (reference, row.version, "below" if verdicts[row.version] else "unknown")
        for row in place.fleet.rows.packages
        if row.name == LOG4J and verdicts[row.version] is not False
        for reference in place.references(row.image)
    )
    answer = place.ask("holds", name="log4j-core", below="2.17.1")
    assert Counter((reference, version, verdict) for reference, _, _, version, verdict, *_ in answer) == expected


def test_which_images_are_behind(place: Place) -> None:
    levels = _levels(place)
    expected = {
        (row.reference, row.product_name, row.os_version, levels[row.build][-1], _newer(place, row))
        for row in place.images
        if row.build is not None and row.revision != levels[row.build][-1]
    }
    assert set(place.ask("behind")) == expected


def test_how_many_images_each_revision_has(place: Place) -> None:
    known = [row for row in place.images if row.build is not None]
    references = Counter((row.build, row.revision) for row in known)
    images = {level: len({row.image for row in known if (row.build, row.revision) == level}) for level in references}
    answer = place.ask("patch-levels")
    assert {(row[0], row[1]): (row[4], row[5]) for row in answer} == {
        level: (images[level], count) for level, count in references.items()
    }
    assert {row[:2] for row in answer if row[6]} == {(build, all_[-1]) for build, all_ in _levels(place).items()}


def test_how_old_the_bases_are(place: Place) -> None:
    bases: defaultdict[tuple[str, ...], list[ImageRow]] = defaultdict(list)
    for row in place.images:
        if row.base_layers:
            bases[row.layers[: row.base_layers]].append(row)
    levels = _levels(place)
    expected = {}
    for layers, rows in bases.items():
        times = [row.created for row in rows if row.created]
        own = [row.created for row in rows if row.layers == layers and row.created]
        age = (TODAY - (own or [min(times)])[0].date()).days
        build, revision = rows[0].build, rows[0].revision
        assert build is not None
        newest = levels[build][-1]
        expected[layers[-1]] = (newest, revision != newest, len({row.image for row in rows}), len(rows), age)
    answer = place.ask("base-ages", today=TODAY.isoformat())
    assert {row[0]: (row[4], row[5], row[6], row[7], row[11]) for row in answer} == expected
    assert [row[11] for row in answer] == sorted((row[11] for row in answer), reverse=True)
    assert [row[8] for row in answer if row[8]] == [datetime(2024, 2, 29, 23, 59)]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_which_images_are_old(place: Place, keep: int) -> None:
    by_repository: defaultdict[str | None, list[ImageRow]] = defaultdict(list)
    for row in place.images:
        if row.created:
            by_repository[row.repository].append(row)
    old, kept = [], set()
    for rows in by_repository.values():
        for row in rows:
            is_old = sum(other.created > row.created for other in rows if other.created and row.created) >= keep
            if is_old:
                old.append(row)
            else:
                kept.add(row.image)
    assert old
    answer = place.ask("old-images", keep=str(keep))
    assert {(row[0], row[4]) for row in answer} == {(row.reference, row.image in kept) for row in old}


def test_which_layers_no_image_has_and_which_most_have(place: Place) -> None:
    images = {row.image: row.layers for row in place.images if row.image}
    used = Counter(layer for layers in images.values() for layer in layers)
    assert (
        [row[0] for row in place.ask("unused-layers")] == [digest_of(b"unused")] == [*place.fleet.layers.keys() - used]
    )
    answer = place.ask("shared-layers", first="1000")
    known = place.fleet.layers
    assert {row[0]: row[1:4] for row in answer} == {
        layer: (count, known[layer].stored_size, (known[layer].stored_size or 0) * (count - 1))
        for layer, count in used.items()
    }
    assert [row[1] for row in place.ask("shared-layers", first="3")] == [count for _, count in used.most_common(3)]


def test_which_images_are_largest(place: Place) -> None:
    sizes = {row.image: row.own_size for row in place.images if row.own_size is not None}
    expected = sorted(sizes.values(), reverse=True)
    assert [row[1] for row in place.ask("largest", first="1000")] == expected
    assert [row[1] for row in place.ask("largest")] == expected[:20]


def test_which_images_are_worst(place: Place) -> None:
    findings = Counter(row.image for row in place.fleet.rows.findings)

    def order(row: ImageRow) -> tuple[Any, ...]:
        created = row.created or datetime.max.replace(tzinfo=UTC)
        return not _unread(row), -_newer(place, row), -findings[str(row.image)], created, row.reference

    expected = sorted(place.windows, key=order)
    assert [row[0] for row in place.ask("worst", first="1000")] == [row.reference for row in expected]
    assert len(place.ask("worst")) == 10


def test_what_was_found_and_what_could_not_be_read(place: Place) -> None:
    assert Counter(place.ask("findings")) == Counter(
        (reference, row.kind, row.place, row.text)
        for row in place.fleet.rows.findings
        for reference in place.references(row.image)
    )
    layers = Counter(layer for row in place.windows for layer in row.layers)
    causes: Rows = [
        ("layer", row.layer, row.error, layers[row.layer])
        for row in place.fleet.layers.values()
        if row.error and layers[row.layer]
    ]
    causes += [("image", row.reference, row.error, 1) for row in place.images if row.status == "error"]
    assert len(causes) > 5
    assert Counter(place.ask("errors")) == Counter(causes)


def test_which_accounts_need_no_password(place: Place) -> None:
    answer = place.ask("no-password")
    assert {row[:2] for row in answer} == {(f"logs/app{number}:1", "Open") for number in range(len(VERSIONS))}
    assert {row[3] for row in answer} == {'["Users"]'}


def test_which_images_show_a_file(place: Place) -> None:
    files = [row for rows in place.fleet.files.values() for row in rows]
    readme = {row.layer: row for row in files if row.path == "Files/app/readme.txt"}
    hiding = {row.layer for row in files if row.kind == FileKind.TOMBSTONE}
    assert hiding
    layer, row = next(iter(readme.items()))
    expected = {
        (image.reference, "Files/app/readme.txt", layer)
        for image in place.images
        if image.status == "ok" and layer in image.layers and not hiding & {*image.layers}
    }
    assert expected
    assert set(place.ask("has-file", sha256=f"SHA256:{row.sha256}".lower())) == expected


def test_a_question_takes_words_and_names() -> None:
    holds = fleet_question("holds")
    assert holds.usage == "holds NAME [BELOW]"
    assert holds.named(["log4j-core", "2.17.1"]) == holds.named(["below=2.17.1", "log4j-core"])
    assert holds.values(holds.named(["x=y"])) == {"name": "x=y", "below": None}


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("holds", [], "needs name"), ("holds", ["a", "1", "b"], "one value too many"),
        ("holds", ["name=a", "name=b"], "one value too many"), ("holds", ["a", "belw=4"], "has no parameter 'belw'"),
        ("lacks-kb", ["x"], "is not KB5031364"),
        ("holds", ["a", "below=new"], "is not 2.17.1"), ("largest", ["0"], "is not a number"),
        ("has-file", ["abc"], "is not 64"), ("lacks-kb", ["KB5031364", "1.2"], "is not 20348.2031"),
        ("base-ages", ["2026-02-30"], "2026-02-30"), ("nothing", [], "there are lacks-kb"),
    ],
)  # fmt: skip
def test_wrong_words_are_refused(place: Place, name: str, words: list[str], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        place.ask(name, **fleet_question(name).named(words))


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_an_empty_fleet_answers_nothing(tmp_path: Path, question: Any) -> None:
    write_fleet(str(tmp_path / "empty"), MadeFleet())
    needed = {"kb": "KB5031364", "name": "x", "sha256": 64 * "a"}
    values = {each.name: needed[each.name] for each in question.parameters if each.default is None}
    with query_fleet(tmp_path / "empty", question, values) as answer:
        assert list(answer) == []
        assert answer.columns
