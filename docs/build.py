"""Writes the table of commands in docs/build.md, from the table by which RUN carries them out.

    python docs/build.py

tests/build/test_command_table.py fails while the two differ.
"""

from __future__ import annotations

from pathlib import Path

from wclayer.build.commands.table import ALL

DOCUMENT = Path(__file__).with_name("build.md")
_BEGIN = "<!-- Made by `python docs/build.py`"
_END = "\n## "


def table() -> str:
    """Returns the rows of all commands, under the titles of their groups."""
    parts = []
    for group in dict.fromkeys(command.group for command in ALL):
        parts += [f"\n**{group}**\n", "| command | what it does here |", "|---|---|"]
        for command in ALL:
            if command.group == group:
                names = ", ".join(f"`{name}`" for name in command.names)
                summary = command.summary.replace("|", "\\|")
                usage = "<br>".join(f"`{line.strip()}`" for line in command.usage.replace("|", "\\|").splitlines())
                parts.append(f"| {names} | {usage}. {summary} |")
    return "\n".join(parts) + "\n"


def document(text: str) -> str:
    """Returns the text of the document with the current table."""
    begin = text.index("\n", text.index(_BEGIN)) + 1
    end = text.index(_END, begin)
    return text[:begin] + table() + text[end:]


if __name__ == "__main__":
    DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
