"""The patterns of `${NAME#PATTERN}`, `${NAME%PATTERN}` and `${NAME/PATTERN/TEXT}`: `*`, `?`, and `\\` before them.

Reference: BuildKit, frontend/dockerfile/shell; POSIX Shell Command Language, 2.13, without bracket expressions. The
time is bounded by the product of the two lengths: a pattern is split at its `*`, and each part has a fixed length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from wclayer.errors import FormatError

_MAX_PATTERN = 1024
_Part = tuple[str | None, ...]
"""Characters; None is any character."""


@dataclass(frozen=True)
class ShellPattern:
    """A pattern, as the parts between its `*`."""

    parts: tuple[_Part, ...]

    @cached_property
    def _compiled(self) -> list[re.Pattern[str]]:
        return [
            re.compile("".join("." if char is None else re.escape(char) for char in part), re.DOTALL)
            for part in self.parts
        ]

    def backwards(self) -> ShellPattern:
        """Returns the pattern of the reversed texts."""
        return ShellPattern(tuple(part[::-1] for part in self.parts[::-1]))

    def prefix_end(self, text: str, *, longest: bool) -> int | None:
        """Returns where the shortest or longest prefix that matches ends; None if none matches."""
        first = self._compiled[0].match(text)
        return None if first is None else self._end(text, first.end(), longest=longest)

    def search(self, text: str, start: int) -> tuple[int, int] | None:
        """Returns the first and longest match at or after a position; None if there is none."""
        first = self._compiled[0].search(text, start)
        if first is None:
            return None
        # If the later parts do not fit after the first place of the first part, they fit after no other.
        end = self._end(text, first.end(), longest=True)
        return None if end is None else (first.start(), end)

    def _end(self, text: str, at: int, *, longest: bool) -> int | None:
        """Returns the end of the match whose first part ends at a position."""
        if len(self.parts) == 1:
            return at
        for part in self._compiled[1:-1]:
            found = part.search(text, at)
            if found is None:
                return None
            at = found.end()
        if not longest:
            found = self._compiled[-1].search(text, at)
            return None if found is None else found.end()
        length = len(self.parts[-1])
        ends = (end for end in range(len(text), at + length - 1, -1) if self._compiled[-1].match(text, end - length))
        return next(ends, None)


def parse_pattern(text: str) -> ShellPattern:
    """Returns the pattern that a text means.

    Raises:
        FormatError: a `\\` is before a character that it does not escape, or the pattern is too long.
    """
    if len(text) > _MAX_PATTERN:
        raise FormatError(f"a pattern has {len(text)} characters, more than {_MAX_PATTERN}")
    parts: list[list[str | None]] = [[]]
    chars = iter(text)
    for char in chars:
        if char == "*":
            parts.append([])
        elif char == "?":
            parts[-1].append(None)
        elif char == "\\":
            escaped = next(chars, "")
            if escaped not in ("*", "?", "\\", "}", "/"):
                raise FormatError(f"{text!r} is not a pattern: '\\' is before {escaped!r}; it escapes * ? \\ }} / only")
            parts[-1].append(escaped)
        else:
            parts[-1].append(char)
    return ShellPattern(tuple(map(tuple, parts)))


def without_prefix(text: str, pattern: str, *, longest: bool) -> str:
    """Returns a text without its shortest or longest prefix that matches."""
    return text[parse_pattern(pattern).prefix_end(text, longest=longest) or 0 :]


def without_suffix(text: str, pattern: str, *, longest: bool) -> str:
    """Returns a text without its shortest or longest suffix that matches."""
    length = parse_pattern(pattern).backwards().prefix_end(text[::-1], longest=longest) or 0
    return text[: len(text) - length]


def too_long(most: int) -> FormatError:
    """Returns the error of words that grow over a number of characters."""
    return FormatError(f"the words grow to more than {most} characters when variables are replaced")


def replaced(text: str, pattern: str, new: str, *, every: bool, most: int) -> str:
    """Returns a text in which the first match, or every match, is replaced by another text.

    Raises:
        FormatError: it is not a pattern, or the result has more than `most` characters.
    """
    compiled = parse_pattern(pattern)
    pieces: list[str] = []
    kept = start = 0
    left = most - len(text)
    while (found := compiled.search(text, start)) is not None:
        begin, end = found
        pieces += [text[kept:begin], new]
        left -= len(new)
        if left < 0:
            raise too_long(most)
        kept = end
        # After an empty match the search goes on behind the next character, which stays.
        start = end if end > begin else end + 1
        if not every or start > len(text):
            break
    return "".join([*pieces, text[kept:]])
