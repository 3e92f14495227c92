"""Searches contents in parts: lines of text in any encoding that Windows writes, and binary contents as a whole."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from wclayer.search.pattern import Matcher

LONGEST_LINE = 1 << 20
"""Bytes of a line that are held. A longer one is searched in parts: the first one that has the pattern stands for it,
and `^` and `$` also hold where it is cut."""
HEAD = 4096
"""Bytes at the beginning of contents that tell how they are encoded."""
_BINARY = ""
_UTF_8, _UTF_16_LE, _UTF_16_BE = "utf-8", "utf-16-le", "utf-16-be"
_NEVER_IN_TEXT = re.compile("[\0-\6\x0e-\x1a\x1c-\x1f]")
"""Control characters that text does not have. ESC and what moves the cursor are in text of terminals."""
_BOMS = ((codecs.BOM_UTF8, _UTF_8), (codecs.BOM_UTF16_LE, _UTF_16_LE), (codecs.BOM_UTF16_BE, _UTF_16_BE))


@dataclass(frozen=True, slots=True)
class ContentMatch:
    """A line that has the pattern, or binary contents that have it.

    Attributes:
        line: the number of the line, from 1; None for binary contents.
        text: the line without its end; "" for binary contents. A byte that is no UTF-8 is a surrogate, U+DC80 to
            U+DCFF. Of a line of more than 1 MiB, it is a part.
        encoding: `utf-8` also stands for other encodings that contain ASCII; "" for binary contents.
    """

    line: int | None
    text: str
    encoding: str


def encoding_of(head: bytes) -> str:
    """Returns how text is encoded: `utf-8` (or another encoding that contains ASCII), `utf-16-le` or `utf-16-be`; ""
    for binary contents.

    Args:
        head: the first bytes of the contents, an even number of them if there are more.
    """
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return _BINARY
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    if b"\0" not in head:
        return _UTF_8
    if len(head) % 2:
        return _BINARY
    # Text of Windows without a byte order mark: every other byte is zero, but for characters beyond Latin-1.
    even, odd = head[::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    guess = _BINARY
    if odd and not even and 2 * odd >= half:
        guess = _UTF_16_LE
    elif even and not odd and 2 * even >= half:
        guess = _UTF_16_BE
    # Small numbers of 16 bits look the same, but for what they are as characters.
    return "" if guess and _NEVER_IN_TEXT.search(head.decode(guess, "replace")) else guess


def search_contents(pieces: Iterable[bytes], matcher: Matcher) -> Iterator[ContentMatch]:
    """Yields the lines of some contents that have a pattern; for binary contents, one match.

    Contents are held in parts, whatever their size and the length of their lines.

    Args:
        pieces: the contents, in pieces that fit into memory.
        matcher: the pattern.
    """
    source = iter(pieces)
    first = next(source, b"")
    while len(first) < HEAD and (more := next(source, None)) is not None:
        first += more
    encoding = encoding_of(first[:HEAD])
    whole = chain([first], source)
    if encoding == _BINARY:
        yield from _in_binary(whole, matcher)
    elif encoding == _UTF_8:
        yield from _in_lines(chain([first.removeprefix(codecs.BOM_UTF8)], source), matcher, encoding)
    else:
        text = _Utf16(whole, encoding, matcher.overlap)
        yield from _in_lines(text.as_utf_8(), matcher, encoding)
        yield from _in_binary(text.binary(), matcher)


class _Utf16:
    """Contents that begin as UTF-16: the text, and from the first U+0000 on what is no text after all.

    Args:
        pieces: the contents.
        encoding: `utf-16-le` or `utf-16-be`.
        overlap: how many bytes of the text before the first U+0000 also belong to what is no text.
    """

    def __init__(self, pieces: Iterator[bytes], encoding: str, overlap: int) -> None:
        self._pieces = pieces
        self._encoding = encoding
        self._overlap = overlap
        self._binary = b""

    def as_utf_8(self) -> Iterator[bytes]:
        """Yields the text as UTF-8; lone surrogates stand for themselves, half a character at the end for its byte."""
        decoder = codecs.getincrementaldecoder(self._encoding)("surrogatepass")
        before, is_first = b"", True
        for piece in self._pieces:
            text = decoder.decode(piece)
            if "\0" in text:
                self._binary = before + piece
                return
            before = (before + piece)[-self._overlap :] if self._overlap else b""
            if text and is_first:
                text, is_first = text.removeprefix("\ufeff"), False
            yield text.encode(_UTF_8, "surrogatepass")
        # A high surrogate waits for a low one.
        rest = decoder.getstate()[0]
        whole = len(rest) & ~1
        yield rest[:whole].decode(self._encoding, "surrogatepass").encode(_UTF_8, "surrogatepass") + rest[whole:]

    def binary(self) -> Iterator[bytes]:
        """Yields what is no text, once the text has been taken."""
        if self._binary:
            yield self._binary
            yield from self._pieces


def _in_lines(pieces: Iterator[bytes], matcher: Matcher, encoding: str) -> Iterator[ContentMatch]:
    number, rest, is_told = 1, b"", False
    for piece in pieces:
        data = rest + piece
        if encoding == _UTF_8 and b"\0" in piece:
            # It is no text after all.
            yield from _in_binary(chain([data], pieces), matcher)
            return
        cut = data.rfind(b"\n") + 1
        if cut:
            for found, line in _matching_lines(data[:cut].replace(b"\r\n", b"\n"), matcher):
                if not (is_told and found == 0):
                    yield _match(number + found, line, encoding)
            number += data.count(b"\n", 0, cut)
            rest, is_told = data[cut:], False
        elif len(data) <= LONGEST_LINE:
            rest = data
        else:
            if not is_told and matcher.fits(data):
                is_told = True
                yield _match(number, data, encoding)
            rest = data[-matcher.overlap :] if matcher.overlap else b""
    if rest and not is_told:
        yield from (_match(number, line, encoding) for _, line in _matching_lines(rest + b"\n", matcher))


def _matching_lines(data: bytes, matcher: Matcher) -> Iterator[tuple[int, bytes]]:
    """Yields the lines that have the pattern, with their numbers from 0. Each line ends with a line feed."""
    number = counted = start = 0
    while (at := matcher.first(data, start)) >= 0 and at < len(data):
        begin, end = data.rfind(b"\n", 0, at) + 1, data.index(b"\n", at)
        line = data[begin:end]
        number += data.count(b"\n", counted, begin)
        counted = begin
        if matcher.fits(line):
            yield number, line
        start = end + 1


def _match(number: int, line: bytes, encoding: str) -> ContentMatch:
    if encoding == _UTF_8:
        return ContentMatch(number, line.decode(_UTF_8, "surrogateescape"), encoding)
    try:
        text = line.decode(_UTF_8, "surrogatepass")
    except UnicodeDecodeError:
        # A part of a long line.
        text = line.decode(_UTF_8, "replace")
    return ContentMatch(number, text, encoding)


def _in_binary(pieces: Iterable[bytes], matcher: Matcher) -> Iterator[ContentMatch]:
    rest = b""
    for piece in pieces:
        data = rest + piece
        if matcher.is_in_binary(data):
            yield ContentMatch(None, "", _BINARY)
            return
        rest = data[-matcher.overlap :] if matcher.overlap else b""
