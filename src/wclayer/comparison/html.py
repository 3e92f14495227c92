"""A page for a browser that shows all that differs. The names in an image are hostile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

from wclayer.comparison.image_diff import DocumentDifference, ImageDifference
from wclayer.comparison.inventory_diff import InventoryDifference
from wclayer.comparison.records import Record, documents_record, file_record, inventory_record, registry_record
from wclayer.comparison.summary import FILE_KINDS, Counts, summarize
from wclayer.comparison.texts import MARKS, sides_text, versions_text
from wclayer.pages.page import PageForm, html_text, json_text, visible
from wclayer.pages.parts import section_head
from wclayer.view.diff import Change, Difference
from wclayer.view.registry import RegistryDifference
from wclayer.win32.shown import size_text

_FORM = PageForm("wclayer.comparison")

_LISTED = 500
"""How many changes of a kind are shown without JavaScript."""
_MAX_TEXT = 64 << 20
"""How many characters of changes a page holds. A browser cannot show much more; JSON has all."""
_SECONDS = len("2026-11-29T21:28:15")
"""Characters of a time in the history: its fraction is in the table of fields."""


def page(difference: ImageDifference) -> Iterator[str]:
    """Yields the text of the page, in parts."""
    return _FORM.page(
        f"{difference.a} → {difference.b}",
        header=[
            "<h1>What differs</h1>\n",
            f'<dl class="names"><dt>from</dt><dd><bdi>{html_text(difference.a)}</bdi></dd>',
            f"<dt>to</dt><dd><bdi>{html_text(difference.b)}</bdi></dd></dl>",
        ],
        main=difference_sections(difference),
        data=chain("{", difference_members(difference), "}"),
    )


# What can be read without JavaScript.


def difference_sections(difference: ImageDifference, head: str = "") -> Iterator[str]:
    """Yields the sections that show what differs: `summary`, and `documents`, `history`, `layers`, `inventory`,
    `files` and `registry` if there is anything in them.

    Args:
        difference: what differs.
        head: what stands before their titles, as HTML.
    """
    summary = summarize(difference)
    yield section_head("summary", f"{head}Summary")
    if not difference:
        yield "<p>Nothing differs.</p></section>"
        return
    counts = {
        **(summary.documents or {}),
        **(summary.inventory or {}),
        "files": summary.files,
        "registry": summary.registry,
    }
    yield _count_table("what", counts)
    if summary.file_kinds:
        kinds = ", ".join(f"{kind}: {count:,}" for kind, count in summary.file_kinds.items())
        yield f"<p>Of the files that both have, these differ in: {html_text(kinds)}.</p>"
    yield "</section>"
    if difference.documents is not None:
        yield from _document_sections(difference.documents, head)
    if difference.inventory:
        rows = _inventory_rows(difference.inventory)
        yield section_head("inventory", f"{head}Inventory")
        yield from _list("inventory", iter(rows), len(rows))
    if difference.files:
        yield section_head("files", f"{head}Files")
        yield _count_table("directory", dict(islice(summary.directories.items(), 20)))
        yield from _list("files", map(_file_row, difference.files), len(difference.files))
    if difference.registry:
        yield section_head("registry", f"{head}Registry")
        yield _count_table("key", dict(islice(summary.keys.items(), 20)))
        yield from _list("registry", map(_registry_row, difference.registry), len(difference.registry))


def _count_table(what: str, counts: dict[str, Counts]) -> str:
    head = "".join(f'<th scope="col">{word}</th>' for word in (what, *(change.value for change in Change)))
    rows = "".join(
        f'<tr><th scope="row"><bdi>{html_text(name)}</bdi></th>'
        + "".join(f'<td class="number">{each[change]:,}</td>' for change in Change)
        + "</tr>"
        for name, each in counts.items()
        if each
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _document_sections(documents: DocumentDifference, head: str) -> Iterator[str]:
    record = documents_record(documents)
    if record["fields"]:
        yield section_head("documents", f"{head}Configuration and platform")
        rows = [
            (each["change"], " ".join(filter(None, (each["part"], each["field"], each["key"]))),
             *(_side(each[side]) for side in ("old", "new")))
            for each in record["fields"]
        ]  # fmt: skip
        yield from _table(("change", "field", "old", "new"), rows)
    steps = record["history"]["changes"]
    if steps:
        yield section_head("history", f"{head}History")
        yield f"<p>Steps with which both histories begin: {record['history']['common']}.</p>"
        yield from _table(("change", "number", "step", "created"), [_step(each) for each in steps])
    if any(each["change"] != "shared" for each in record["layers"]):
        yield section_head("layers", f"{head}Layers")
        rows = [
            (each["change"], str(side["number"]), each["diff_id"], side["digest"], size_text(side["size"]))
            for each in record["layers"]
            for side in [each["new"] or each["old"]]
        ]
        yield from _table(("change", "number", "diffID", "blob", "size"), rows)


def _side(value: object) -> str:
    return "" if value is None else sides_text("", value, None)


def _step(record: Record) -> tuple[str, ...]:
    step = record["new"] or record["old"]
    times = dict.fromkeys(side["created"][:_SECONDS] for side in (record["old"], record["new"]) if side is not None)
    return record["change"], str(record["number"]), step["created_by"] or step["comment"], " → ".join(times)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    yield f"<table><thead><tr>{head}</tr></thead><tbody>"
    for change, *cells in rows[:_LISTED]:
        values = "".join(f'<td class="value">{html_text(cell)}</td>' for cell in cells)
        yield f'<tr><td class="{change}">{change}</td>{values}</tr>'
    yield "</tbody></table>"
    if len(rows) > _LISTED:
        yield f"<p>{len(rows) - _LISTED:,} more are not in this page.</p>"
    yield "</section>"


# The lists of files and of the registry: some of them to be read without JavaScript, and all of them as data.

_Row = tuple[str, str, str | None, str, list[tuple[str, str]]]
"""Change, path, name of a value, a note such as the size, fields with both of their values."""


def _file_row(difference: Difference) -> _Row:
    record = file_record(difference)
    size = "" if record["directory"] or record["fields"] else size_text(record["size"])
    return record["change"], record["path"], None, size, _field_texts(record)


def _registry_row(difference: RegistryDifference) -> _Row:
    record = registry_record(difference)
    value = None if record["value"] is None else record["value"] or "(Default)"
    return record["change"], record["key"], value, "", _field_texts(record)


def _inventory_rows(inventory: InventoryDifference) -> list[_Row]:
    record = inventory_record(inventory)
    rows: list[_Row] = []
    for item in record["items"]:
        fields = [field for field in _field_texts(item) if field[0] != "version"]
        place = (item["new"] or item["old"])["from"]
        rows.append((item["change"], item["kind"], item["name"], versions_text(item), [*fields, ("where", place)]))
    for change, side in (("removed", "old_findings"), ("added", "new_findings")):
        rows += [(change, "finding", found["place"], "", [(found["kind"], found["text"])]) for found in record[side]]
    return rows


def _field_texts(record: Record) -> list[tuple[str, str]]:
    return [
        (name.replace("_", " "), sides_text("" if name == "data" else name, old, new))
        for name, (old, new) in record["fields"].items()
    ]


def _list(name: str, rows: Iterator[_Row], count: int) -> Iterator[str]:
    """Yields a list that JavaScript replaces."""
    yield '<div class="changes"><ul>'
    for change, path, value, note, fields in islice(rows, _LISTED):
        text = path if value is None else f"{path} : {value}"
        yield f'<li><span class="mark {change}">{change}</span> <span class="path">{html_text(text)}</span>'
        yield f' <span class="note">{html_text(note)}</span>' if note else ""
        if fields:
            yield '<dl class="fields">'
            yield "".join(f"<dt>{html_text(field)}</dt><dd>{html_text(both)}</dd>" for field, both in fields)
            yield "</dl>"
        yield "</li>"
    yield "</ul>"
    if count > _LISTED:
        yield f"<p>The first {_LISTED} of {count:,} are shown. With JavaScript, this page shows all.</p>"
    yield "</div></section>"


def difference_members(difference: ImageDifference) -> Iterator[str]:
    """Yields members of the JSON object that the script reads, as text. No character in it can end the element around
    it."""
    strings: dict[str, int] = {}
    room = _MAX_TEXT
    kinds = {kind: sorted(name.replace("_", " ") for name in fields) for kind, fields in FILE_KINDS.items()}
    yield f'"kinds": {json_text(kinds)}, "lists": {{'
    lists: list[tuple[str, str, Iterator[_Row], int]] = []
    if difference.inventory:
        items = _inventory_rows(difference.inventory)
        lists.append(("inventory", "/", iter(items), len(items)))
    if difference.files:
        lists.append(("files", "/", map(_file_row, difference.files), len(difference.files)))
    if difference.registry:
        lists.append(("registry", "\\", map(_registry_row, difference.registry), len(difference.registry)))
    for number, (name, separator, rows, count) in enumerate(lists):
        yield f'{"," if number else ""}{json_text(name)}: {{"separator": {json_text(separator)}, "rows": ['
        written = 0
        for change, path, value, note, fields in rows:
            indexes = [(field, strings.setdefault(visible(both), len(strings))) for field, both in fields]
            path, value, note = visible(path), None if value is None else visible(value), visible(note)
            text = json_text([MARKS[change], path, value, note, indexes])
            room -= len(text) + sum(len(both) for _, both in fields)
            if room < 0:
                break
            yield f"{',' if written else ''}\n{text}"
            written += 1
        yield f'], "left": {count - written}}}'
    yield f'}}, "strings": {json_text(list(strings))}'
