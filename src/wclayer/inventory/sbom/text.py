"""Texts, times and names as every reader of a bill of materials takes them, and how a bill is written."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO

from wclayer.images.config import LATEST, seconds_of

_SPACES = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]")
_NO_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """Returns a text on one line, with marks for control characters and for what is no character: the forms of a bill
    in XML cannot hold them, and readers of JSON do not agree about them."""
    return _NO_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", _SPACES.sub(" ", text))


def time_of(created: str, epoch: int | None) -> str:
    """Returns the time of a bill as both formats write it.

    Args:
        created: when the image was made; "" if that is unknown.
        epoch: the seconds since 1970 that are the time instead; None for none.

    Returns:
        The time in UTC; 1970 if nothing is known.
    """
    seconds = seconds_of(created) if epoch is None else min(max(epoch, 0), LATEST)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def compact(value: object) -> str:
    """Returns a JSON value on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write_named(document: Callable[[str], Iterator[str]], kind: str, digest: str, stream: BinaryIO) -> None:
    """Writes a document that has a name of its own, which is made of its contents: equal documents have equal names.

    Args:
        document: returns the pieces of the document that has a name (a UUID; "" for none yet). It is called twice, so
            that no more than a piece is in memory.
        kind: what the document is.
        digest: the digest of the image that it is about; "" for none.
        stream: where it goes.
    """
    contents = hashlib.sha256()
    for piece in document(""):
        contents.update(piece.encode())
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"wclayer:{kind}:{clean(digest)}:{contents.hexdigest()}")
    for piece in document(str(name)):
        stream.write(piece.encode())
