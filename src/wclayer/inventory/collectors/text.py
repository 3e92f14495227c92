"""Texts that a file states of itself, as an inventory keeps them."""

from __future__ import annotations

_LONGEST = 1000
"""Characters of a text that are kept."""


def kept_text(text: str) -> str:
    """Returns a text without the white space around it, up to 1,000 characters, with marks for what is no character."""
    return text.strip()[:_LONGEST].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
