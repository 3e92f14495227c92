"""`DockerArchiveTarget`: an archive that `docker load`, `podman load` and `ctr images import` read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from wclayer._types import StrPath
from wclayer.errors import NotSupportedError, boundary
from wclayer.images.archive.target import ArchiveTarget
from wclayer.images.config import parse_config
from wclayer.images.descriptor import Descriptor
from wclayer.images.docker_archive.saved import MANIFEST_FILE
from wclayer.images.layout.entries import MARKER, encoded, entry_of, new_index, referrer_entries
from wclayer.images.layout_names import INDEX_FILE, MARKER_FILE, blob_name
from wclayer.images.manifest import Manifest
from wclayer.images.plan import has_file_system
from wclayer.images.reference import Reference, parse_reference


@boundary
class DockerArchiveTarget(ArchiveTarget):
    """An archive with one image, or an index of several, as Docker with the store of containerd writes it.

    It is an OCI layout with the blobs as they are, so all digests stay, and a `manifest.json` that names these blobs.
    The same image gives the same bytes.

    Args:
        file: the file. An existing one is replaced when everything is there.
        ref: the name of the image in the archive ("nanoserver:ltsc2022"); None for none.
        name: what the user calls the target (default: "docker-archive:FILE:REF").
        sources: files and folders that are read for it, and must not be replaced.

    Raises:
        InvalidParameterError: `ref` is not the name of an image, or the file is one of the sources.
        PathNotFoundError, AccessDeniedError, DiskFullError, …: the host refuses to make the file.
    """

    def __init__(
        self, file: StrPath, ref: str | None = None, *, name: str | None = None, sources: Iterable[StrPath] = ()
    ) -> None:
        self._reference = parse_reference(ref) if ref else None
        super().__init__(file, name or f"docker-archive:{os.fspath(file)}{f':{ref}' if ref else ''}", sources)

    def _documents(self, root: Descriptor) -> dict[str, bytes]:
        items = [item for item in self._reached(root) if isinstance(item, Manifest)]
        saved: list[dict[str, Any]] = []
        for item in items:
            if has_file_system(item) and self.has(item.config):
                tags = [str(self._reference)] if self._reference and self._reference.tag and not saved else []
                saved.append(self._saved(item, tags))
        if not saved:
            raise NotSupportedError(
                self._name, "a docker-archive holds images, and this is another artifact; use oci-archive: or oci:"
            )
        entries = [entry_of(root, *_names(self._reference)), *referrer_entries(items)]
        return {MANIFEST_FILE: encoded(saved), INDEX_FILE: new_index(entries), MARKER_FILE: MARKER}

    def _saved(self, item: Manifest, tags: list[str]) -> dict[str, Any]:
        """Returns what `manifest.json` says of an image."""
        record: dict[str, Any] = {
            "Config": blob_name(item.config.digest),
            "RepoTags": tags,
            "Layers": [blob_name(layer.digest) for layer in item.layers],
        }
        config = parse_config(self._read(item.config.digest))
        foreign = {
            diff_id: layer.to_json()
            for diff_id, layer in zip(config.diff_ids, item.layers, strict=False)
            if layer.is_foreign_layer and not self.has(layer)
        }
        if foreign:
            record["LayerSources"] = foreign
        return record


def _names(reference: Reference | None) -> tuple[str, str]:
    """Returns the tag and the whole name of an image, as containerd writes both."""
    if reference is None or not reference.tag:
        return "", ""
    whole = f"{reference.registry}/{reference.repository}:{reference.tag}"
    return reference.tag, whole
