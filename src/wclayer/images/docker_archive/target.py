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
from wclayer.images.reference import Reference, parse_reference

_NO_IMAGE = "and a docker-archive holds nothing else; use oci-archive: or oci:"


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

    def put_tag(self, tag: str, root: Descriptor) -> None:
        """Adds another image, or another name of an image (see `ArchiveTarget`).

        Raises:
            NotSupportedError: it is a signature, or another artifact that is no image.
        """
        if self._first_image(root) is None:
            raise NotSupportedError(self._name, f"{root.digest} is no image, {_NO_IMAGE}")
        super().put_tag(tag, root)

    def _checked_tag(self, tag: str) -> str:
        return str(parse_reference(tag)) if tag else ""

    def _documents(self, root: Descriptor) -> dict[str, bytes]:
        roots = [*((parse_reference(tag) if tag else None, each) for tag, each in self._further)]
        roots.append((self._reference, root))
        tags: dict[str, list[str]] = {}
        for reference, each in roots:
            image = self._first_image(each)
            if reference and reference.tag and image is not None:
                tags.setdefault(image, []).append(str(reference))
        items = [item for item in self._reached(root) if isinstance(item, Manifest)]
        saved = [self._saved(item, tags.get(item.descriptor.digest, [])) for item in items if self._is_image(item)]
        if not saved:
            raise NotSupportedError(self._name, f"{root.digest} is no image, {_NO_IMAGE}")
        entries = [*(entry_of(each, *_names(reference)) for reference, each in roots), *referrer_entries(items)]
        return {MANIFEST_FILE: encoded(saved), INDEX_FILE: new_index(entries), MARKER_FILE: MARKER}

    def _is_image(self, item: Manifest) -> bool:
        return item.has_file_system and self.has(item.config)

    def _first_image(self, root: Descriptor) -> str | None:
        """Returns the digest of the first image of an index, which has its name in `manifest.json`; None if it has
        none."""
        item = self.parsed(root)
        if isinstance(item, Manifest):
            return root.digest if self._is_image(item) else None
        below = (self._first_image(child) for child in item.manifests) if item is not None else ()
        return next((found for found in below if found is not None), None)

    def _saved(self, item: Manifest, tags: list[str]) -> dict[str, Any]:
        """Returns what `manifest.json` says of an image."""
        record: dict[str, Any] = {
            "Config": blob_name(item.config.digest),
            "RepoTags": list(dict.fromkeys(tags)),
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
