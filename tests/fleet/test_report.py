"""The page of `wclayer fleet report` in a real browser, and its numbers against a plain count of the rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import wclayer
from tests.fleet.made_fleet import BASES, MadeFleet, add_image, by_bucket, made_fleet, write_fleet
from tests.pages.axe import violations
from tests.pages.browser import Browser, Page, started
from tests.pages.hostile import HOSTILE
from tests.support import text
from wclayer.errors import InvalidDataError, InvalidParameterError, PathNotFoundError
from wclayer.fleet.tables.dataset import BucketRows, Dataset
from wclayer.fleet.tables.schema import FindingRow, ImageRow, PackageRow
from wclayer.host.durability import unsynced
from wclayer.images.descriptor import digest_of
from wclayer.win32.shown import size_text

_SCAN = datetime(2026, 1, 1, tzinfo=UTC)
_READ = ("ok", "incomplete")
_LARGEST = (1 << 63) - 1
_FIRST_TIME, _LAST_TIME = (each.replace(tzinfo=UTC) for each in (datetime.min, datetime.max))
_TABLES = (
    "Object.fromEntries([...document.querySelectorAll('section')].map(section => [section.id,"
    "[...section.querySelectorAll('table')].map(table => [...table.querySelectorAll('tbody tr')]"
    ".map(row => [...row.children].map(cell => cell.innerText.trim())))]))"
)
_STATUS = "document.querySelector('#images [role=status]').textContent"
_NAMES = "[...document.querySelectorAll('#images tbody th')].map(each => each.querySelector('bdi').textContent)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("profile")) as running:
        yield running


def _aged_fleet() -> MadeFleet:
    """A fleet whose images are of all ages; some have a time that none can have."""
    fleet = made_fleet(120)
    for place, image in enumerate(fleet.rows.images):
        number = int(digest_of((image.image or "").encode())[-4:], 16)
        created = _SCAN - timedelta(days=number % 2500, hours=number % 24)
        created = {3: datetime(1970, 1, 1, tzinfo=UTC), 5: _SCAN + timedelta(days=1)}.get(number % 20, created)
        if image.created is not None:
            fleet.rows.images[place] = image._replace(created=created)
    return fleet


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MadeFleet]:
    """A page, and the fleet that it tells of."""
    folder = tmp_path_factory.mktemp("aged")
    fleet = _aged_fleet()
    with unsynced():
        write_fleet(str(folder / "fleet"), fleet)
        wclayer.write_fleet_report(folder / "fleet", folder / "fleet.html")
    return folder / "fleet.html", fleet


def _write_images(folder: Path, rows: BucketRows) -> Path:
    """Writes a fleet in few files, and its page."""
    with unsynced():
        dataset = Dataset(folder / "fleet")
        dataset.create(1)
        for bucket, part in by_bucket(dataset, rows).items():
            dataset.replace_bucket(bucket, part)
        dataset.write_layers([])
        wclayer.write_fleet_report(folder / "fleet", folder / "fleet.html")
    return folder / "fleet.html"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ImageRow]]:
    """A page with 10,000 images, and their rows."""
    rows = BucketRows()
    for number in range(10_000):
        add_image(rows, number)
    file = _write_images(tmp_path_factory.mktemp("many"), BucketRows(images=rows.images))
    return file, rows.images


def _images(fleet: MadeFleet) -> dict[str, ImageRow]:
    """The images that could be read, each once."""
    return {
        row.image: row for row in sorted(fleet.rows.images, reverse=True, key=lambda row: row.reference)
        if row.image is not None and row.status in _READ
    }  # fmt: skip


def _made(image: ImageRow) -> datetime | None:
    created = image.created
    return created if created is not None and datetime(2015, 1, 1, tzinfo=UTC) <= created <= _SCAN else None


def _numbers(rows: list[list[str]]) -> list[list[int]]:
    return [[int(cell.replace(",", "")) for cell in cells] for cells in rows]


def test_the_head_has_the_totals(browser: Browser, aged: tuple[Path, MadeFleet]) -> None:
    file, fleet = aged
    shown = Page(browser, file)
    tiles = shown.value(
        "Object.fromEntries([...document.querySelectorAll('.tiles > div')]"
        ".map(tile => [...tile.children].map(each => each.textContent)).map(([name, ...rest]) => [name, rest]))"
    )
    rows, images = fleet.rows.images, _images(fleet)
    repositories = len({row.repository for row in rows})
    assert tiles["Images"] == [str(len(images)), f"{len(rows)} references in {repositories} repositories"]
    newest = {build: max(each.revision for each in BASES if each.build == build) for build in {b.build for b in BASES}}
    behind = sum(image.build is not None and image.revision != newest[image.build] for image in images.values())
    assert tiles["At the newest patch level"][1] == f"{behind} of {len(images)} behind"
    days = sorted((_SCAN - made).days for image in images.values() if (made := _made(image)) is not None)
    assert tiles["Median age"][0] == f"{days[(len(days) - 1) // 2]:,} days"
    failed = sum(row.status == "error" for row in rows)
    incomplete = sum(image.status == "incomplete" for image in images.values())
    assert tiles["References with errors"] == [str(failed), f"and {incomplete} images only in part"]
    assert "registry.example. Scanned: 2026-01-01 00:00 UTC" in shown.value("document.querySelector('.lead').innerText")


def test_ages_are_those_of_a_plain_count(browser: Browser, aged: tuple[Path, MadeFleet]) -> None:
    file, fleet = aged
    ((*found,),) = [Page(browser, file).value(_TABLES)["ages"]]
    images = _images(fleet).values()
    bases: defaultdict[tuple[str, ...], list[datetime]] = defaultdict(list)
    for image in images:
        bases[image.layers[:2]] += [made] if (made := _made(image)) else []
    bounds = [0, 30, 90, 180, 365, 730, 1095, 1825, 10**6]

    def place(made: datetime | None) -> int:
        return 8 if made is None else max(at for at in range(8) if bounds[at] <= (_SCAN - made).days)

    oldest = {base: min(times, default=None) for base, times in bases.items()}
    own = Counter(place(_made(image)) for image in images)
    on_bases = Counter(place(oldest[image.layers[:2]]) for image in images)
    each_base = Counter(map(place, oldest.values()))
    assert len(own) == 9
    expected = [[own[row], on_bases[row], each_base[row]] for row in range(9)]
    assert _numbers([row[1:] for row in found[0]]) == expected


def test_patch_levels_are_those_of_a_plain_count(browser: Browser, aged: tuple[Path, MadeFleet]) -> None:
    file, fleet = aged
    found = Page(browser, file).value(_TABLES)["levels"]
    counts = Counter((image.build, image.revision) for image in _images(fleet).values())
    builds = Counter(image.build for image in _images(fleet).values())
    expected = []
    for build, _ in sorted(builds.items(), key=lambda each: (-each[1], -(each[0] or 0))):
        revisions = sorted((revision for other, revision in counts if other == build and revision), reverse=True)
        expected.append(
            [[revision, counts[build, revision], newer, revisions[0] - revision]
             for newer, revision in enumerate(revisions)]
        )  # fmt: skip
    assert [_numbers(table) for table in found] == expected


def test_the_worst_follow_the_rule_of_the_page(browser: Browser, aged: tuple[Path, MadeFleet]) -> None:
    file, fleet = aged
    (found,) = Page(browser, file).value(_TABLES)["worst"]
    findings = Counter(row.image for row in fleet.rows.findings)
    revisions = {image.build: {each.revision for each in _images(fleet).values() if each.build == image.build}
                 for image in _images(fleet).values()}  # fmt: skip

    def badness(image: ImageRow) -> tuple[int, int, int]:
        newer = sum((other or 0) > (image.revision or 0) for other in revisions[image.build])
        made = _made(image)
        return newer, findings[image.image or ""], 0 if made is None else (_SCAN - made).days

    worst = sorted(_images(fleet).values(), key=lambda image: (*(-each for each in badness(image)), image.reference))
    assert [row[0] for row in found] == [image.reference for image in worst[:10]]
    for row, image in zip(found, worst, strict=False):
        newer, count, days = badness(image)
        known = f"{days:,}" if _made(image) is not None else "–"
        assert row[1:] == [
            f"{newer} levels behind", f"{image.build}.{image.revision}", str(newer), str(count), known
        ]  # fmt: skip


def test_what_sharing_saves_is_that_of_a_plain_count(browser: Browser, aged: tuple[Path, MadeFleet]) -> None:
    file, fleet = aged
    shown = Page(browser, file)
    counts = Counter(layer for image in _images(fleet).values() for layer in set(image.layers))
    sizes = {layer: row.stored_size or 0 for layer, row in fleet.layers.items()}
    once, summed = sum(sizes[layer] for layer in counts), sum(sizes[layer] * count for layer, count in counts.items())
    told = shown.value("document.querySelector('#sharing p').innerText")
    assert f"Of {len(counts)} layers, {sum(count > 1 for count in counts.values())} belong to more than one" in told
    assert f"take {size_text(once)}; if each image had its own, they would take {size_text(summed)}" in told
    (found,) = shown.value(_TABLES)["sharing"]
    most = sorted(counts, key=lambda layer: (-(counts[layer] - 1) * sizes[layer], layer))[:12]
    assert [(row[0].split()[0], row[1]) for row in found] == [(layer[:19], str(counts[layer])) for layer in most]
    unused = len(sizes.keys() - counts.keys())
    assert f"that none of these images has: {unused}." in shown.value("document.querySelector('#sharing').innerText")


def test_packages_are_those_of_a_plain_count(browser: Browser, aged: tuple[Path, MadeFleet]) -> None:
    file, fleet = aged
    frequent, versions = Page(browser, file).value(_TABLES)["packages"]
    having: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    known: defaultdict[tuple[str, str], set[str | None]] = defaultdict(set)
    for row in fleet.rows.packages:
        having[row.kind, row.name].add(row.image)
        known[row.kind, row.name].add(row.version)
    most = sorted(having, key=lambda name: (-len(having[name]), name))[:12]
    assert [row[:3] for row in frequent] == [
        [f"{name} {kind}", str(len(having[kind, name])), str(len(known[kind, name]))] for kind, name in most
    ]
    several = sorted((name for name in known if len(known[name]) > 1), key=lambda name: (-len(known[name]), name))
    assert [row[0] for row in versions] == [f"{name} {kind}" for kind, name in several[:12]]


def test_packages_are_counted_in_parts_as_in_one(
    browser: Browser, aged: tuple[Path, MadeFleet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wclayer.fleet.report.packages._AT_ONCE", 20)
    monkeypatch.setattr("wclayer.fleet.report.packages._NAMES_AT_ONCE", 15)
    wclayer.write_fleet_report(aged[0].parent / "fleet", tmp_path / "parts.html")
    assert (tmp_path / "parts.html").read_bytes() == aged[0].read_bytes()


def test_each_cause_of_an_error_is_named_once(browser: Browser, aged: tuple[Path, MadeFleet]) -> None:
    file, fleet = aged
    (found,) = Page(browser, file).value(_TABLES)["problems"]
    layers = {row.layer[:19] for row in fleet.layers.values() if row.error and "linux" not in row.error}
    errors = {row.reference for row in fleet.rows.images if row.status == "error"}
    assert {row[0].removeprefix("layer ") for row in found} == layers | errors
    assert len(found) == len(layers | errors)


def test_10_000_images_request_nothing_and_are_searched_and_sorted(
    browser: Browser, many: tuple[Path, list[ImageRow]]
) -> None:
    file, rows = many
    shown = Page(browser, file)
    count = f"{len(rows):,}"
    assert shown.value(_STATUS) == f"{count} of {count} references"
    # Only what can be seen has elements.
    assert shown.value("document.querySelectorAll('*').length") < 8000
    names = sorted(row.reference for row in rows)
    assert shown.value(_NAMES) == names[:200]
    shown.value("document.querySelector('#images tbody button').click()")
    assert shown.value(_NAMES) == names[:400]

    def choose(name: str, value: str) -> str:
        shown.value(
            f"(async () => {{ const field = document.querySelector('#images [name={name}]'); field.value = {value!r};"
            "field.dispatchEvent(new Event(field.type === 'search' ? 'input' : 'change', {bubbles: true}));"
            "await new Promise(done => setTimeout(done, 300)); })()"
        )
        return str(shown.value(_STATUS)).partition(" ")[0].replace(",", "")

    def sort(column: int) -> list[str]:
        shown.value(f"document.querySelectorAll('#images thead button')[{column}].click()")
        found: list[str] = shown.value(_NAMES)
        return found

    assert int(choose("text", "TEAM3/app1")) == sum("team3/app1" in row.reference for row in rows)
    some = next(row.image for row in rows if row.image)
    assert int(choose("text", some)) == sum(row.image == some for row in rows)
    assert int(choose("text", "20348.3037")) == sum((row.build, row.revision) == (20348, 3037) for row in rows)
    choose("text", "")
    assert int(choose("build", "17763")) == sum(row.build == 17763 for row in rows)
    newest = max(row.revision or 0 for row in rows if row.build == 17763)
    of_build = [row for row in rows if row.build == 17763]
    assert int(choose("level", "behind")) == sum(row.revision != newest for row in of_build)
    assert int(choose("level", "newest")) == sum(row.revision == newest for row in of_build)
    choose("level", "")
    choose("build", "")
    assert int(choose("status", "error")) == sum(row.status == "error" for row in rows)
    choose("status", "")
    # What is not known comes last, in both directions; equal ones by name.
    by_size = sorted(rows, key=lambda row: (row.size is None, -(row.size or 0), row.reference))
    assert sort(4) == [row.reference for row in by_size[:200]]
    by_size = sorted(rows, key=lambda row: (row.size is None, row.size or 0, row.reference))
    assert sort(4) == [row.reference for row in by_size[:200]]
    assert shown.value("document.querySelectorAll('#images thead th')[4].ariaSort") == "ascending"
    assert shown.value("document.querySelectorAll('#images thead [aria-sort]').length") == 1
    assert shown.requested() == [file.as_uri()]
    assert shown.complaints() == []


def _hostile_rows() -> BucketRows:
    """A fleet in which every text is hostile."""
    rows = made_fleet(40).rows
    number = 0

    def hostile() -> str:
        nonlocal number
        number += 1
        return f"{HOSTILE[number % len(HOSTILE)]} {number}"

    images = [
        row._replace(
            reference=hostile(), source=hostile(), repository=hostile(), tag=hostile(), product_name=hostile(),
            os_version=hostile(), labels=hostile(), error=None if row.error is None else hostile(),
            size=_LARGEST, own_size=_LARGEST, created=[_FIRST_TIME, _LAST_TIME][place % 2],
        )
        for place, row in enumerate(rows.images)
    ]  # fmt: skip
    packages = [
        row._replace(kind=hostile(), name=hostile(), version=hostile(), publisher=hostile(), place=hostile())
        for row in rows.packages
    ]
    # The same in all, so that they are among the most frequent.
    packages += [
        PackageRow(image.image, text, text, f"{text} {image.image}", text, text, text, None, False, "{}")
        for image in images if image.image for text in HOSTILE[:4]
    ]  # fmt: skip
    updates = [row._replace(kb=hostile(), name=hostile(), state="installed") for row in rows.updates]
    findings = [
        FindingRow(image.image, hostile(), hostile(), hostile()) for image in images if image.image for _ in range(80)
    ]
    known = {image.image for image in images if image.image is not None}
    return BucketRows(
        images, packages, [row for row in updates if row.image in known], [],
        [row for row in findings if row.image in known],
    )  # fmt: skip


def test_hostile_texts_are_shown_and_do_nothing(browser: Browser, tmp_path: Path) -> None:
    fleet = MadeFleet(_hostile_rows())
    for number, (layer, row) in enumerate(made_fleet(40).layers.items()):
        text_ = HOSTILE[number % len(HOSTILE)]
        fleet.layers[layer] = row._replace(created_by=text_, error=row.error and text_, stored_size=_LARGEST)
    with unsynced():
        write_fleet(str(tmp_path / "fleet"), fleet)
    wclayer.write_fleet_report(tmp_path / "fleet", tmp_path / "fleet.html")
    for with_scripts in (True, False):
        shown = Page(browser, tmp_path / "fleet.html", with_scripts=with_scripts)
        shown.value("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert shown.value("window.ran") is None
        assert (shown.requested(), shown.complaints()) == ([(tmp_path / "fleet.html").as_uri()], [])
        assert shown.value("document.querySelectorAll('img, svg[onload], [onmouseover], [onerror]').length") == 0
        seen = shown.value("document.body.textContent")
        for part in ("</script><script>window.ran=1</script>", "<U+202E>gnp.exe", "<U+001B>[31mred<U+001B>[0m",
                     "line<U+2028>separator", "&lt;already&gt;", "{{script}}", "' onmouseover="):  # fmt: skip
            assert part in seen, part
    written = (tmp_path / "fleet.html").read_text()
    assert not {"\u202e", "\x1b", "\u2028"} & set(written)
    assert written.count("<script>") == 1
    assert "more characters" in written


def test_what_is_left_out_is_said(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.fleet.report.detail_section._MAX_TEXT", 60_000)
    monkeypatch.setattr("wclayer.fleet.report.listing._MAX_TEXT", 9_000)
    monkeypatch.setattr("wclayer.fleet.report.listing._LISTED", 20)
    file = _write_images(tmp_path, _hostile_rows())
    told = Page(browser, file).value("document.querySelector('#details > p').innerText")
    shown, of, total = told.split()[:3]
    assert (of, total) == ("of", "39")
    assert 0 < int(shown) < 39
    details = Page(browser, file).value(
        "[...document.querySelectorAll('#details .detail')].map(each => each.textContent)"
    )
    assert any("and 20 more" in each for each in details)  # of 80 findings
    status = Page(browser, file).value(_STATUS)
    inside, left = int(status.split()[0]), int(status.split("; ")[1].split()[0])
    assert inside > 0
    assert inside + left == len(_hostile_rows().images)
    static = Page(browser, file, with_scripts=False).value("document.querySelector('#images').innerText")
    assert f"The first 20 of {inside + left} are shown." in static


def test_the_page_can_be_read_without_scripts(browser: Browser, many: tuple[Path, list[ImageRow]]) -> None:
    file, rows = many
    shown = Page(browser, file, with_scripts=False)
    assert len(shown.value(_TABLES)["images"][0]) == 200
    assert f"The first 200 of {len(rows):,} are shown." in shown.value("document.querySelector('#images').innerText")
    assert shown.complaints() == []


def test_the_list_with_scripts_and_without_is_the_same(browser: Browser, aged: tuple[Path, MadeFleet]) -> None:
    with_scripts = Page(browser, aged[0]).value(_TABLES)["images"]
    assert with_scripts == Page(browser, aged[0], with_scripts=False).value(_TABLES)["images"]
    assert len(with_scripts[0]) == len(aged[1].rows.images)


def test_a_link_opens_the_details_of_an_image(browser: Browser, aged: tuple[Path, MadeFleet]) -> None:
    shown = Page(browser, aged[0])
    assert shown.value("document.querySelectorAll('#details > details[open]').length") == 0
    name = shown.value("document.querySelector('#worst a').textContent")
    shown.value("document.querySelector('#worst a').click(); new Promise(done => setTimeout(done, 200))")
    opened = shown.value("[...document.querySelectorAll('#details > details[open]')].map(each => each.innerText)")
    assert len(opened) == 1
    assert opened[0].startswith(name)
    (image,) = (row for row in aged[1].rows.images if row.reference == name)
    for part in (image.image, image.os_version, *(layer[:19] for layer in image.layers)):
        assert part in opened[0], part


def test_controls_have_names_and_the_page_has_landmarks_and_table_heads(
    browser: Browser, aged: tuple[Path, MadeFleet]
) -> None:
    shown = Page(browser, aged[0])
    nodes = shown.call("Accessibility.getFullAXTree")["nodes"]

    def named(role: str) -> list[str]:
        return [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == role]

    controls = [*named("searchbox"), *named("combobox"), *named("button")]
    assert len(controls) >= 12
    assert all(controls)
    assert all(named("img"))
    assert all(named("table"))
    for landmark in ("main", "banner", "navigation", "search", "contentinfo"):
        assert len(named(landmark)) == 1, landmark
    assert {"Patch levels", "Ages", "Worst images", "Shared layers", "Packages", "Errors", "All images", "Details"} == {
        *named("region")
    }
    # Each table has a head for each column and each row.
    assert shown.value(
        "[...document.querySelectorAll('table')].every(table => table.caption && [...table.tBodies[0].rows]"
        ".every(row => row.cells[0].scope === 'row' && row.cells.length === table.tHead.rows[0].cells.length))"
    )
    assert shown.value("document.documentElement.lang") == "en"


@pytest.mark.parametrize("width", [320, 400, 1280])
def test_no_window_scrolls_to_the_side(browser: Browser, aged: tuple[Path, MadeFleet], width: int) -> None:
    shown = Page(browser, aged[0], width=width)
    shown.value("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert shown.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_fleet_without_images_has_a_page(browser: Browser, tmp_path: Path) -> None:
    shown = Page(browser, _write_images(tmp_path, BucketRows()))
    seen: Any = shown.value("document.body.innerText")
    assert "Nothing was found" in seen
    assert "There are no images." in seen
    assert "Every layer and every image could be read." in seen
    assert shown.complaints() == []


def test_the_verb_writes_the_page(aged: tuple[Path, MadeFleet], tmp_path: Path) -> None:
    place = tmp_path / "page.html"
    assert text("fleet", "report", aged[0].parent / "fleet", "-o", place) == f"{place}\n"
    assert place.read_bytes() == aged[0].read_bytes()


def test_a_page_is_not_written_into_the_fleet(aged: tuple[Path, MadeFleet]) -> None:
    fleet = aged[0].parent / "fleet"
    before = sorted(fleet.rglob("*"))
    with pytest.raises(InvalidParameterError, match="lies in what is read"):
        wclayer.write_fleet_report(fleet, fleet / "fleet.json")
    assert sorted(fleet.rglob("*")) == before


def test_a_failure_leaves_the_page_that_was_there(tmp_path: Path) -> None:
    with unsynced():
        write_fleet(str(tmp_path / "fleet"), made_fleet(3))
    page = tmp_path / "page.html"
    page.write_text("the page of yesterday")
    for damaged in (tmp_path / "fleet").glob("packages/*/*.parquet"):
        damaged.write_bytes(b"PAR1" * 30)
    with pytest.raises(InvalidDataError, match="packages/bucket"):
        wclayer.write_fleet_report(tmp_path / "fleet", page)
    with pytest.raises(PathNotFoundError, match="scan into it first"):
        wclayer.write_fleet_report(tmp_path / "none", page)
    assert page.read_text() == "the page of yesterday"
    assert {each.name for each in tmp_path.iterdir()} == {"fleet", "page.html"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 400])
def test_nothing_keeps_people_from_using_the_page(
    browser: Browser, aged: tuple[Path, MadeFleet], scheme: str, width: int
) -> None:
    shown = Page(browser, aged[0], width=width)
    shown.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    assert violations(shown) == []
