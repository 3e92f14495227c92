"""`LayoutArchiveTarget`: an OCI image layout in a tar (`oci-archive`)."""

from __future__ import annotations

import os
from collections.abc import Iterable

from wclayer._types import StrPath
from wclayer.errors import boundary
from wclayer.images.archive.target import ArchiveTarget
from wclayer.images.descriptor import Descriptor
from wclayer.images.layout.entries import MARKER, checked_tag, entry_of, new_index, referrer_entries
from wclayer.images.layout_names import INDEX_FILE, MARKER_FILE
from wclayer.images.manifest import Manifest


@boundary
class LayoutArchiveTarget(ArchiveTarget):
    """A tar of an OCI image layout with one image, or an index of several. The same image gives the same bytes.

    Args:
        path: the file. An existing one is replaced when everything is there.
        tag: the name of the image in the layout; None for none.
        name: what the user calls the target (default: "oci-archive:PATH:TAG").
        sources: files and folders that are read for it, and must not be replaced.

    Raises:
        PathNotFoundError, AccessDeniedError, DiskFullError, …: the host refuses to make the file.
        InvalidParameterError: the file is one of the sources, or `tag` cannot be the name of an image in a layout.
    """

    def __init__(
        self, path: StrPath, tag: str | None = None, *, name: str | None = None, sources: Iterable[StrPath] = ()
    ) -> None:
        self._tag = checked_tag(tag, path)
        super().__init__(path, name or f"oci-archive:{os.fspath(path)}{f':{self._tag}' if self._tag else ''}", sources)

    def _checked_tag(self, tag: str) -> str:
        return checked_tag(tag, self.name)

    def _documents(self, root: Descriptor) -> dict[str, bytes]:
        items = [item for item in self._reached(root) if isinstance(item, Manifest)]
        roots = [*self._further, (self._tag, root)]
        entries = [*(entry_of(each, tag) for tag, each in roots), *referrer_entries(items)]
        return {MARKER_FILE: MARKER, INDEX_FILE: new_index(entries)}
