"""Targets: contents in which text is searched for."""

from __future__ import annotations

from fuzz.target import Target
from wclayer.errors import InvalidParameterError, NotSupportedError
from wclayer.search.contents import search_contents
from wclayer.search.pattern import ContentPattern, make_matcher

_END = b"\0\0\0"
_PIECE = 5


def _contents(data: bytes) -> None:
    """A fixed text is found in the same lines, in whatever pieces the contents come."""
    text, _, contents = data.partition(_END)
    _search(
        ContentPattern(text.decode("utf-8", "surrogateescape"), is_fixed=True, ignore_case=text[:1] == b"a"), contents
    )


def _expression(data: bytes) -> None:
    """An expression is refused, or finds the same lines."""
    text, _, contents = data.partition(_END)
    _search(ContentPattern(text.decode("utf-8", "surrogateescape")), contents)


def _search(pattern: ContentPattern, contents: bytes) -> None:
    matcher = make_matcher(pattern)
    whole = list(search_contents([contents], matcher))
    pieces = (contents[at : at + _PIECE] for at in range(0, len(contents), _PIECE))
    parts = list(search_contents(pieces, matcher))
    if b"\0" not in contents:
        assert whole == parts


TARGETS = {
    "contents": Target(
        _contents,
        lambda: [
            b"ab" + _END + "\ufeffx\r\naBab\r\n".encode("utf-16-le"),
            b"b" + _END + b"MZ\0\0\0b\0", b"b" + _END + b"a\nb",
        ],
        max_size=512,
    ),
    "contents_expression": Target(
        _expression, lambda: [b"^a+(b|c)$" + _END + b"aab\r\nx\nac\n", rb"\Ab\d" + _END + b"b1\n\n"],
        (InvalidParameterError, NotSupportedError), words=(b"(?i)", b"[^", b"\\b", b"{2,", b"|", b"\n"), max_size=512,
    ),
}  # fmt: skip
