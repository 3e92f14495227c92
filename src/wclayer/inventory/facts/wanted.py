"""What the facts of a layer keep of a file's contents: by its path and size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

Want = str
NOTHING: Want = ""
CONTENTS: Want = "contents"
_MAX_CONTENTS = 4 << 20
_SUFFIXES = (".JSON", "/METADATA", ".NUSPEC", ".XML", ".MUM")

READERS: Mapping[str, Callable[[BinaryIO, int], Mapping[str, Any]]] = {}
"""What reads a file, by its name: given the open file and its size, it returns what it found as a JSON object."""


def wanted(path_key: str, size: int) -> Want:
    """Returns what is kept of the file at a path of a layer: nothing, its contents, or what a reader finds in it.

    Args:
        path_key: the path key of the entry (`FILES/A/B.JSON`).
        size: the bytes of its main data stream.
    """
    return CONTENTS if size <= _MAX_CONTENTS and path_key.endswith(_SUFFIXES) else NOTHING
