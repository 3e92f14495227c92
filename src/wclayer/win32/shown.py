"""Text for people: names as a terminal or a page can show them (`<U+202E>` stands for a character that it would obey),
sizes and counts."""

from __future__ import annotations

import re

# C0 and C1 controls, but for tab and line feed: a terminal obeys them. Bidirectional controls: they reorder a line.
_CONTROL = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]|\r(?!\n)")


def shown(text: str) -> str:
    """Returns `text` with `<U+…>` for each character that a terminal would obey instead of showing it."""
    # Nearly every text is of printable characters alone, and the regular expression takes three times as long.
    if text.replace("\n", "").isprintable():
        return text
    return _CONTROL.sub(lambda found: escaped(found[0]), text)


def escaped(text: str) -> str:
    """Returns `<U+…>` for each character of `text`."""
    return "".join(f"<U+{ord(character):04X}>" for character in text)


def count_text(count: int, what: str, many: str = "") -> str:
    """Returns a number with the word for what is counted ("1 file", "2,000 files").

    Args:
        count: the number.
        what: the word for one.
        many: the word for another number; by default that for one, with an s.
    """
    return f"{count:,} {what if count == 1 else many or what + 's'}"


def size_text(size: float) -> str:
    """Returns a size for people ("1.5 MiB")."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
