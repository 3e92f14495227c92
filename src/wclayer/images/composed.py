"""`ComposedSource`: an image or index of new documents over the blobs of other sources, to be copied like any other."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import BinaryIO, Self

from wclayer.errors import PathNotFoundError
from wclayer.images.descriptor import Descriptor
from wclayer.images.manifest import Index, Manifest, parse_manifest
from wclayer.images.transport import ImageSource


class ComposedSource:
    """An `ImageSource` of documents in memory. What they refer to is read from other sources.

    Args:
        root: the manifest or the index.
        sources: the other sources, which stay open. A blob is read from the one that had the manifest that lists it.
        blobs: the contents of new blobs.
        owners: the sources that have blobs of a manifest, by digest; by default the first source has them.
    """

    def __init__(
        self,
        root: Manifest | Index,
        sources: Sequence[ImageSource],
        blobs: Iterable[bytes] = (),
        owners: Mapping[str, ImageSource] | None = None,
    ) -> None:
        self._root = root
        self._sources = sources
        self._owners: dict[str, ImageSource] = {}
        self._lock = threading.Lock()
        new = {Descriptor.of(data, "").digest: data for data in blobs}
        self._own = new | {root.descriptor.digest: root.data}
        if isinstance(root, Manifest):
            self._remember(root, sources[0])
        self._owners.update(owners or {})

    @property
    def name(self) -> str:
        """The names of the other sources."""
        return ", ".join(source.name for source in self._sources)

    def resolve(self) -> Descriptor:
        """Returns the descriptor of the new manifest or index."""
        return self._root.descriptor

    def manifest(self, descriptor: Descriptor) -> bytes:
        """See `ImageSource`."""
        if descriptor.digest in self._own:
            return self._own[descriptor.digest]
        for source in self._sources_of(descriptor):
            try:
                data = source.manifest(descriptor)
            except PathNotFoundError:
                continue
            self._remember(parse_manifest(data, descriptor.media_type), source)
            return data
        raise PathNotFoundError(self.name, f"no source has the manifest {descriptor.digest}")

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        """See `ImageSource`."""
        if descriptor.digest in self._own:
            return io.BytesIO(self._own[descriptor.digest][offset:])
        return self._sources_of(descriptor)[0].open_blob(descriptor, offset)

    def origin(self, descriptor: Descriptor) -> ImageSource:
        """Returns the source that has a blob, from which a target may take a shorter way; this one for a new blob."""
        return self if descriptor.digest in self._own else origin_of(self._sources_of(descriptor)[0], descriptor)

    def referrers(self, descriptor: Descriptor) -> list[Descriptor]:
        """See `ImageSource`. Nothing refers to the new documents yet."""
        return [] if descriptor.digest in self._own else self._sources_of(descriptor)[0].referrers(descriptor)

    def close(self) -> None:
        """Leaves the other sources open: they belong to the caller."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _sources_of(self, descriptor: Descriptor) -> Sequence[ImageSource]:
        with self._lock:
            owner = self._owners.get(descriptor.digest)
        return self._sources if owner is None else [owner]

    def _remember(self, item: Manifest | Index, source: ImageSource) -> None:
        """Records which source has what a manifest or an index refers to."""
        below = item.manifests if isinstance(item, Index) else (item.config, *item.layers)
        with self._lock:
            self._owners.update((descriptor.digest, source) for descriptor in (item.descriptor, *below))


def origin_of(source: ImageSource, descriptor: Descriptor) -> ImageSource:
    """Returns the source that has a blob: of a composed source, the one below it."""
    return source.origin(descriptor) if isinstance(source, ComposedSource) else source
