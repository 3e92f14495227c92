"""What is searched for in contents: `ContentPattern`, a fixed text or a regular expression, in time that is linear in
what is searched.

Python's `re` tries again and again: a short expression such as `(a*)*b` needs longer than anybody waits for a line of
30 letters, and no thread can stop it. So expressions are left to RE2, which goes once through a text whatever the
expression is, and lacks what cannot be done so (backreferences, lookaround). Fixed texts need no RE2.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wclayer.errors import InvalidParameterError, NotSupportedError

_EXTRA = "a regular expression needs RE2; `pip install 'wclayer[grep]'` installs it, and -F searches for a fixed text"
_QUOTED = re.compile(r"\\Q.*?(?:\\E|(\Z))|\\.", re.DOTALL)
"""A part of an expression that stands for itself, with a group if its end is that of the expression; or an escape."""
_ESCAPED = re.compile(r"\\([^A-Za-z0-9])|[\\.^$*+?{}()|\[\]]", re.DOTALL)
_MEMORY = 64 << 20
"""Bytes that RE2 may use for one expression."""
_OVERLAP = 64 << 10
"""How long a match may be to be found where contents are cut: in lines that are too long, and in binary files."""


@dataclass(frozen=True, slots=True)
class ContentPattern:
    """What is searched for in contents.

    Attributes:
        text: the text; several lines mean that one of them is searched for.
        is_fixed: it is no regular expression in the syntax of RE2, but stands for itself.
        ignore_case: upper and lower case are the same.
    """

    text: str
    is_fixed: bool = False
    ignore_case: bool = False


def _unescaped(text: str) -> str | None:
    """Returns the text that an expression stands for if nothing in it has a meaning of its own, otherwise None."""
    if any(found[1] is None for found in _ESCAPED.finditer(text)):
        return None
    return _ESCAPED.sub(lambda found: found[1], text)


def _closed(expression: str) -> str:
    """Returns an expression with the end of its last quoted part, which may be missing at the end of an expression."""
    is_open = any(found[1] is not None for found in _QUOTED.finditer(expression))
    return f"{expression}\\E" if is_open else expression


class Matcher(ABC):
    """Finds a pattern in contents."""

    overlap = _OVERLAP
    """How many bytes of a part of some contents have to be searched again with the next part."""

    @abstractmethod
    def first(self, data: bytes, start: int) -> int:
        """Returns where the first match at or after a place in lines of UTF-8 begins; -1 if there is none. It may be a
        match of two lines together: `fits` tells."""

    @abstractmethod
    def fits(self, line: bytes) -> bool:
        """Returns whether the pattern is in one line of UTF-8, without its end."""

    @abstractmethod
    def is_in_binary(self, data: bytes) -> bool:
        """Returns whether the pattern is in bytes, as UTF-8 or as UTF-16LE at any place."""


class _FixedMatcher(Matcher):
    """Finds fixed texts. They repeat nothing, so no contents make `re` slow."""

    def __init__(self, texts: list[str], *, ignore_case: bool) -> None:
        self._needle = _encoded(texts[0], "utf-8") if len(texts) == 1 and not ignore_case else None
        self._pattern = re.compile(_alternatives(texts, "utf-8", ignore_case=ignore_case))
        self._wide = re.compile(_alternatives(texts, "utf-16-le", ignore_case=ignore_case))
        self.overlap = 8 * max(map(len, texts))

    def first(self, data: bytes, start: int) -> int:
        if self._needle is not None:
            return data.find(self._needle, start)
        found = self._pattern.search(data, start)
        return -1 if found is None else found.start()

    def fits(self, line: bytes) -> bool:
        return self.first(line, 0) >= 0

    def is_in_binary(self, data: bytes) -> bool:
        return self.first(data, 0) >= 0 or self._wide.search(data) is not None


def _alternatives(texts: Iterable[str], encoding: str, *, ignore_case: bool) -> bytes:
    return b"|".join(b"".join(_character(each, encoding, ignore_case) for each in text) for text in texts)


def _character(character: str, encoding: str, ignore_case: bool) -> bytes:
    if not ignore_case:
        return re.escape(_encoded(character, encoding))
    cases = {character, character.upper(), character.lower()}
    return b"(?:" + b"|".join(sorted(re.escape(_encoded(each, encoding)) for each in cases)) + b")"


def _encoded(text: str, encoding: str) -> bytes:
    """Returns a text in an encoding. U+DC80 to U+DCFF are bytes that were no UTF-8, other surrogates stand for
    themselves."""
    if encoding != "utf-8":
        return text.encode(encoding, "surrogatepass")
    is_byte = ("\udc80" <= character <= "\udcff" for character in text)
    return b"".join(
        character.encode(encoding, "surrogateescape" if escaped else "surrogatepass")
        for character, escaped in zip(text, is_byte, strict=True)
    )


class _ExpressionMatcher(Matcher):
    """Finds regular expressions with RE2."""

    def __init__(self, lines: list[str], *, ignore_case: bool) -> None:
        try:
            import re2
        except ModuleNotFoundError:
            raise NotSupportedError("\n".join(lines), _EXTRA) from None
        options = re2.Options()
        options.case_sensitive = not ignore_case
        options.log_errors = False
        # A match over many lines is none, and would be looked for again from each of them.
        options.never_nl = True
        options.max_mem = _MEMORY
        try:
            for line in lines:
                # Alone, because a bracket of one line must not end in another one.
                re2.compile(_encoded(line, "utf-8"), options=options)
            joined = "|".join(f"(?:{_closed(line)})" for line in lines)
            self._pattern: Any = re2.compile(_encoded(f"(?m:{joined})", "utf-8"), options=options)
        except re2.error as error:
            raise InvalidParameterError("\n".join(lines), f"is no regular expression of RE2: {_text(error)}") from None
        # Such an expression means the beginning or the end of a line, not of many.
        self._needs_lines = re.search(r"\\[AzZ]|\(\?[a-z]*-", joined) is not None

    def first(self, data: bytes, start: int) -> int:
        if self._needs_lines:
            return self._first_line(data, start)
        found = self._pattern.search(data, start)
        return -1 if found is None else int(found.start())

    def _first_line(self, data: bytes, start: int) -> int:
        while start < len(data):
            end = data.find(b"\n", start)
            end = len(data) if end < 0 else end
            if self.fits(data[start:end]):
                return start
            start = end + 1
        return -1

    def fits(self, line: bytes) -> bool:
        return self._pattern.search(line) is not None

    def is_in_binary(self, data: bytes) -> bool:
        if self.first(data, 0) >= 0:
            return True
        wide = (data[shift:].decode("utf-16-le", "replace").encode() for shift in (0, 1))
        return any(self.first(text, 0) >= 0 for text in wide)


def make_matcher(pattern: ContentPattern) -> Matcher:
    """Returns what finds a pattern.

    Raises:
        InvalidParameterError: the expression is wrong, or too large.
        NotSupportedError: it is a regular expression, and RE2 is not installed.
    """
    lines = pattern.text.split("\n")
    fixed = lines if pattern.is_fixed else [text for line in lines if (text := _unescaped(line)) is not None]
    if len(fixed) == len(lines):
        return _FixedMatcher(fixed, ignore_case=pattern.ignore_case)
    return _ExpressionMatcher(lines, ignore_case=pattern.ignore_case)


def _text(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
