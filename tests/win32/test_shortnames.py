"""Short names: which names are short ones themselves, and what is made of the others."""

from __future__ import annotations

import pytest

from wclayer.win32.shortnames import is_short, short_names


@pytest.mark.parametrize("name", ["a", "ABCDEFGH.TXT", "a-b~1.x", "'{}@'", "\x7f"])
def test_a_name_of_eight_and_three_characters_of_ascii_is_short(name: str) -> None:
    assert is_short(name)


@pytest.mark.parametrize(
    "name",
    ["", "ABCDEFGHI", "a.text", "a b", "a.b.c", "a+b", "a[1]", ".x", "a.", "é", "a.\u0161", "\U0001f600", "\ud800"],
)
def test_any_other_name_is_not(name: str) -> None:
    assert not is_short(name)


def test_characters_that_short_names_lack_are_replaced_or_left_out() -> None:
    long = ["na\u00efve name.text", "a+b=c[d].e f", "\U0001f600 smile.jpeg", "many.dots.in.it", "\ud800"]
    assert short_names(long) == {
        "NA_VEN~1.TEX": long[0],
        "A_B_C_~1.EF": long[1],
        "_SMILE~1.JPE": long[2],
        "MANYDO~1.IT": long[3],
        "_~1": long[4],
    }
