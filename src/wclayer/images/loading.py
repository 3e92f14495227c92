"""`load_images` and `save_images`: between files of images and the store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from wclayer._types import StrPath
from wclayer.errors import InvalidParameterError, PathNotFoundError, during
from wclayer.images.archive.opened import ImageArchive
from wclayer.images.docker_archive import DockerArchiveSource, DockerArchiveTarget
from wclayer.images.foreign import Foreign
from wclayer.images.layout import LayoutArchiveTarget, LayoutSource, LayoutTarget, NamedImage
from wclayer.images.layout.named import is_whole_name, reference_of
from wclayer.images.location import Transport
from wclayer.images.plan import make_plan
from wclayer.images.platform import Platform
from wclayer.images.pull import PullResult, put_into_store
from wclayer.images.store import ImageStore
from wclayer.images.transfer import JOBS, CopyResult, carry_out
from wclayer.images.transfer_progress import TransferCallback
from wclayer.images.transport import ImageSource
from wclayer.layers.inputs import STANDARD_INPUT

FORMATS = (Transport.DOCKER_ARCHIVE.value, Transport.OCI_ARCHIVE.value, Transport.LAYOUT.value)


def load_images(
    file: StrPath = STANDARD_INPUT,
    store: ImageStore | None = None,
    *,
    name: str = "",
    platform: Platform | None = None,
    unpack: bool = True,
    foreign: Foreign | str = Foreign.PUSH,
    jobs: int = JOBS,
    progress: TransferCallback | None = None,
) -> list[PullResult]:
    """Puts the images of an archive, or of a layout, into the store under their names.

    Args:
        file: an archive of `docker save`, an OCI layout in a tar or in a directory; "-" for the standard input.
        store: the store; by default the user's.
        name: the name of the image, if there is only one. By default images have the names that they have in the file.
            One without a whole name (a tag alone is none) is kept by its digest.
        platform: one image of each index; by default all.
        unpack: unpack the layers.
        foreign: what is done with foreign layers (see `Foreign`).
        jobs: how many blobs are copied at the same time.
        progress: called for each blob, from several threads.

    Returns:
        What was put, in the order of the file.

    Raises:
        InvalidParameterError: `name` is given, and there are several images.
        PathNotFoundError, InvalidDataError, …: the file is not there, is damaged, or lacks a part of an image.
    """
    with during("load images", file, takes_over=True), ExitStack() as opened:
        place = store or ImageStore()
        sources = _sources(file, opened)
        if name and len(sources) > 1:
            raise InvalidParameterError(
                file, f"holds {len(sources)} images, and one name cannot be that of all of them"
            )
        results = []
        for image, source in sources:
            names = [name] if name else [text for text in image.names if is_whole_name(text) and reference_of(text)]
            result = put_into_store(
                source, place, names[0] if names else "", platform=platform, all_platforms=platform is None,
                unpack=unpack, foreign=foreign, jobs=jobs, progress=progress,
            )  # fmt: skip
            for further in names[1:]:
                place.tag(further, result.copied.descriptor)
            results.append(result)
        return results


def _sources(file: StrPath, opened: ExitStack) -> list[tuple[NamedImage, ImageSource]]:
    """Opens each image of a file or folder."""
    if os.path.isdir(file):
        images = opened.enter_context(LayoutSource(file)).images()
        return [
            (image, opened.enter_context(LayoutSource(file, f"@{number}", name=os.fspath(file))))
            for number, image in enumerate(images)
        ]
    archive = opened.enter_context(ImageArchive(file))
    images = opened.enter_context(DockerArchiveSource(archive)).images()
    return [
        (image, opened.enter_context(DockerArchiveSource(archive, f"@{number}", name=os.fspath(file))))
        for number, image in enumerate(images)
    ]


def save_images(
    images: Sequence[str],
    file: StrPath,
    store: ImageStore | None = None,
    *,
    form: str = FORMATS[0],
    platform: Platform | None = None,
    foreign: Foreign | str = Foreign.PUSH,
    jobs: int = JOBS,
    progress: TransferCallback | None = None,
) -> list[CopyResult]:
    """Writes images of the store into one file or folder. Layers that several of them have are written once.

    Args:
        images: the images in the store: names, the ends of some, or digests. Each has its full name in the file.
        file: the file, which appears, or replaces another one, when everything is there; "-" for the standard output;
            a folder for "oci", to which the images are added.
        store: the store; by default the user's.
        form: "docker-archive" (what `docker load` reads), "oci-archive" or "oci".
        platform: one image of each index; by default all.
        foreign: what is done with foreign layers (see `Foreign`).
        jobs: how many blobs are copied at the same time.
        progress: called for each blob, from several threads.

    Returns:
        What was copied, for each of `images`.

    Raises:
        InvalidParameterError: no image is named, or there is no such format.
        PathNotFoundError: an image is not in the store.
        LayerError: see `copy_image`.
    """
    with during("save images", file):
        place = store or ImageStore()
        if not images:
            raise InvalidParameterError(file, "no image is named")
        names = [_name_in_file(image, place) for image in images]
        choice = Foreign.of(foreign)
        results = []
        with _target(file, form, names[-1]) as target:
            for number, (image, name) in enumerate(zip(images, names, strict=True), 1):
                with place.source(image) as source:
                    plan = make_plan(source, platform=platform, all_platforms=platform is None, foreign=choice)
                    is_last = number == len(images)
                    results.append(
                        carry_out(
                            plan, source, target, jobs=jobs, progress=progress,
                            finish=target.finish if is_last else partial(target.put_tag, name),
                        )
                    )  # fmt: skip
        return results


def _name_in_file(image: str, store: ImageStore) -> str:
    """Returns the full name of an image in the store; "" for one that was named by its digest."""
    store.find(image)
    try:
        name = store.full_name(image)
    except PathNotFoundError:
        return ""
    return "" if name.startswith("sha256:") else name


def _target(file: StrPath, form: str, name: str) -> DockerArchiveTarget | LayoutArchiveTarget | LayoutTarget:
    if form == Transport.DOCKER_ARCHIVE.value:
        return DockerArchiveTarget(file, name or None)
    if form == Transport.OCI_ARCHIVE.value:
        return LayoutArchiveTarget(file, name or None)
    if form == Transport.LAYOUT.value:
        return LayoutTarget(file, name or None)
    raise InvalidParameterError(form, f"is not a format of images: {', '.join(FORMATS)}")
