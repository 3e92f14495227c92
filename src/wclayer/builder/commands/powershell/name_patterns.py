"""PowerShell's wildcards: `*`, `?`, `[ab]`, `[a-z]`, and a backtick that makes the next character plain.

A dot is a character like any other: `*.*` wants a dot. Sources: "about_Wildcards"; WildcardPattern of PowerShell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_ESCAPE = "`"
_WILDCARDS = "*?[]"

_Range = tuple[str, str]


@dataclass(frozen=True)
class _Token:
    """A part of a pattern: any text (no ranges), or one character in one of the ranges."""

    ranges: tuple[_Range, ...] = ()

    def takes(self, character: str) -> bool:
        spellings = {one for one in (character, character.lower(), character.upper()) if len(one) == 1}
        return any(low <= one <= high for one in spellings for low, high in self.ranges)


_ANY_TEXT, _ANY_CHARACTER = _Token(), _Token((("\0", "\U0010ffff"),))


class PatternError(ValueError):
    """A pattern has a bracket that is not closed, or a range whose ends are the wrong way round."""


def has_wildcards(text: str) -> bool:
    """Returns whether a path has a wildcard that no backtick makes plain."""
    at = 0
    while at < len(text):
        if text[at] in _WILDCARDS:
            return True
        at += 2 if text[at] == _ESCAPE else 1
    return False


def unescaped(text: str) -> str:
    """Returns a path without the backticks that make characters plain."""
    made: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == _ESCAPE and at + 1 < len(text):
            at += 1
        made.append(text[at])
        at += 1
    return "".join(made)


class NamePattern:
    """A pattern of names; case is ignored.

        >>> NamePattern("[ab]*.txt").matches("Bob.TXT")
        True

    Args:
        text: the pattern.

    Raises:
        PatternError: the pattern is not valid.
    """

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)

    def matches(self, name: str) -> bool:
        """Returns whether it matches a name. The time grows with both lengths, not with the number of wildcards."""
        # The places in the name that the pattern so far can have reached.
        places = {0}
        for token in self._tokens:
            if token is _ANY_TEXT:
                places = set(range(min(places), len(name) + 1)) if places else places
            else:
                places = {place + 1 for place in places if place < len(name) and token.takes(name[place])}
        return len(name) in places


def _tokens(pattern: str) -> list[_Token]:
    tokens: list[_Token] = []
    characters = _characters(pattern)
    for character, is_plain in characters:
        if is_plain or character not in "*?[":
            tokens.append(_Token(((character, character),)))
        elif character == "[":
            tokens.append(_bracket(characters))
        else:
            tokens.append(_ANY_TEXT if character == "*" else _ANY_CHARACTER)
    return tokens


def _characters(pattern: str) -> Iterator[tuple[str, bool]]:
    """Yields the characters of a pattern, and whether a backtick makes each one plain."""
    at = 0
    while at < len(pattern):
        is_plain = pattern[at] == _ESCAPE and at + 1 < len(pattern)
        at += is_plain
        yield pattern[at], is_plain
        at += 1


def _bracket(characters: Iterator[tuple[str, bool]]) -> _Token:
    """Returns the token of a bracket whose `[` was read."""
    inside: list[tuple[str, bool]] = []
    for character, is_plain in characters:
        if character == "]" and not is_plain and inside:
            return _Token(tuple(_ranges(inside)))
        inside.append((character, is_plain))
    raise PatternError("has a [ without a ]")


def _ranges(inside: list[tuple[str, bool]]) -> Iterator[_Range]:
    at = 0
    while at < len(inside):
        low = high = inside[at][0]
        if at + 2 < len(inside) and inside[at + 1] == ("-", False):
            high = inside[at + 2][0]
            at += 2
        if low > high:
            raise PatternError(f"has a range from {low} to {high}, which is empty")
        yield low, high
        at += 1
