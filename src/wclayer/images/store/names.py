"""`Names`: the names of the images in a store, and the manifest or index that each one means."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wclayer.errors import CorruptLayerError, FormatError, LayerError, PathNotFoundError, detail_of
from wclayer.images.descriptor import INDEX_TYPES, MANIFEST_TYPES, Descriptor, check_digest
from wclayer.images.reference import parse_reference
from wclayer.images.store.database import opened
from wclayer.images.store.folder import StoreFolder

_MAX_SIZE = (1 << 63) - 1
_SELECT = "SELECT name, media_type, digest, size, tagged FROM names ORDER BY name"
_PUT = "INSERT OR REPLACE INTO names (name, media_type, digest, size, tagged) VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Name:
    """A name in a store.

    Attributes:
        text: the name in familiar form ("localhost:5000/app:1"); the digest itself for an image that is kept without a
            name.
        descriptor: the manifest or the index that it means.
        tagged: when it got this meaning, in seconds since 1970.
    """

    text: str
    descriptor: Descriptor
    tagged: int


class Names:
    """The names in the database of a store. Each call is one transaction.

    Args:
        folder: the folder of the store.
    """

    def __init__(self, folder: StoreFolder) -> None:
        self._folder = folder

    def all(self) -> list[Name]:
        """Returns all names, sorted by their text; an empty list if there is no store.

        Raises:
            CorruptLayerError: the database, or a row in it, is damaged.
            NotSupportedError: a newer wclayer made the store.
        """
        if not self._folder.exists:
            return []
        with opened(self._folder) as ask:
            return [self._checked(row) for row in ask(_SELECT)]

    def put(self, text: str, descriptor: Descriptor) -> None:
        """Gives a name a meaning, which is safe on the disk afterwards.

        Args:
            text: the name in familiar form, or the digest of the descriptor.
            descriptor: the manifest or the index, which is in the store.
        """
        self._folder.make()
        row = (text, descriptor.media_type, descriptor.digest, descriptor.size, int(time.time()))
        self._checked(row)
        with opened(self._folder, writes=True) as ask:
            ask(_PUT, row)

    def remove(self, text: str) -> None:
        """Removes a name. What it means stays in the store until it is pruned.

        Raises:
            PathNotFoundError: the name is not in the store.
        """
        with opened(self._folder, writes=True) as ask:
            if not ask("DELETE FROM names WHERE name = ? RETURNING name", (text,)).fetchall():
                raise PathNotFoundError(text, f"is not in the store {self._folder.path}")

    def _checked(self, row: Sequence[Any]) -> Name:
        """Returns the name of a row whose values are possible."""
        text, media_type, digest, size, tagged = row
        try:
            if not isinstance(text, str) or not isinstance(media_type, str) or not isinstance(digest, str):
                raise FormatError("a value is not text")
            check_digest(digest, "digest")
            if media_type not in INDEX_TYPES | MANIFEST_TYPES:
                raise FormatError(f"media_type: {media_type[:80]!r} is neither a manifest nor an index")
            if not isinstance(size, int) or not 0 <= size <= _MAX_SIZE:
                raise FormatError(f"size: {str(size)[:30]}")
            if not isinstance(tagged, int):
                raise FormatError(f"tagged: {str(tagged)[:30]}")
            if text != digest and str(parse_reference(text)) != text:
                raise FormatError("it is not the name of an image in familiar form")
        except (FormatError, LayerError) as error:
            raise CorruptLayerError(self._folder.database, f"name {str(text)[:80]!r}: {detail_of(error)}") from None
        return Name(text, Descriptor(media_type, digest, size), tagged)
