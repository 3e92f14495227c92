"""One pattern of a `.dockerignore` file: `*`, `?`, `[…]`, `**`, and `\\` before a character that means itself.

Reference: Docker's "Build context", section ".dockerignore files"; Go's path/filepath.Match; moby/patternmatcher.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from wclayer.errors import FormatError

MAX_PATTERN = 4096
"""The most characters of a pattern."""
_SIMPLE = 2
"""A pattern with more wildcards than this is matched step by step: the time of a regular expression grows with each."""


class _Kind(Enum):
    CHAR = "one character"
    STAR = "characters without a /"
    MAYBE = "what follows, with or without directories before it"
    DIRECTORIES = "characters up to any /"
    ALL = "all the rest"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: _Kind
    expression: str
    char: str = ""
    """The one character that it stands for, if there is only one."""


_STAR = (_Token(_Kind.STAR, "[^/]*"),)
_MAYBE_DIRECTORIES = (_Token(_Kind.MAYBE, "(?:.*/)?"), _Token(_Kind.DIRECTORIES, ""))
_ALL = (_Token(_Kind.ALL, ".*"),)


@dataclass(frozen=True)
class IgnorePattern:
    """A pattern of paths, which are relative and `/`-separated."""

    _tokens: tuple[_Token, ...]
    _suffix: str | None
    """For `**TEXT` without other wildcards: a path matches that ends with TEXT."""

    def matches(self, path: str) -> bool:
        """Tells whether a path has the pattern: the path itself, not a directory above it."""
        if self._suffix is not None:
            return path.endswith(self._suffix) or path == self._suffix.removeprefix("/")
        if self._is_simple:
            return self._regex.fullmatch(path) is not None
        return len(self._tokens) in self._after(path)

    def may_match_below(self, directory: str) -> bool:
        """Tells whether a path below a directory can have the pattern."""
        return self._suffix is not None or bool(self._after(f"{directory}/") - {len(self._tokens)})

    @cached_property
    def _is_simple(self) -> bool:
        return sum(token.kind not in (_Kind.CHAR, _Kind.DIRECTORIES) for token in self._tokens) <= _SIMPLE

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile("".join(token.expression for token in self._tokens), re.DOTALL)

    @cached_property
    def _chars(self) -> list[re.Pattern[str]]:
        return [re.compile(token.expression, re.DOTALL) for token in self._tokens]

    def _after(self, text: str) -> set[int]:
        """Returns the tokens at which a match can be after a text; their number for a complete match.

        All of them are carried along, so that the time is bounded by the product of the lengths.
        """
        now: set[int] = set()
        self._enter(0, now)
        for char in text:
            after: set[int] = set()
            for at in now:
                if at < len(self._tokens):
                    self._step(at, char, after)
            now = after
        return now

    def _enter(self, at: int, tokens: set[int]) -> None:
        """Adds a token, and those that follow it without a character between."""
        tokens.add(at)
        kind = self._tokens[at].kind if at < len(self._tokens) else _Kind.CHAR
        if kind is _Kind.MAYBE:
            tokens.add(at + 1)
            self._enter(at + 2, tokens)
        elif kind in (_Kind.STAR, _Kind.ALL):
            self._enter(at + 1, tokens)

    def _step(self, at: int, char: str, after: set[int]) -> None:
        """Adds the tokens at which a match can be when a character follows one."""
        match self._tokens[at].kind:
            case _Kind.CHAR:
                token = self._tokens[at]
                if char == token.char or (not token.char and self._chars[at].fullmatch(char)):
                    self._enter(at + 1, after)
            case _Kind.STAR:
                if char != "/":
                    self._enter(at, after)
            case _Kind.DIRECTORIES:
                after.add(at)
                if char == "/":
                    self._enter(at + 1, after)
            case _Kind.ALL:
                self._enter(at, after)


def parse_ignore_pattern(text: str) -> IgnorePattern:
    """Returns the pattern that a text means.

    Raises:
        FormatError: a set of characters is wrong, or nothing follows a `\\`.
    """
    if len(text) > MAX_PATTERN:
        raise FormatError(f"a pattern has {len(text)} characters, more than {MAX_PATTERN}")
    tokens = tuple(_tokens(text))
    rest = text.removeprefix("**")
    has_suffix = rest != text and rest not in ("", "/") and not re.search(r"[\\*?\[\]]", rest)
    return IgnorePattern(tokens, rest if has_suffix else None)


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        if text.startswith("**", at):
            at += 2
            at += text.startswith("/", at)
            if at == len(text):
                yield from _ALL
                return
            # Several of them in a row mean what one means.
            while text.startswith("**/", at):
                at += 3
            yield from _MAYBE_DIRECTORIES
            continue
        char = text[at]
        if char == "*":
            yield from _STAR
        elif char == "?":
            yield _Token(_Kind.CHAR, "[^/]")
        elif char == "[":
            expression, at = _set(text, at)
            yield _Token(_Kind.CHAR, expression)
            continue
        else:
            char, at = _char(text, at)
            yield _Token(_Kind.CHAR, re.escape(char), char)
            continue
        at += 1


def _char(text: str, at: int) -> tuple[str, int]:
    """Returns the character at a position, which may be escaped, and the position behind it."""
    at += text.startswith("\\", at)
    if at >= len(text):
        raise FormatError(f"{text!r} has nothing after its last '\\'; a path is written with /")
    return text[at], at + 1


def _set(text: str, at: int) -> tuple[str, int]:
    """Returns the regular expression of `[…]` at a position, and the position behind it."""
    begin = at
    at += 1
    inverted = text.startswith("^", at)
    at += inverted
    ranges: list[str] = []
    while not (ranges and text.startswith("]", at)):
        if at >= len(text) or text[at] in "]-":
            raise FormatError(
                f"{text[begin:]!r} is no set of characters: write [abc], [a-z] or [^a-z], '\\' before ] and -"
            )
        first, at = _char(text, at)
        last = first
        if text.startswith("-", at):
            if at + 1 >= len(text) or text[at + 1] in "]-":
                raise FormatError(f"{text[begin:]!r} has a range without an end: write [a-z], or '\\' before -")
            last, at = _char(text, at + 1)
        if last < first:
            raise FormatError(f"{text[begin:]!r} has the range {first}-{last}, which is empty")
        ranges.append(f"{re.escape(first)}-{re.escape(last)}")
    return f"[{'^' if inverted else ''}{''.join(ranges)}]", at + 1
