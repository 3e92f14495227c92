"""The media types of files about images (SBOMs, reports, statements), told from their contents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

_PIECE = 1 << 20
_LONGEST_STRING = 1 << 20
"""A string of JSON that is longer has nothing to say about the type; what follows it is not read."""
_HEAD = 4 << 10
_DEPTH = 2
# A string, which may not be there to its end yet, or a mark that tells names from values.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?P<end>")?|[\[\]{},]', re.DOTALL)

_JSON_TYPES = (
    ("bomFormat", "CycloneDX", "application/vnd.cyclonedx+json"),
    ("spdxVersion", "SPDX-", "application/spdx+json"),
    ("@context", "https://spdx.org/rdf/3.", "application/spdx+json"),
    ("_type", "https://in-toto.io/Statement/", "application/vnd.in-toto+json"),
    ("payloadType", "application/", "application/vnd.dsse.envelope.v1+json"),
    ("@context", "https://openvex.dev/ns", "application/vnd.openvex+json"),
    ("document/csaf_version", "2.", "application/csaf+json"),
    ("$schema", "https://json.schemastore.org/sarif", "application/sarif+json"),
    ("$schema", "https://docs.oasis-open.org/sarif", "application/sarif+json"),
    ("$schema", "https://raw.githubusercontent.com/oasis-tcs/sarif", "application/sarif+json"),
)
"""The name of a member, the beginning of its value, and the type of a document that has it."""
_HEAD_TYPES = (
    (re.compile(rb"\s*<.*http://cyclonedx\.org/schema/bom/", re.DOTALL), "application/vnd.cyclonedx+xml"),
    (re.compile(rb"(?:[^\n]*\n)*SPDXVersion: SPDX-"), "text/spdx"),
)


def media_type_of(stream: BinaryIO) -> str:
    """Returns the media type of a document, from its contents; "" if it is of no known kind.

    Known are CycloneDX and SPDX, statements of in-toto and their envelopes, CSAF, OpenVEX and SARIF. The document is
    read as far as that takes, and never held in memory.

    Args:
        stream: the document, at its beginning.
    """
    head = stream.read(_HEAD)
    for pattern, media_type in _HEAD_TYPES:
        if pattern.match(head.removeprefix(b"\xef\xbb\xbf")):
            return media_type
    for name, value in _members(_tokens(head, stream)):
        for wanted, beginning, media_type in _JSON_TYPES:
            if name == wanted and value.startswith(beginning):
                return media_type
    return ""


def _tokens(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
    """Yields the strings, brackets and commas of a JSON text."""
    rest = head
    while True:
        begun = b""
        for found in _TOKEN.finditer(rest):
            if found[0][:1] == b'"' and found["end"] is None:
                begun = rest[found.start() :]
                break
            yield found[0]
        rest = begun
        piece = stream.read(_PIECE)
        if not piece or len(rest) > _LONGEST_STRING:
            return
        rest += piece


def _members(tokens: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    """Yields the names and values of the strings in an object, and in the objects that are its members
    ("document/csaf_version")."""
    names = [""] * (_DEPTH + 1)
    are_objects = [False] * (_DEPTH + 1)
    depth = 0
    is_name = False
    for token in tokens:
        if token in b"[{":
            depth += 1
            is_name = token == b"{"
            if depth <= _DEPTH:
                are_objects[depth] = is_name
        elif token in b"]}":
            depth -= 1
            if depth < 1:
                return
            is_name = False
        elif not 1 <= depth <= _DEPTH or not all(are_objects[1 : depth + 1]):
            continue
        elif token == b",":
            is_name = True
        elif is_name:
            names[depth] = _text(token)
            is_name = False
        else:
            yield "/".join(names[1 : depth + 1]), _text(token)


def _text(token: bytes) -> str:
    """Returns the text of a string, in which only the escaped solidus of an address is resolved."""
    return token[1:-1].decode("utf-8", "replace").replace("\\/", "/")
