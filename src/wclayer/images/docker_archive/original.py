"""The manifest that an image had before it was saved: newer archives hold it in an OCI layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wclayer.errors import FormatError, FormatLimitError, limit_hint
from wclayer.images.descriptor import Descriptor
from wclayer.images.layout.files import LayoutFiles
from wclayer.images.layout.index import LayoutIndex
from wclayer.images.layout.named import names_of, reference_of
from wclayer.images.manifest import Index, Manifest, parse_manifest
from wclayer.images.reference import Reference
from wclayer.model import limits_in_use

_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class _Original:
    """A manifest in a layout.

    Attributes:
        entry: the entry of `index.json` in which it was found: the manifest itself, or an index.
        manifest: the manifest.
    """

    entry: Descriptor
    manifest: Descriptor


class OriginalManifests:
    """The manifests in the layout of a docker-archive. They are read once.

    Args:
        files: the layout's files.

    Raises:
        FormatError: the layout is damaged.
        FormatLimitError: it has more manifests than the limit `archive_members`.
    """

    def __init__(self, files: LayoutFiles) -> None:
        self._files = files
        self._index = LayoutIndex(files)
        self._visits = 0
        self._complete: dict[tuple[str, bool], bool] = {}
        self._by_config: dict[str, dict[str, _Original]] = {}
        self._by_name: dict[tuple[str, Reference], _Original] = {}
        self._unnamed: dict[tuple[str, bool], Descriptor | None] = {}
        for entry in self._index.entries:
            references = [found for name in names_of(entry) if (found := reference_of(name)) is not None]
            for descriptor, manifest in self._manifests(entry, set(), 0):
                original, config = _Original(entry, descriptor), manifest.config.digest
                self._by_config.setdefault(config, {}).setdefault(entry.digest, original)
                for reference in references:
                    self._by_name.setdefault((config, reference), original)

    def of(self, config_digest: str, tags: Iterable[str], *, without_foreign: bool) -> Descriptor | None:
        """Returns the manifest of the image that has a configuration, or the index that holds this image.

        Args:
            config_digest: the digest of the configuration.
            tags: the names of the image; an entry that has one of them is preferred.
            without_foreign: True if blobs that have other addresses may be absent.

        Returns:
            The descriptor; None if there is none whose blobs are in the archive.
        """
        for tag in tags:
            reference = reference_of(tag)
            named = self._by_name.get((config_digest, reference)) if reference is not None else None
            if named is not None and (found := self._whole(named, without_foreign)) is not None:
                return found
        key = (config_digest, without_foreign)
        if key not in self._unnamed:
            tried = (self._whole(item, without_foreign) for item in self._by_config.get(config_digest, {}).values())
            self._unnamed[key] = next((found for found in tried if found is not None), None)
        return self._unnamed[key]

    def _whole(self, original: _Original, without_foreign: bool) -> Descriptor | None:
        """Returns the entry of a manifest if all of it is there, else the manifest if all of this is."""
        for descriptor in (original.entry, original.manifest):
            if self._is_complete(descriptor, without_foreign, 0):
                return descriptor
        return None

    def _manifests(self, entry: Descriptor, seen: set[str], depth: int) -> Iterator[tuple[Descriptor, Manifest]]:
        """Yields the manifests below an entry."""
        if entry.digest in seen:
            return
        seen.add(entry.digest)
        if depth > _MAX_DEPTH:
            raise FormatError(f"indexes are nested more than {_MAX_DEPTH} deep")
        self._visits += 1
        most = limits_in_use().archive_members
        if self._visits > most:
            raise FormatLimitError(f"the indexes have more than {most} entries {limit_hint('archive_members')}")
        item = self._item(entry)
        if isinstance(item, Manifest):
            yield entry, item
        elif item is not None:
            for child in item.manifests:
                yield from self._manifests(child, seen, depth + 1)

    def _item(self, descriptor: Descriptor) -> Manifest | Index | None:
        """Returns a manifest or an index; None if the archive does not hold it, or it is something else."""
        if not (descriptor.is_manifest or descriptor.is_index) or self._files.blob_size(descriptor.digest) is None:
            return None
        return parse_manifest(self._index.read(descriptor), descriptor.media_type)

    def _is_complete(self, descriptor: Descriptor, without_foreign: bool, depth: int) -> bool:
        """Returns whether everything that a manifest or an index names is in the archive."""
        key = (descriptor.digest, without_foreign)
        if key not in self._complete:
            # The answer while an index that lists itself is examined: no blob can contain its own digest.
            self._complete[key] = False
            item = self._item(descriptor) if depth <= _MAX_DEPTH else None
            if isinstance(item, Manifest):
                self._complete[key] = all(
                    self._files.blob_size(blob.digest) == blob.size
                    or (without_foreign and blob.is_foreign_layer and blob.urls != ())
                    for blob in (item.config, *item.layers)
                )
            elif item is not None:
                self._complete[key] = all(
                    self._is_complete(child, without_foreign, depth + 1) for child in item.manifests
                )
        return self._complete[key]
