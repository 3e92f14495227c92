"""Writes the tables of keys in docs/explore.md, from the keys that the explorer declares.

    python docs/explore.py

tests/explore/test_keys.py fails while they differ.
"""

from __future__ import annotations

from pathlib import Path

from wclayer.explore.app import KEYS
from wclayer.explore.widgets.dialogs import keys_of

DOCUMENT = Path(__file__).with_name("explore.md")
_BEGIN = "<!-- Made by `python docs/explore.py` from the keys that the explorer declares. -->\n"
_END = "\n## "


def tables() -> str:
    """Returns the tables: the keys of each group, with what they do."""
    parts = []
    for title, bindings in KEYS:
        rows = [f"| {' '.join(f'`{key}`' for key in keys.split('  '))} | {what} |" for keys, what in keys_of(bindings)]
        parts.append("\n".join((f"\n**{title}**\n", "| keys | what they do |", "|---|---|", *rows, "")))
    return "".join(parts)


def document() -> str:
    """Returns the document with the tables as they should be."""
    text = DOCUMENT.read_text(encoding="utf-8")
    head, begin, rest = text.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    return head + begin + tables() + end + tail


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
