"""Patterns of names as FindFirstFile has them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wclayer.win32 import wildcards
from wclayer.win32.names import name_key
from wclayer.win32.wildcards import FilePattern, has_wildcards


@given(st.text("aB.xß", max_size=9), st.text('aB.xß*?<>"', max_size=8))
def test_the_fast_way_finds_what_the_rules_of_the_system_find(name: str, pattern: str) -> None:
    by_rules = wildcards._matches(name_key(name), wildcards._system_pattern(name_key(pattern)))
    assert FilePattern(pattern).matches(name) is (pattern in ("*", "*.*") or by_rules)


def test_a_pattern_made_to_be_slow_is_not() -> None:
    for pattern in ("*a" * 120 + "b", "*a?" * 80 + "b", "*." * 120 + "?b"):
        assert not FilePattern(pattern).matches("a" * 254 + ".")


def test_wildcards_are_recognised() -> None:
    assert has_wildcards("a?c")
    assert has_wildcards("C:\\*")
    assert not has_wildcards("[a].txt")
