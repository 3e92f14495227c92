"""Images and indexes that are made from others without their layers: `edit_image` and `compose_index`.

Both return an `ImageSource`, so that the result is copied wherever an image can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from wclayer.errors import InvalidParameterError, NotSupportedError, during
from wclayer.images.choice import check_platform
from wclayer.images.composed import ComposedSource
from wclayer.images.descriptor import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, Descriptor
from wclayer.images.edit import (
    DOCKER_ANNOTATIONS_WARNING,
    ConfigChanges,
    append_manifests,
    edit_annotations,
    edit_config,
    new_index,
    remove_manifests,
    replace_config,
)
from wclayer.images.inspection import image_of, read_config, read_root
from wclayer.images.manifest import Index
from wclayer.images.platform import Platform
from wclayer.images.transport import ImageSource


def edit_image(
    source: ImageSource,
    changes: ConfigChanges,
    *,
    platform: Platform | None = None,
    annotations: Mapping[str, str] | None = None,
    without_annotations: Sequence[str] = (),
) -> tuple[ImageSource, list[str]]:
    """Returns an image with another configuration, and warnings for the user. The layers are the same.

    Every byte of the configuration and the manifest that no change names stays as it is.

    Args:
        source: the image, which stays open.
        changes: what to change in the configuration.
        platform: which image of an index is meant; None for the only one.
        annotations: annotations of the manifest to set.
        without_annotations: annotations to remove.

    Raises:
        InvalidParameterError: a change is not possible, or several images may be meant.
        PathNotFoundError: there is no such image, or none for the platform.
        InvalidDataError: the documents have other digests, or do not fit together.
        NotSupportedError: it is an artifact, not an image.
    """
    with during("edit image", source.name):
        manifest = image_of(source, read_root(source), platform)
        config = read_config(source, manifest)
        check_platform(manifest.descriptor, config.platform, platform, source.name)
        data, warnings = edit_config(config.data, changes)
        edited = replace_config(manifest, data)
        if annotations or without_annotations:
            edited = edit_annotations(edited, annotations or {}, without_annotations)
            if annotations and edited.media_type == DOCKER_MANIFEST:
                warnings.append(DOCKER_ANNOTATIONS_WARNING)
        return ComposedSource(edited, [source], [data]), warnings


def compose_index(
    images: Sequence[ImageSource],
    *,
    base: ImageSource | None = None,
    media_type: str | None = None,
    replaces: bool = False,
) -> ImageSource:
    """Returns an index of images. No image changes.

    An image gets the platform that its configuration states, with `os.version` and `os.features`. Of an index, all
    manifests are taken as they are listed.

    Args:
        images: the images and indexes, which stay open.
        base: the index to which they are added; None makes a new one. Its own bytes stay as they are.
        media_type: the type of a new index, OCI's or Docker's; by default Docker's if all images are Docker's.
        replaces: an image takes the place of those for the same processor and the same release of Windows.

    Raises:
        InvalidParameterError: two images are for the same platform, so that nobody could choose between them.
        NotSupportedError: something is no image, or `base` is no index.
        PathNotFoundError, InvalidDataError: see `inspect_image`.
    """
    index: Index | None = None
    if base is not None:
        with during("append to index", base.name):
            item = read_root(base)[1]
            if not isinstance(item, Index):
                raise NotSupportedError(base.name, "is one image, not an index; `wclayer index create` makes an index")
            index = item
    listed = list(index.manifests) if index else []
    kept = len(listed)
    known = {(item.digest, item.platform) for item in listed}
    places: dict[Platform, list[int]] = {}
    gone: set[int] = set()
    for position, old in enumerate(listed):
        if (platform := _platform_of(old, replaces)) is not None:
            places.setdefault(platform, []).append(position)
    for source in images:
        with during("make index", source.name):
            for new in _listed_of(source):
                if (new.digest, new.platform) in known:
                    continue
                if (platform := _platform_of(new, replaces)) is not None:
                    in_the_way = places.get(platform, [])
                    if in_the_way and not replaces:
                        raise InvalidParameterError(
                            source.name,
                            f"{listed[in_the_way[0]].digest} is for {str(new.platform)[:100]}, too, and an index lists"
                            " one image for a platform; `wclayer index append --replace` puts"
                            f" {new.digest} in its place",
                        )
                    gone.update(in_the_way)
                    places[platform] = [len(listed)]
                known.add((new.digest, new.platform))
                listed.append(new)
    added = [item for position, item in enumerate(listed) if position >= kept and position not in gone]
    if index is None:
        are_docker = all(item.media_type == DOCKER_MANIFEST for item in added)
        index = new_index(added, media_type or (DOCKER_INDEX if are_docker else OCI_INDEX))
    else:
        index = append_manifests(remove_manifests(index, (place for place in gone if place < kept)), added)
    return ComposedSource(index, [*([base] if base else []), *images])


def _listed_of(source: ImageSource) -> Sequence[Descriptor]:
    """Returns the descriptors that an index lists for an image."""
    root, item = read_root(source)
    if isinstance(item, Index):
        return item.manifests
    platform = read_config(source, item).platform
    return [Descriptor(root.media_type, root.digest, root.size, platform=platform)]


def _platform_of(item: Descriptor, replaces: bool) -> Platform | None:
    """Returns the platform for which an index lists an image; with `replaces`, without the revision of Windows. None
    if it is not stated, and for attestations."""
    if item.platform is None or item.platform.os == "unknown":
        return None
    platform = item.platform.normalized()
    version = platform.windows_version
    return replace(platform, os_version=str(version.release)) if replaces and version else platform
