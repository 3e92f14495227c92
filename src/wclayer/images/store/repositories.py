"""`Repositories`: from which repository of a registry the blobs of a store came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wclayer.errors import CorruptLayerError, FormatError, LayerError, detail_of
from wclayer.images.descriptor import check_digest
from wclayer.images.reference import parse_reference
from wclayer.images.store.database import opened
from wclayer.images.store.folder import StoreFolder
from wclayer.images.transport import Repository

_MOST = 100
"""How many registries of a blob are read."""
_SELECT = "SELECT digest, host, repository FROM repositories"
_PUT = "INSERT OR REPLACE INTO repositories (digest, host, repository) VALUES (?, ?, ?)"


class Repositories:
    """The repositories of blobs, in the database of a store. Each call is one transaction.

    Of each registry, the repository is known from which the blob came last. It is a hint: the registry may not have the
    blob any more.

    Args:
        folder: the folder of the store.
    """

    def __init__(self, folder: StoreFolder) -> None:
        self._folder = folder

    def of(self, digest: str) -> list[Repository]:
        """Returns the repositories that have a blob; an empty list if none is known.

        Raises:
            CorruptLayerError: the database, or a row in it, is damaged.
        """
        if not self._folder.exists:
            return []
        with opened(self._folder) as ask:
            if ask.version < 2:
                return []
            rows = ask(f"{_SELECT} WHERE digest = ? ORDER BY host LIMIT {_MOST}", (digest,)).fetchall()
        return [self._checked(row)[1] for row in rows]

    def put(self, found: Mapping[str, Iterable[Repository]]) -> None:
        """Records the repositories that have blobs.

        Args:
            found: the repositories by the digest of the blob.
        """
        rows = {(digest, each.host, each.name) for digest, several in found.items() for each in several}
        if not rows:
            return
        for row in rows:
            self._checked(row)
        with opened(self._folder) as ask:
            known = set(ask(_SELECT)) if ask.version >= 2 else set()
        if rows <= known:
            return
        with opened(self._folder, writes=True) as ask, ask.transaction():
            ask.upgrade()
            for row in sorted(rows - known):
                ask(_PUT, row)

    def forget_missing(self) -> None:
        """Removes what is known of blobs that are not in the store any more."""
        with opened(self._folder) as ask:
            digests = {str(digest) for digest, _, _ in ask(_SELECT)} if ask.version >= 2 else set()
        gone = [digest for digest in sorted(digests) if self._is_missing(digest)]
        if gone:
            with opened(self._folder, writes=True) as ask, ask.transaction():
                for digest in gone:
                    ask("DELETE FROM repositories WHERE digest = ?", (digest,))

    def _is_missing(self, digest: str) -> bool:
        try:
            return self._folder.blob_size(digest) is None
        except LayerError:
            # It is not the digest of a blob, or something else lies at its place.
            return True

    def _checked(self, row: Sequence[Any]) -> tuple[str, Repository]:
        """Returns the digest and the repository of a row whose values are possible."""
        digest, host, name = row
        try:
            if not all(isinstance(value, str) for value in row):
                raise FormatError("a value is not text")
            check_digest(digest, "digest")
            reference = parse_reference(f"{host}/{name}:x")
            if (reference.registry, reference.repository) != (host, name):
                raise FormatError(f"{str(host)[:80]!r} is not the host of a registry")
        except (FormatError, LayerError) as error:
            raise CorruptLayerError(
                self._folder.database, f"the repository of {str(digest)[:80]!r}: {detail_of(error)}"
            ) from None
        return digest, Repository(host, name)
