"""The page of `wclayer diff --html` in a real browser."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages.axe import violations
from tests.pages.browser import Browser, Page, started
from wclayer.comparison.documents import DocumentChange, DocumentPart
from wclayer.comparison.history import ComparedLayer, HistoryDifference, LayerPlace, StepChange
from wclayer.comparison.html import page
from wclayer.comparison.image_diff import DocumentDifference, ImageDifference
from wclayer.comparison.inventory_diff import InventoryDifference, ItemChange
from wclayer.comparison.records import difference_record
from wclayer.comparison.summary import summarize, summary_record
from wclayer.formats.regf.model import Value
from wclayer.images.config import HistoryEntry
from wclayer.inventory.item import Finding, FindingKind, Item, ItemKind, Origin, SubjectLayer
from wclayer.view.diff import Change, Difference
from wclayer.view.registry import RegistryDifference

_MANY = 50_000
_HOSTILE = [
    "</script><script>window.ran=1</script>",
    "<img src=http://example.org/x onerror=window.ran=1>",
    '"><svg onload=window.ran=1>',
    "{{script}}",
    "<!--<script>",
    "‮gnp.exe",
    "\x1b[31mred\x1b[0m",
    "javascript:window.ran=1",
    "\ud800 alone",
    "line\u2028separator",
    "&lt;already&gt;",
    "__proto__",
]
"""Names that a browser or a terminal would obey."""
_NAMES = "[...document.querySelectorAll('#files .path')].map(each => each.textContent)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("profile")) as running:
        yield running


def _difference(files: list[Difference], registry: list[RegistryDifference], name: str = "a:1") -> ImageDifference:
    step = HistoryEntry("2026", f"RUN {name}", "", False)
    place = LayerPlace(1, "sha256:1", 5, "type")
    documents = DocumentDifference(
        (DocumentChange(DocumentPart.CONFIG, "Labels", name, None, name),),
        HistoryDifference(1, (StepChange(Change.ADDED, 2, None, step),)),
        (ComparedLayer("sha256:2", None, place, place), ComparedLayer("sha256:3", Change.ADDED, None, place)),
    )
    layer = SubjectLayer(1, "", "", "", False, "")
    new = Item(ItemKind.PYTHON_PACKAGE, name, name, Origin(name, layer), properties={"state": name})
    items = (ItemChange(Change.ADDED, ItemKind.PYTHON_PACKAGE, name, {}, None, new),)
    inventory = InventoryDifference(items, (), (Finding(FindingKind.DAMAGED, name, name),))
    return ImageDifference(name, "b:2", documents, inventory, tuple(files), tuple(registry))


def _many() -> ImageDifference:
    changes = list(Change)
    files = [
        Difference(
            changes[number % 3], f"Files/Folder {number // 5000}/{number % 5000}.txt", False, number,
            {"security": (None, "01"), "size": (1, number)} if number % 3 == 2 else {},
        )
        for number in range(_MANY)
    ]  # fmt: skip
    keys = [
        RegistryDifference(Change.ADDED, rf"HKEY_LOCAL_MACHINE\SOFTWARE\Key {number}", None, {})
        for number in range(300)
    ]
    value = Value("Port", 4, b"\x50\x00\x00\x00")
    keys.append(RegistryDifference(Change.ADDED, r"HKEY_LOCAL_MACHINE\SOFTWARE\Acme", "Port", {"data": (None, value)}))
    return _difference(files, keys)


def _write(file: Path, difference: ImageDifference) -> Path:
    file.write_bytes("".join(page(difference)).encode())
    return file


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImageDifference]:
    """A page with 50,000 changes of files."""
    difference = _many()
    return _write(tmp_path_factory.mktemp("page") / "many.html", difference), difference


@pytest.fixture
def shown(browser: Browser, many: tuple[Path, ImageDifference]) -> Page:
    return Page(browser, many[0])


def _filter(shown: Page, text: str) -> str:
    """Types into the filter of the files, waits, and returns what the page says then."""
    shown.value(
        f"document.querySelector('#files input[name=text]').value = {text!r};"
        "document.querySelector('#files input[name=text]').dispatchEvent(new Event('input'));"
        "new Promise(done => setTimeout(done, 400))"
    )
    return str(shown.value("document.querySelector('#files [role=status]').textContent"))


def test_a_page_with_many_changes_requests_nothing_and_is_quick(
    browser: Browser, many: tuple[Path, ImageDifference]
) -> None:
    start = time.monotonic()
    shown = Page(browser, many[0])
    assert shown.value("document.querySelector('#files [role=status]').textContent") == "50,000 of 50,000 changes"
    assert time.monotonic() - start < 10
    assert shown.requested() == [many[0].as_uri()]
    assert shown.complaints() == []
    # Only what can be seen has elements.
    assert shown.value("document.querySelectorAll('*').length") < 5000


def test_the_numbers_are_those_of_json(shown: Page, many: tuple[Path, ImageDifference]) -> None:
    rows = shown.value(
        "[...document.querySelectorAll('#summary tbody tr')]"
        ".map(row => [...row.children].map(cell => cell.textContent))"
    )
    found = {name: [int(each.replace(",", "")) for each in numbers] for name, *numbers in rows}
    record = difference_record(many[1])
    lists = {
        "config": record["documents"]["fields"], "history": record["documents"]["history"]["changes"],
        "layers": record["documents"]["layers"], "python-package": record["inventory"]["items"],
        "finding": [{"change": "added"} for _ in record["inventory"]["new_findings"]],
        "files": record["files"], "registry": record["registry"],
    }  # fmt: skip
    assert found == {
        name: [sum(each["change"] == change.value for each in items) for change in Change]
        for name, items in lists.items()
    }
    counts = summary_record(summarize(many[1]))
    assert sum(map(sum, found.values())) == counts["total"]


def test_the_filters_find_what_they_say(shown: Page) -> None:
    assert _filter(shown, "folder 3/17.TXT") == "1 of 50,000 changes"
    assert shown.value(_NAMES) == ["Files/Folder 3/17.txt"]
    assert _filter(shown, "folder 3/") == "5,000 of 50,000 changes"
    assert len(shown.value(_NAMES)) == 200
    shown.value("document.querySelector('#files ul button').click()")
    assert len(shown.value(_NAMES)) == 400
    shown.value("document.querySelector('#files input[name=changed]').click()")
    assert shown.value("document.querySelector('#files [role=status]').textContent") == "3,334 of 50,000 changes"
    assert _filter(shown, "") == "33,334 of 50,000 changes"
    shown.value(
        "document.querySelector('#files input[name=changed]').click();"
        "document.querySelector('#files select').value = 'security';"
        "document.querySelector('#files select').dispatchEvent(new Event('change', {bubbles: true}))"
    )
    assert shown.value("document.querySelector('#files [role=status]').textContent") == "16,666 of 50,000 changes"
    assert shown.complaints() == []


def test_the_tree_opens_directory_by_directory(shown: Page) -> None:
    assert shown.value(_NAMES) == ["Files/", *(f"Folder {number}/" for number in range(10))]
    opened = (
        "(async () => { const all = [...document.querySelectorAll('#files details')];"
        "const folder = all.find(each => each.querySelector('.path').textContent === 'Folder 3/');"
        "folder.open = true; await new Promise(done => setTimeout(done, 200));"
        "const change = [...folder.querySelectorAll('details')].pop(); change.open = true;"
        "await new Promise(done => setTimeout(done, 200));"
        "return [folder.querySelectorAll('li').length, change.textContent]; })()"
    )
    count, change = shown.value(opened)
    assert count == 201  # 200 of 5000, and the button for more
    assert change.startswith("changed")
    assert "security- -> " in change


def test_hostile_names_are_shown_and_do_nothing(browser: Browser, tmp_path: Path) -> None:
    files = [Difference(Change.ADDED, f"Files/{name}", False, 1) for name in _HOSTILE]
    files += [Difference(Change.CHANGED, f"Files/{name}/x", False, 1, {name: (name, "other")}) for name in _HOSTILE]
    keys = [RegistryDifference(Change.ADDED, rf"HKLM\{name}", name, {}) for name in _HOSTILE]
    file = _write(tmp_path / "hostile.html", _difference(files, keys, name="".join(_HOSTILE)))
    shown = Page(browser, file)
    shown.value(
        "document.querySelectorAll('details').forEach(each => { each.open = true; });"
        "new Promise(done => setTimeout(done, 300))"
    )
    assert shown.value("window.ran") is None
    assert (shown.requested(), shown.complaints()) == ([file.as_uri()], [])
    assert shown.value("document.querySelectorAll('img, svg, script:not([type]):not(:last-of-type)').length") == 0
    assert _filter(shown, "files/") == "24 of 24 changes"
    assert {
        "Files/</script><script>window.ran=1</script>", "Files/<U+202E>gnp.exe", "Files/<U+001B>[31mred<U+001B>[0m",
        "Files/<U+D800> alone", "Files/line<U+2028>separator", "Files/&lt;already&gt;", "Files/__proto__/x",
        "Files/{{script}}",
    } <= {*shown.value(_NAMES)}  # fmt: skip
    assert shown.value("window.ran") is None
    text = file.read_text()
    assert not {"\u202e", "\x1b", "\u2028"} & set(text)
    assert text.count("<script>") == 1


def test_the_page_can_be_read_without_scripts(browser: Browser, many: tuple[Path, ImageDifference]) -> None:
    shown = Page(browser, many[0], with_scripts=False)
    text = shown.value("document.body.innerText")
    for part in ("a:1", "b:2", "RUN a:1", "Labels a:1", "sha256:3", "Files/Folder 0/0.txt", "of 50,000 are shown",
                 r"HKEY_LOCAL_MACHINE\SOFTWARE\Acme : Port", "REG_DWORD 0x50"):  # fmt: skip
        assert part in text, part
    assert len(shown.value(_NAMES)) == 500
    assert shown.complaints() == []


def test_every_control_has_a_name_and_the_page_has_landmarks(shown: Page) -> None:
    nodes = shown.call("Accessibility.getFullAXTree")["nodes"]

    def named(role: str) -> list[str]:
        return [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == role]

    controls = [*named("searchbox"), *named("checkbox"), *named("combobox"), *named("button")]
    assert len(controls) >= 9
    assert all(controls)
    assert len(named("main")) == 1
    assert {"Summary", "Files", "Registry"} <= {*named("region")}
    assert shown.value("document.documentElement.lang") == "en"
    assert shown.value("document.title") == "a:1 → b:2"


def test_a_narrow_window_does_not_scroll_to_the_side(browser: Browser, many: tuple[Path, ImageDifference]) -> None:
    shown = Page(browser, many[0], width=500)
    assert shown.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_page_says_if_nothing_differs(browser: Browser, tmp_path: Path) -> None:
    same = dataclasses.replace(_difference([], []), documents=None, inventory=None)
    shown = Page(browser, _write(tmp_path / "same.html", same))
    assert "Nothing differs." in shown.value("document.body.innerText")
    assert shown.complaints() == []


def test_what_a_browser_cannot_hold_is_counted(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: tuple[Path, ImageDifference]
) -> None:
    monkeypatch.setattr("wclayer.comparison.html._MAX_TEXT", 100_000)
    shown = Page(browser, _write(tmp_path / "part.html", many[1]))
    status: Any = shown.value("document.querySelector('#files [role=status]').textContent")
    inside, _, rest = status.partition(" of ")
    assert "more are not in this page" in rest
    left = int(rest.split("; ")[1].split(" ")[0].replace(",", ""))
    assert int(inside.replace(",", "")) + left == _MANY


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_from_using_the_page(shown: Page, scheme: str) -> None:
    shown.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    assert violations(shown) == []
