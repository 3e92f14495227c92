"""The page of `wclayer report` in a real browser, and its numbers against those of the verbs that tell them, too."""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import wclayer
from tests.inventory.conftest import Windows
from tests.inventory.subjects import base as base_layer
from tests.inventory.subjects import child
from tests.inventory.windows import APPLICATION, BASE
from tests.pages.axe import violations
from tests.pages.browser import Browser, Page
from tests.pages.hostile import HOSTILE
from tests.report.made_report import LARGEST, examined, survey, write_page
from tests.support import parsed
from wclayer.inventory.item import Item, ItemKind, Origin
from wclayer.report import contents, lists, tree
from wclayer.win32.shown import size_text

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_HOSTILE = [*HOSTILE, "\ud800 alone", "constructor"]
_ROWS = (
    "[...document.querySelectorAll({selector!r} + ' tbody tr')].map(row => [...row.children].map(cell => cell.innerText"
    ".trim()))"
)
_DATA = "JSON.parse(document.getElementById('data').textContent)"
_WAIT = "await new Promise(done => setTimeout(done, 250));"


@pytest.fixture(scope="module")
def made(machine: Windows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page about the application, with what differs from its base."""
    file = tmp_path_factory.mktemp("page") / "page.html"
    with wclayer.open_image(APPLICATION, machine.store) as image, wclayer.open_image(BASE, machine.store) as before:
        wclayer.report_image(image, file, before=before, at=_AT)
    return file


def _rows(shown: Page, selector: str) -> list[list[str]]:
    found: list[list[str]] = shown.value(_ROWS.format(selector=selector))
    return found


def _tiles(shown: Page) -> dict[str, list[str]]:
    found: dict[str, list[str]] = shown.value(
        "Object.fromEntries([...document.querySelectorAll('.tiles > div')]"
        ".map(tile => [...tile.children].map(each => each.textContent)).map(([name, ...rest]) => [name, rest]))"
    )
    return found


def _table(shown: Page, name: str) -> dict[str, Any]:
    """The data of a list."""
    (found,) = [each for each in shown.value(_DATA)["tables"] if each["name"] == name]
    return dict(found)


def test_sizes_are_those_of_the_survey(browser: Browser, made: Path, machine: Windows) -> None:
    with wclayer.open_image(APPLICATION, machine.store) as image:
        found = wclayer.survey_image(image)
    shown = Page(browser, made)
    assert _tiles(shown)["Size, unpacked"] == [
        size_text(found.total.bytes), f"{len(found.layers)} layers, {found.total.files} visible files",
    ]  # fmt: skip
    waste = found.hidden_bytes + found.duplicate_bytes
    assert _tiles(shown)["Waste"][0] == size_text(waste)
    layers = shown.value(
        "[...document.querySelector('#size table').tBodies[0].rows]"
        ".map(row => [...row.children].map(cell => cell.innerText))"
    )
    assert [row[2:] for row in layers] == [
        [
            size_text(each.bytes), size_text(each.hidden_bytes),
            *(f"{number:,}" for number in (each.shown_files, each.added, each.replaced, each.removed)),
        ]
        for each in (found.of_layer(layer.number) for layer in found.layers)
    ]  # fmt: skip
    # Each directory of the map has the sums of the survey.
    nodes = shown.value(_DATA)["tree"]
    paths: list[str] = []
    for number, (name, parent) in enumerate(zip(nodes["names"], nodes["parents"], strict=True)):
        path = name if parent is None or not paths[parent] else f"{paths[parent]}/{name}"
        paths.append(path)
        usage = found.usage(path)
        assert usage is not None, path
        assert nodes["own"][number] + nodes["base"][number] == usage.visible_bytes
        assert (nodes["hidden"][number], nodes["files"][number]) == (usage.hidden_bytes, usage.files)
    assert set(paths) == {usage.path for usage in found.directories.values() if usage.bytes}


def test_waste_is_that_of_the_survey(browser: Browser, tmp_path: Path) -> None:
    files = {"App/a.txt": b"a" * 100, "App/b.txt": b"b" * 70, "App/c.txt": b"c" * 30, "App/d.txt": b"c" * 30}
    scratch = child(tmp_path, base_layer(tmp_path, {}, files), {}, {"App/a.txt": b"new", "App/b.txt": b"b" * 70})
    found = wclayer.survey_image(scratch)
    assert (found.hidden_files, found.duplicate_files) == (2, 2)  # two small files, and two empty hives
    wclayer.report_image(scratch, tmp_path / "page.html")
    shown = Page(browser, tmp_path / "page.html")
    assert _table(shown, "hidden")["rows"] == [
        [file.path, file.size, file.layer, file.hidden_by, "replaced", "yes" if file.is_same else "no"]
        for file in found.hidden
    ]
    assert ["Files/App/c.txt = Files/App/d.txt", "2", "30 B", "30 B"] in _rows(shown, "#list-duplicates")
    told = shown.value("document.querySelector('#waste p').innerText")
    assert told.startswith(f"2 files that layers store, with {found.hidden_bytes} B, cannot be seen")
    assert f"2 visible files have the contents of another one: {size_text(found.duplicate_bytes)}." in told


def test_things_are_those_of_the_inventory(browser: Browser, made: Path, machine: Windows) -> None:
    record: Any = parsed("inventory", "--store", machine.store.path, APPLICATION)
    shown = Page(browser, made)
    kinds = Counter(item["kind"] for item in record["items"])
    own = Counter(item["kind"] for item in record["items"] if not item["is_base"])
    told = {
        row[0]: [int(cell.replace(",", "")) for cell in row[1:]]
        for row in _rows(shown, "#own") if not row[0].startswith("bytes")
    }  # fmt: skip
    assert told["services"] == [own["service"], kinds["service"] - own["service"], kinds["service"]]
    assert told["installed programs"] == [own["program"], kinds["program"] - own["program"], kinds["program"]]
    assert told["drivers"][2] == kinds["driver"] > 100
    programs = _table(shown, "programs")["rows"]
    assert Counter(row[3] for row in programs) == {
        kind: count for kind, count in kinds.items() if kind in {str(each) for each in contents.PROGRAMS}
    }
    assert ["Our Service", "own"] in [[row[0], row[4]] for row in programs]
    services = _table(shown, "services")["rows"]
    assert Counter(row[1] for row in services) == {
        kind: count for kind, count in kinds.items() if kind in {"service", "driver", "task"}
    }
    assert len(_table(shown, "updates")["rows"]) == kinds["update"]
    (system,) = [item for item in record["items"] if item["kind"] == "operating-system"]
    assert _tiles(shown)["Windows build"][0] == "20348.2322"
    assert system["version"] in shown.value("document.querySelector('#patches').innerText")
    newest = max(
        item["properties"]["kb"] for item in record["items"]
        if item["kind"] == "update" and item["properties"]["state"] == "installed" and "kb" in item["properties"]
    )  # fmt: skip
    assert _tiles(shown)["Newest KB"] == [newest, "3 updates installed"]
    findings = [[each["place"], each["kind"], each["text"]] for each in record["findings"]]
    assert findings == ([] if not findings else _table(shown, "findings")["rows"])


def test_open_rights_are_those_of_the_audit(browser: Browser, made: Path, machine: Windows) -> None:
    record: Any = parsed("acl", "audit", "--store", machine.store.path, APPLICATION, status=21)
    shown = Page(browser, made)
    rows = _table(shown, "rights")["rows"]
    assert [(row[0], row[1], row[4]) for row in rows] == [
        (each["path"], each["place"], each["below"]) for each in record["findings"]
    ]
    own = sum(not each["is_base"] for each in record["findings"])
    assert _tiles(shown)["Open rights"] == [f"{len(rows)}", f"{own} of them its own"]


def test_differences_are_those_of_diff(browser: Browser, made: Path, machine: Windows) -> None:
    store = machine.store.path
    record: Any = parsed("diff", "--summary", "--store", store, BASE, APPLICATION, status=1)
    shown = Page(browser, made)
    told = {row[0]: [int(cell.replace(",", "")) for cell in row[1:]] for row in _rows(shown, "#summary")}
    expected = {**record["documents"], **record["inventory"], "files": record["files"], "registry": record["registry"]}
    words = ("added", "removed", "changed")
    assert told == {name: [counts.get(word, 0) for word in words] for name, counts in expected.items() if counts}
    assert _tiles(shown)["Differences"][0] == f"{record['total']:,}"
    assert shown.value("document.querySelector('#files [role=status]').textContent").startswith(
        f"{sum(record['files'].values())} of "
    )
    with wclayer.open_image(APPLICATION, machine.store) as image, wclayer.open_image(BASE, machine.store) as before:
        sizes = [wclayer.survey_image(each).total.visible_bytes for each in (before, image)]
    assert ["all of it", *map(size_text, sizes)] in [row[:3] for row in _rows(shown, "#changes")]


def test_the_page_requests_nothing_and_complains_of_nothing(browser: Browser, made: Path) -> None:
    shown = Page(browser, made)
    assert (shown.requested(), shown.complaints()) == ([made.as_uri()], [])
    policy = shown.value("document.querySelector('meta[http-equiv]').content")
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_ages_are_told_for_the_stated_time(browser: Browser, made: Path, machine: Windows) -> None:
    with wclayer.open_image(APPLICATION, machine.store) as image:
        assert image.config is not None
        created = datetime.fromisoformat(image.config.created)
    tiles = _tiles(Page(browser, made))
    if created > _AT:
        # It was built today.
        assert tiles["Made"][0] == f"{created:%Y-%m-%d}"
    else:
        assert tiles["Age"][0] == f"{(_AT - created).days:,} days"


def test_the_same_image_gives_the_same_bytes(machine: Windows, tmp_path: Path) -> None:
    pages = set()
    for number in range(2):
        with wclayer.open_image(BASE, machine.store) as image:
            wclayer.report_image(image, tmp_path / f"{number}.html")
        pages.add((tmp_path / f"{number}.html").read_bytes())
    assert len(pages) == 1


def test_an_age_without_a_stated_time_is_that_of_the_reader(browser: Browser, machine: Windows, tmp_path: Path) -> None:
    with wclayer.open_image(BASE, machine.store) as image:
        assert image.config is not None
        created = datetime.fromisoformat(image.config.created)
        wclayer.report_image(image, tmp_path / "page.html")
    assert json.loads(Page(browser, tmp_path / "page.html").value(f"JSON.stringify({_DATA}.at)")) is None
    days = (datetime.now(UTC) - created).days
    assert int(_tiles(Page(browser, tmp_path / "page.html"))["Age"][0].split()[0].replace(",", "")) - days in (0, 1)


def test_lists_are_searched_filtered_and_sorted(browser: Browser, made: Path) -> None:
    shown = Page(browser, made)
    rows = _table(shown, "services")["rows"]

    def choose(name: str, value: str) -> int:
        shown.value(
            f"(async () => {{ const field = document.querySelector('#list-services [name={name}]');"
            f"field.value = {value!r}; field.dispatchEvent(new Event(field.type === 'search' ? 'input' : 'change',"
            f"{{bubbles: true}})); {_WAIT} }})()"
        )
        status = shown.value("document.querySelector('#list-services [role=status]').textContent")
        return int(status.split()[0].replace(",", ""))

    assert choose("text", "OURS") == sum(
        any(isinstance(value, str) and "ours" in value.lower() for value in row) for row in rows
    )
    assert choose("text", "") == len(rows)
    assert choose("by-1", "driver") == sum(row[1] == "driver" for row in rows)
    assert choose("by-5", "own") == sum(row[1] == "driver" and row[5] == "own" for row in rows)
    choose("by-1", "")
    choose("by-5", "")
    names = "[...document.querySelectorAll('#list-services tbody th')].map(each => each.textContent)"
    shown.value("document.querySelector('#list-services thead button').click()")
    assert shown.value(names) == sorted(row[0] for row in rows)[:100]
    assert shown.complaints() == []


def _press(shown: Page, key: str, code: int) -> None:
    for kind in ("keyDown", "keyUp"):
        text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
        shown.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)


def test_the_map_is_used_with_the_keyboard(browser: Browser, tmp_path: Path) -> None:
    directories = {
        "": (90, 30, 6), "Files": (90, 30, 6), "Files/Windows": (80, 10, 6), "Files/Windows/System32": (50, 5, 0),
        "Files/Windows/WinSxS": (30, 5, 6), "Files/App": (0, 20, 0), "Files/App/bin": (0, 15, 0),
    }  # fmt: skip
    shown = Page(browser, write_page(tmp_path / "map.html", examined(survey(directories, []), ["name"])))
    assert [row[:2] for row in _rows(shown, "#map")] == [
        ["Windows", "96 B"], ["App", "20 B"], ["(files here, and small directories)", "10 B"],
    ]  # fmt: skip
    assert shown.value("document.querySelectorAll('.tiled > button').length") == 2
    shown.value("document.querySelector('.trail').lastElementChild.focus()")
    _press(shown, "Tab", 9)
    assert shown.value("document.activeElement.textContent") == "Windows 96 B"
    _press(shown, "Enter", 13)
    told = "document.querySelector('#map [role=status]').textContent"
    assert shown.value(told) == "Files/Windows: 96 B, 5 visible files"
    assert [row[:2] for row in _rows(shown, "#map")] == [["System32", "55 B"], ["WinSxS", "41 B"]]
    # The way back is before the focus.
    assert shown.value("document.activeElement.textContent") == "Windows"
    shown.value("document.querySelector('.trail button').click()")
    assert shown.value(told).startswith("whole image: 126 B")
    # Areas are sizes.
    areas = shown.value(
        "(() => { document.querySelectorAll('#map th button')[0].click(); const all = [...document.querySelectorAll("
        "'.tiled > *')].map(each => each.getBoundingClientRect()); return all.map(box => box.width * box.height); })()"
    )
    assert [round(126 * area / sum(areas)) for area in areas] == [96, 20, 10]
    assert shown.complaints() == []


def test_certificates_that_have_expired_are_counted(browser: Browser, tmp_path: Path) -> None:
    image = examined(survey({"": (0, 0, 0)}, []), ["name"])
    expires = [
        "2025-12-31T23:59:59Z",
        "2026-01-01T00:00:00Z",
        "2026-03-31T00:00:00Z",
        "2026-06-01T00:00:00Z",
        "1999-01-01T00:00:00Z",
    ]
    layers = image.inventory.layers
    found = [
        Item(ItemKind.CERTIFICATE, f"c{number}", "", Origin("HKLM", layers[number % 2]), "", {"expires": each})
        for number, each in enumerate(expires)
    ]
    image = replace(image, inventory=image.inventory.with_items(found))
    shown = Page(browser, write_page(tmp_path / "page.html", image, _AT))
    # The base layer, number 0 here, has three of them.
    assert _tiles(shown)["Certificates"] == ["5", "2 expired (0 own), 2 within 90 days of 2026-01-01"]
    assert [row[:2] for row in _rows(shown, "#certificates")] == [
        ["c4", "1999-01-01 expired"], ["c0", "2025-12-31 expired"], ["c1", "2026-01-01 expires soon"],
        ["c2", "2026-03-31 expires soon"], ["c3", "2026-06-01 valid"],
    ]  # fmt: skip


def test_hostile_texts_are_shown_and_do_nothing(browser: Browser, tmp_path: Path) -> None:
    directories = {"": (LARGEST, LARGEST, LARGEST), "Files": (LARGEST, LARGEST, 1)}
    directories |= {f"Files/{name.replace('/', ' ')}": (1000, 1000, 10) for name in _HOSTILE}
    file = write_page(tmp_path / "hostile.html", examined(survey(directories, _HOSTILE), _HOSTILE))
    for with_scripts in (True, False):
        shown = Page(browser, file, with_scripts=with_scripts)
        shown.value("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert shown.value("window.ran") is None
        assert (shown.requested(), shown.complaints()) == ([file.as_uri()], [])
        assert shown.value("document.querySelectorAll('img, svg[onload], [onmouseover], [onerror]').length") == 0
        seen = shown.value("document.body.textContent")
        for part in ("</script><script>window.ran=1</script>", "<U+202E>gnp.exe", "<U+001B>[31mred<U+001B>[0m",
                     "line<U+2028>separator", "&lt;already&gt;", "{{script}}", "' onmouseover=", "<U+D800> alone",
                     "and 4,000 more characters"):  # fmt: skip
            assert part in seen, part
    written = file.read_text()
    assert not {"\u202e", "\x1b", "\u2028"} & set(written)
    assert written.count("<script>") == 1


def test_a_page_about_100_000_directories_is_small(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 100_000
    directories = {"": (count * 3, 0, 0), "Files": (count * 3, 0, 0)}
    directories |= {f"Files/{number}": (number % 1000, 1, 0) for number in range(count)}
    names = [f"name {number}" for number in range(300)]
    monkeypatch.setattr(lists, "_MAX_TEXT", 20_000)
    shown = Page(browser, write_page(tmp_path / "large.html", examined(survey(directories, names), names)))
    assert shown.value("document.querySelectorAll('*').length") < 16_000
    nodes = shown.value(_DATA)["tree"]
    assert len(nodes["names"]) == tree._MOST
    left_out = count + 2 - tree._MOST
    assert f"{left_out:,} smaller directories are not shown by themselves" in shown.value("document.body.innerText")
    programs = _table(shown, "programs")
    assert 0 < len(programs["rows"]) < 300 * len(contents.PROGRAMS)
    assert len(programs["rows"]) + programs["left"] == 300 * len(contents.PROGRAMS)
    status = shown.value("document.querySelector('#list-programs [role=status]').textContent")
    assert f"; {programs['left']:,} more are not in this page" in status
    assert (tmp_path / "large.html").stat().st_size < 2_000_000


def test_the_page_can_be_read_without_scripts(browser: Browser, made: Path) -> None:
    with_scripts, without = Page(browser, made), Page(browser, made, with_scripts=False)
    assert without.complaints() == []
    seen = without.value("document.body.innerText")
    for part in ("Windows Server 2022 Datacenter", "20348.2322", "KB5034613", "Our Service", "System32"):
        assert part in seen, part
    with_scripts = Page(browser, made)
    for name in ("programs", "rights", "updates"):
        # Both begin with the same rows.
        rows = [_rows(shown, f"#list-{name}") for shown in (with_scripts, without)]
        assert rows[0][:100] == rows[1][:100], name


def test_paper_has_all_sections_open_and_the_heads_of_lists(browser: Browser, made: Path) -> None:
    shown = Page(browser, made)
    shown.call("Emulation.setEmulatedMedia", media="print")
    assert shown.value(
        "[...document.querySelectorAll('section > details > :not(summary)')].every(each => each.getBoundingClientRect()"
        ".height > 0)"
    )
    assert shown.value("document.querySelector('#list-programs thead button').getBoundingClientRect().height > 0")
    assert shown.value("document.querySelector('.tiled > *').getBoundingClientRect().height > 10")
    left = shown.value(
        "getComputedStyle(document.querySelector('#list-services button[data-left]'), '::after').content"
    )
    assert "more are not printed" in str(left) or "attr(data-left)" in str(left)
    paper = base64.b64decode(shown.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert paper.startswith(b"%PDF")
    assert len(paper) > 20_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_of_the_page_is_not_empty(browser: Browser, made: Path, scheme: str) -> None:
    shown = Page(browser, made)
    shown.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    png = base64.b64decode(shown.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])
    assert _lines_that_differ(png) > 100


def _lines_that_differ(png: bytes) -> int:
    """The number of different lines of a picture, as they are stored."""
    width = int.from_bytes(png[16:20], "big")
    place, packed = 8, b""
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        if png[place + 4 : place + 8] == b"IDAT":
            packed += png[place + 8 : place + 8 + length]
        place += length + 12
    data = zlib.decompress(packed)
    channels = {2: 3, 6: 4}[png[25]]
    line = 1 + width * channels
    return len({data[start : start + line] for start in range(0, len(data), line)})


@pytest.mark.parametrize("width", [320, 400, 1280])
def test_no_window_scrolls_to_the_side(browser: Browser, made: Path, width: int) -> None:
    shown = Page(browser, made, width=width)
    shown.value("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    wide = shown.value(
        "[...document.querySelectorAll('body *')].filter(each => each.getBoundingClientRect().right > innerWidth + 1"
        " && !each.closest('.tiled, .skip')).map(each => each.outerHTML.slice(0, 120)).slice(0, 5)"
    )
    assert wide == []
    assert shown.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 400])
def test_nothing_keeps_people_from_using_the_page(browser: Browser, made: Path, scheme: str, width: int) -> None:
    shown = Page(browser, made, width=width)
    shown.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    assert violations(shown) == []
