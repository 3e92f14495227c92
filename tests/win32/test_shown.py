"""Text for people: what a terminal would obey is shown as its number."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.win32.shown import shown

_BIDIRECTIONAL = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")


def _is_obeyed(character: str) -> bool:
    """Whether a terminal or a page obeys a character, by Unicode's database: a control, a separator of lines, an
    embedding, an override or an isolate of the direction."""
    return (
        unicodedata.category(character) in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(character) in _BIDIRECTIONAL
    )


def test_a_character_alone_is_shown_unless_it_would_be_obeyed() -> None:
    escaped = {character for character in map(chr, range(0x110000)) if shown(f"a{character}b") != f"a{character}b"}
    assert escaped == {character for character in map(chr, range(0x110000)) if _is_obeyed(character)} - set("\t\n")


@given(st.text(st.sampled_from("ab\n\t\x1b\x85\u202e\u2028\ud800\xe9\U00010400")))
def test_a_text_is_shown_as_its_characters_are(text: str) -> None:
    assert shown(text) == "".join(map(shown, text))


@pytest.mark.parametrize("text", ["", "a\r\nb\r\n", "a\tb\n\n", "\xe9\U00010400\n"])
def test_lines_and_tabs_stay(text: str) -> None:
    assert shown(text) == text
