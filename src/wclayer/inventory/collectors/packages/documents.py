"""The documents in which packages describe themselves: headers as of mails, and JSON. Their sizes are bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from wclayer.errors import FormatError, FormatLimitError
from wclayer.images.json_view import nesting
from wclayer.inventory.collectors.text import kept_text
from wclayer.inventory.subject.readings import read_whole

MAX_JSON = 4 << 20
"""The size of a JSON document in bytes up to which it is read."""
_DEPTH = 64
_HEADERS = 256 << 10
"""Bytes in which the headers of a document are. The text after them may be longer."""


def read_headers(opened: BinaryIO) -> dict[str, str]:
    """Returns the headers at the start of a file, as `parse_headers` does. Of a longer file, only the start is read."""
    return parse_headers(opened.read(_HEADERS))


def parse_headers(data: bytes, *, folds_words: bool = False) -> dict[str, str]:
    """Returns the headers at the start of a text by their names in lower case: of each name the first one.

    A line that starts with white space continues the header before it. An empty line ends the headers.

    Args:
        data: the text.
        folds_words: a line may end inside of a word, as in manifests of Java: one space at the start of the next line
            belongs to neither.
    """
    found: dict[str, str] = {}
    for line in _unfolded(data.decode("utf-8-sig", "replace"), 1 if folds_words else 0):
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), kept_text(value))
    return found


def parse_properties(data: bytes) -> dict[str, str]:
    """Returns the pairs of a file of properties of Java as programs write them: a line has a name, `=`, and a value."""
    found: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith(("#", "!")):
            found[name.strip()] = kept_text(value)
    return found


def _unfolded(text: str, dropped: int) -> Iterator[str]:
    """Yields the lines before the first empty one, each with those that continue it, without their first characters."""
    pieces: list[str] = []
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        if pieces and line[:1] in (" ", "\t"):
            pieces.append(line[dropped:])
            continue
        yield "".join(pieces)
        pieces = [line]
        if not line:
            return
    yield "".join(pieces)


def read_json(opened: BinaryIO, size: int) -> Mapping[str, object]:
    """Returns the JSON object in a file, as `parse_json_object` does.

    Raises:
        FormatLimitError: the file is larger than 4 MiB.
    """
    return parse_json_object(read_whole(opened, size, MAX_JSON))


def parse_json_object(data: bytes) -> Mapping[str, object]:
    """Returns the JSON object in a text. Of a key that occurs twice, the last value counts, as for JavaScript.

    Raises:
        FormatError: it is not JSON, or not an object.
        FormatLimitError: its objects and lists are nested more than 64 deep.
    """
    try:
        text = data.decode("utf-8-sig")
        # Before the text is parsed: the parser calls itself for each level.
        if nesting(text) > _DEPTH:
            raise FormatLimitError(f"its objects and lists are nested more than {_DEPTH} deep")
        record: object = json.loads(text)
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f"is not JSON: {error}") from None
    return as_object(record, "it")


def as_object(value: object, what: str) -> Mapping[str, object]:
    """Returns a JSON value that must be an object.

    Raises:
        FormatError: it is something else.
    """
    if not isinstance(value, dict):
        raise FormatError(f"{what} is not a JSON object")
    return value


def text_of(record: Mapping[str, object], key: str) -> str:
    """Returns a text of a JSON object; "" if there is none under the key, or something else."""
    value = record.get(key)
    return kept_text(value) if isinstance(value, str) else ""
