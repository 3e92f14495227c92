"""Puts what benchmarks have made into a document: between two marks, so that nothing is typed."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def write_part(document: Path, name: str, text: str) -> None:
    """Replaces the text between `<!-- NAME -->` and `<!-- end of NAME -->` in a document.

    Raises:
        SystemExit: the document has no such marks.
    """
    before, _, after = _parts(document, name)
    document.write_text(before + text.rstrip("\n") + "\n" + after, encoding="utf-8")


def write_rows(document: Path, name: str, table: str) -> None:
    """Replaces rows of a table between the marks: those whose first cell is that of a row of the new table. The others
    stay, and a row with another first cell comes after the one that it follows in the new table.

    Args:
        document, name: see `write_part`.
        table: the new table, in Markdown.

    Raises:
        SystemExit: the document has no such marks.
    """
    _, old, _ = _parts(document, name)
    groups = _rows_by_first_cell(old)
    made = _rows_by_first_cell(table)
    order = list(groups)
    previous = ""
    for cell in made:
        if cell not in groups:
            order.insert(order.index(previous) + 1 if previous else 0, cell)
        previous = cell
    rows = [row for cell in order for row in made.get(cell) or groups[cell]]
    write_part(document, name, "\n".join([*table.splitlines()[:2], *rows]))


def _rows_by_first_cell(table: str) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    for row in table.splitlines()[2:]:
        rows.setdefault(row.split("|")[1].strip(), []).append(row)
    return rows


def _parts(document: Path, name: str) -> tuple[str, str, str]:
    """Returns the text of a document up to the end of the first mark, that between the marks, and the rest."""
    text = document.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise SystemExit(f"{document}: the marks {begin.strip()} and {end.strip()} are not there")
    first, last = text.index(begin) + len(begin), text.index(end)
    return text[:first], text[first:last], text[last:]


def machine() -> str:
    """The machine that measures, in one sentence."""
    gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    model = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return (
        f"Measured on {os.cpu_count()} cores ({model[1] if model else platform.machine()}), {gigabytes:.0f} GB,"
        f" Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}."
    )
