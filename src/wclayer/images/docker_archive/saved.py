"""`SavedImage`: what the `manifest.json` of a docker-archive says of one image.

References: moby, image/tarexport/save.go (v24.0.9) and daemon/internal/image/tarexport/save.go (since v25.0.0);
containerd, core/images/archive/exporter.go; containers/image, docker/internal/tarfile/types.go.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from wclayer.errors import FormatError, FormatLimitError, NotRepresentableError, limit_hint
from wclayer.images.archive.opened import ImageArchive
from wclayer.images.descriptor import Descriptor, check_digest
from wclayer.images.json_view import JsonView, parse_json_list
from wclayer.model import limits_in_use

MANIFEST_FILE = "manifest.json"
_REPOSITORIES_FILE = "repositories"


@dataclass(frozen=True, slots=True)
class SavedImage:
    """One image of a `manifest.json`.

    Attributes:
        config: the member with its configuration.
        tags: its names.
        layers: the members with its layers, base layer first.
        sources: the descriptors of layers by diffID, as Docker on Windows adds them for foreign layers.
    """

    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]
    sources: Mapping[str, Descriptor]


def saved_images(archive: ImageArchive) -> list[SavedImage] | None:
    """Returns the images that the `manifest.json` of an archive lists; None if it has none.

    Raises:
        FormatError: `manifest.json` is damaged.
        FormatLimitError: it is larger than `manifest_size`, an image has more layers than `chain_length` allows, or all
            images have more than `archive_members`.
        NotRepresentableError: Docker before 1.10 wrote the archive.
    """
    member = archive.members.file(MANIFEST_FILE)
    if member is None:
        if archive.members.file(_REPOSITORIES_FILE) is not None:
            raise NotRepresentableError(
                f"has {_REPOSITORIES_FILE!r} and no {MANIFEST_FILE!r}: Docker before 1.10 wrote it; load it with Docker"
                " and save it anew"
            )
        return None
    images = [_saved(view) for view in parse_json_list(archive.read(member), MANIFEST_FILE)]
    most = limits_in_use().archive_members
    if sum(len(image.layers) for image in images) > most:
        raise FormatLimitError(
            f"{MANIFEST_FILE}: more than {most} layers of all images together {limit_hint('archive_members')}"
        )
    return images


def _saved(view: JsonView) -> SavedImage:
    layers = view.texts("Layers")
    most = limits_in_use().chain_length + 1
    if len(layers) > most:
        raise FormatLimitError(f"{view.what}: {len(layers)} layers, more than {most} {limit_hint('chain_length')}")
    sources = view.view("LayerSources")
    found = {check_digest(key, sources.what): Descriptor.from_json(sources.view(key)) for key in sources.record}
    return SavedImage(
        _member_name(view.text("Config"), f"{view.what}: Config"),
        view.texts("RepoTags"),
        tuple(_member_name(layer, f"{view.what}: Layers") for layer in layers),
        found,
    )


def _member_name(text: str, what: str) -> str:
    """Returns the name of a member as archives have it. Docker on Windows once wrote backslashes."""
    name = posixpath.normpath(text.replace("\\", "/"))
    if not text or name.startswith(("/", "../")) or name in (".", ".."):
        raise FormatError(f"{what}: {text[:200]!r} is not the name of a member")
    return name
