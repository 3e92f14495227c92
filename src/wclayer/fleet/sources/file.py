"""`list_file`: the references in a file, one in each line."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from wclayer.errors import FormatError, FormatLimitError, LayerError, errors_at, limit_hint
from wclayer.fleet.model import Listed
from wclayer.fleet.sources.filters import Filters
from wclayer.fleet.sources.locations import listed_at
from wclayer.layers.inputs import is_standard_input, open_stream
from wclayer.model import limits_in_use

_MAX_FILE = 64 << 20
_SHOWN = 200


def list_file(path: str, filters: Filters) -> Iterator[Listed]:
    """Yields the references in a file, each once. A line that is none is told by an item with an error.

    Empty lines and those that begin with `#` are left out, and so is a `#` after a space with what follows it. The text
    is UTF-8, or UTF-16 with its mark, as PowerShell writes it.

    Args:
        path: the file; "-" for the standard input.
        filters: which references are meant.

    Raises:
        InvalidDataError: the file is not text, or has more than 64 MiB.
        LimitExceededError: it has more lines than the limit `archive_members`.
        PathNotFoundError, AccessDeniedError, …: it cannot be read.
    """
    name = "standard input" if is_standard_input(path) else path
    with errors_at(name):
        with open_stream(path) as stream:
            data = stream.read(_MAX_FILE + 1)
        lines = _lines(data)
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        text = line.partition(" #")[0].strip()
        if not text or text.startswith("#"):
            continue
        try:
            item = listed_at(text)
        except LayerError as error:
            place = f"{name}:{number}"
            yield Listed(place, place, error=f"{ascii(text)[1:-1][:_SHOWN]}: {error.detail}")
            continue
        if item.location not in seen and filters.has(item.repository, item.tag):
            seen.add(item.location)
            yield item


def _lines(data: bytes) -> list[str]:
    """Returns the lines of a text.

    Raises:
        FormatError: it is not text, or too large.
        FormatLimitError: it has too many lines.
    """
    if len(data) > _MAX_FILE:
        raise FormatError(f"a list of references has at most {_MAX_FILE} bytes")
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        lines = data.decode("utf-16" if is_utf16 else "utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"is no list of references: not text at byte {error.start}") from None
    if len(lines) > (most := limits_in_use().archive_members):
        raise FormatLimitError(f"more than {most} lines {limit_hint('archive_members')}")
    return lines
