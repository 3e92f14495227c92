"""`copy_image`: a whole image from any source to any target. Nothing is unpacked, and no byte changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wclayer.errors import InvalidDataError, NotSupportedError, during
from wclayer.images.blobs import Blob, KnownBlobs, errors_of
from wclayer.images.composed import origin_of
from wclayer.images.descriptor import Descriptor
from wclayer.images.foreign import Foreign
from wclayer.images.parallel import Crew
from wclayer.images.plan import CopyPlan, make_plan
from wclayer.images.platform import Platform
from wclayer.images.transfer_progress import TransferCallback, TransferProgress, TransferStep
from wclayer.images.transport import (
    BytesDone,
    ImageSource,
    ImageTarget,
    PlacesSource,
    Repository,
    RepositorySource,
    RepositoryTarget,
    TagTarget,
)

JOBS = 4
"""How many blobs are copied at the same time."""


@dataclass(frozen=True, slots=True)
class CopyResult:
    """The result of a copy.

    Attributes:
        descriptor: the manifest or the index that has the name in the target now.
        manifests: how many manifests were copied, with those that refer to others.
        blobs: how many blobs were copied.
        size: how many bytes they have together.
        present: how many blobs the target had already.
    """

    descriptor: Descriptor
    manifests: int
    blobs: int
    size: int
    present: int


def copy_image(
    source: ImageSource,
    target: ImageTarget,
    *,
    platform: Platform | None = None,
    all_platforms: bool = False,
    referrers: bool = False,
    foreign: Foreign | str = Foreign.PUSH,
    jobs: int = JOBS,
    progress: TransferCallback | None = None,
) -> CopyResult:
    """Copies an image. Nothing is unpacked and no byte changes, so every digest stays the same.

    All manifests and configurations are read and compared before anything is copied. The target's blobs are not read
    again. The image has its name in the target when everything is there.

    Args:
        source: where the image is. It stays open.
        target: where it will be. It stays open.
        platform: which image of an index is copied.
        all_platforms: copy the index, and all images in it.
        referrers: copy also what refers to the image (signatures, SBOMs).
        foreign: what is done with foreign layers: "keep", "push" or "convert" (see `Foreign`).
        jobs: how many blobs are copied at the same time.
        progress: called for each blob, from several threads.

    Raises:
        PathNotFoundError: the image, or a part of it, is not there.
        InvalidDataError: the parts do not fit together, or have other digests.
        InvalidParameterError: an argument has no possible value.
        LimitExceededError: a manifest or the image is larger than the limits in use.
        NotSupportedError: the target cannot hold such an image.
        RegistryError: a registry refuses it, or cannot be reached.
    """
    with during("copy image", source.name, takes_over=True):
        plan = make_plan(
            source,
            platform=platform,
            all_platforms=all_platforms,
            referrers=referrers,
            foreign=Foreign.of(foreign),
        )
        return carry_out(plan, source, target, jobs=jobs, progress=progress)


PutBlob = Callable[[Blob, ImageSource, BytesDone], None]
"""Puts a blob from a source into the target."""


def carry_out(
    plan: CopyPlan,
    source: ImageSource,
    target: ImageTarget,
    *,
    jobs: int = JOBS,
    progress: TransferCallback | None = None,
    put: PutBlob | None = None,
    meanwhile: Callable[[Crew], None] | None = None,
    finish: Callable[[Descriptor], None] | None = None,
) -> CopyResult:
    """Copies what a plan says.

    Args:
        plan: what is copied.
        source: where it is.
        target: where it will be.
        jobs: how many blobs are copied at the same time.
        progress: called for each blob, from several threads.
        put: puts a blob that the target does not have; by default `put_blob` of the target.
        meanwhile: work for this thread, while the blobs are copied. The image gets its name afterwards.
        finish: gives the image its name; by default `finish` of the target.
    """
    if plan.tags and not isinstance(target, TagTarget):
        raise NotSupportedError(target.name, "cannot hold the signatures that cosign made; copy without the referrers")
    known = KnownBlobs(source, plan.known)
    copied: list[Blob] = []
    crew = Crew(jobs, source.name)

    def report(blob: Blob, step: TransferStep, done: int) -> None:
        crew.check()
        if progress is not None:
            progress(TransferProgress(blob.what, blob.descriptor, step, done))

    def put_into_target(blob: Blob, origin: ImageSource, done: BytesDone) -> None:
        target.put_blob(blob.descriptor, origin, done)

    def copy_blob(blob: Blob) -> None:
        with errors_of(blob, source.name):
            crew.check()
            descriptor = blob.descriptor
            if target.has(descriptor):
                report(blob, TransferStep.PRESENT, descriptor.size)
                return
            origin = known if descriptor.digest in plan.known else origin_of(source, descriptor)
            _put_from_any_place(
                put or put_into_target, blob, origin, lambda done: report(blob, TransferStep.COPY, done)
            )
            copied.append(blob)
            report(blob, TransferStep.COPY, descriptor.size)

    with crew:
        for blob in plan.blobs.values():
            crew.start(copy_blob, blob)
        if meanwhile is not None:
            meanwhile(crew)
    for manifest in plan.manifests:
        target.put_manifest(manifest.descriptor, manifest.data)
    if isinstance(target, TagTarget):
        for tag, root in plan.tags.items():
            target.put_tag(tag, root)
    if isinstance(target, RepositoryTarget):
        target.note_repositories(_repositories(plan, source))
    (finish or target.finish)(plan.root)
    return CopyResult(
        plan.root,
        len(plan.manifests),
        len(copied),
        sum(blob.descriptor.size for blob in copied),
        len(plan.blobs) - len(copied),
    )


def _repositories(plan: CopyPlan, source: ImageSource) -> dict[str, Sequence[Repository]]:
    """Returns the repositories that have the blobs of a plan, by digest."""
    found: dict[str, Sequence[Repository]] = {}
    for digest, blob in plan.blobs.items():
        origin = origin_of(source, blob.descriptor)
        # A blob with addresses of its own may not have come from the registry.
        if isinstance(origin, RepositorySource) and not blob.descriptor.urls:
            found[digest] = origin.repositories_of(blob.descriptor)
    return found


def _put_from_any_place(put: PutBlob, blob: Blob, source: ImageSource, done: BytesDone) -> None:
    """Puts a blob, and puts it again from the next place of its source after one gave bytes with another digest."""
    places = source if blob.descriptor.urls and isinstance(source, PlacesSource) else None
    left = 0 if places is None else places.places_left(blob.descriptor)
    while True:
        try:
            return put(blob, source, done)
        except InvalidDataError:
            before, left = left, 0 if places is None else places.places_left(blob.descriptor)
            if not 0 < left < before:
                raise
