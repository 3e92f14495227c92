"""Wildcards as Go documents `filepath.Match`, without the escapes, which Windows does not have."""

from __future__ import annotations

import time

import pytest

from wclayer.builder.files.wildcards import WildcardError, has_wildcards, matches, parse_wildcards


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("abc", "abc", True), ("*", "abc", True), ("*", "", True), ("*c", "abc", True), ("a*", "a", True),
        ("a*", "abc", True), ("a*b?c*x", "abxbbxdbxebxczzx", True), ("a*b?c*x", "abxbbxdbxebxczzy", False),
        ("ab[c]", "abc", True), ("ab[b-d]", "abc", True), ("ab[e-g]", "abc", False), ("ab[^c]", "abc", False),
        ("ab[^b-d]", "abc", False), ("ab[^e-g]", "abc", True), ("a?c", "a\u263ac", True), ("a[^a]b", "a\u263ab", True),
        ("a???b", "a\u263ab", False), ("[a-z]*", "\u03b1", False), ("a.b", "axb", False), ("*.txt", "a.TXT", False),
        ("", "", True), ("", "a", False), ("?", "", False), ("[x-]", "-", None), ("[]a]", "]", None),
        ("[-]", "-", None), ("[a", "a", None), ("[a-]", "a", None), ("[z-a]", "b", None), ("[^]", "a", None),
    ],
)  # fmt: skip
def test_patterns(pattern: str, name: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(WildcardError):
            parse_wildcards(pattern)
    else:
        assert matches(parse_wildcards(pattern), name) is expected


def test_a_pattern_made_to_be_slow_is_not() -> None:
    start = time.monotonic()
    assert not matches(parse_wildcards("*a" * 120 + "b"), "a" * 255)
    assert time.monotonic() - start < 1


def test_a_component_without_wildcards_is_a_name() -> None:
    assert not has_wildcards("a(1).txt")
    assert all(map(has_wildcards, ("*", "a?", "[a]")))
