"""Texts of images as one line of a terminal: nothing in them is obeyed, reordered or invisible."""

from __future__ import annotations

import unicodedata

from wclayer.win32.shown import escaped

_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Controls, formats (bidirectional controls, joiners, byte order marks), surrogates, separators of lines."""
_COMBINING = frozenset(("Mn", "Me"))
_MOST_MARKS = 4
"""How many combining marks may stand on one character."""


def one_line(text: str) -> str:
    """Returns a text as one line, with `<U+…>` for each character that a terminal would obey or not show."""
    if text.isascii() and text.isprintable():
        return text
    parts: list[str] = []
    marks = _MOST_MARKS
    for character in text:
        category = unicodedata.category(character)
        if category in _COMBINING:
            marks += 1
        else:
            marks = 0
        parts.append(escaped(character) if category in _HIDDEN or marks > _MOST_MARKS else character)
    return "".join(parts)
