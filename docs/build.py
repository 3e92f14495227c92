"""Writes the tables of commands in docs/build.md, from the tables by which RUN carries them out.

    python docs/build.py

tests/builder/test_command_table.py fails while they differ.
"""

from __future__ import annotations

from pathlib import Path

from wclayer.builder.commands import table
from wclayer.builder.commands.powershell import table as powershell

DOCUMENT = Path(__file__).with_name("build.md")
_BEGIN = "<!-- Made by `python docs/build.py` from the table of {0}"
_END = "\n#"
_HEAD = "|---|---|"


def commands() -> str:
    """Returns the rows of all commands, under the titles of their groups."""
    rows = [(each.group, each.names, each.usage, each.summary) for each in table.ALL]
    return _groups(rows, "command") + "\n"


def cmdlets() -> str:
    """Returns the rows of all cmdlets, under the titles of their groups, and those of the methods."""
    rows = [(each.group, (*each.names, *each.windows_names), each.usage, each.summary) for each in powershell.ALL]
    parts = [_groups(rows, "cmdlet"), "\n**Methods of .NET**\n", "| method | what it does here |", _HEAD]
    parts += [f"| {_cells(each.usage)} | {_escaped(each.summary)} |" for each in powershell.ALL_METHODS]
    return "\n".join(parts) + "\n"


def _groups(rows: list[tuple[str, tuple[str, ...], str, str]], title: str) -> str:
    parts = []
    for group in dict.fromkeys(row[0] for row in rows):
        parts += [f"\n**{group}**\n", f"| {title} | what it does here |", _HEAD]
        for of, names, usage, summary in rows:
            if of == group:
                written = ", ".join(f"`{name}`" for name in names)
                parts.append(f"| {written} | {_cells(usage)}. {_escaped(summary)} |")
    return "\n".join(parts)


def _cells(usage: str) -> str:
    return "<br>".join(f"`{line.strip()}`" for line in _escaped(usage).splitlines())


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def document(text: str) -> str:
    """Returns the text of the document with the current tables."""
    for title, made in (("commands", commands()), ("cmdlets", cmdlets())):
        begin = text.index("\n", text.index(_BEGIN.format(title))) + 1
        end = text.index(_END, begin)
        text = text[:begin] + made + text[end:]
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
