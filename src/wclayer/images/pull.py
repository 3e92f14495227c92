"""Into the store: an image is downloaded, and its layers are unpacked while they arrive."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from wclayer.errors import CorruptLayerError, InvalidParameterError, NotSupportedError, PathNotFoundError, during
from wclayer.images.blobs import Blob, KnownBlobs
from wclayer.images.config import ImageConfig
from wclayer.images.descriptor import Descriptor
from wclayer.images.foreign import Foreign
from wclayer.images.location import parse_registry_location
from wclayer.images.manifest import Manifest
from wclayer.images.parallel import Crew
from wclayer.images.plan import CopyPlan, make_plan
from wclayer.images.platform import WINDOWS, Platform
from wclayer.images.registry import RegistryOptions, RegistrySource
from wclayer.images.store import ImageStore, Ingest, StoreTarget
from wclayer.images.store.ingest import FollowedBlob
from wclayer.images.transfer import JOBS, CopyResult, carry_out
from wclayer.images.transfer_progress import TransferCallback
from wclayer.images.transport import BytesDone, ImageSource
from wclayer.images.unpack import NO_IMAGE, LayerStream, UnpackedImage, check_windows, unpack_layers

_PAUSE = 0.2


@dataclass(frozen=True, slots=True)
class PullResult:
    """The result of a pull.

    Attributes:
        name: the name that the image has in the store; "" if it has none.
        copied: what was copied.
        images: the images whose layers are unpacked.
    """

    name: str
    copied: CopyResult
    images: tuple[UnpackedImage, ...]


def store_image(
    source: ImageSource,
    store: ImageStore,
    name: str,
    *,
    platform: Platform | None = None,
    all_platforms: bool = False,
    unpack: bool = True,
    foreign: Foreign | str = Foreign.PUSH,
    keeps_index: bool = False,
    jobs: int = JOBS,
    progress: TransferCallback | None = None,
) -> PullResult:
    """Copies an image into the store, and unpacks its layers at the same time.

    Each byte of a layer goes once from the source to the blob, to the decompressor and to the layer directory. Blobs
    arrive in parallel; one thread unpacks the layers in the order of the chain. A layer has its name when the digest of
    its blob and its diffID were verified. The image has its name when everything is there.

    Args:
        source: where the image is. It stays open.
        store: the store.
        name: the name that the image gets; "" keeps it by its digest.
        platform: which image of an index is meant.
        all_platforms: the index, and all images in it. Those for Windows are unpacked.
        unpack: unpack the layers.
        foreign: what is done with foreign layers (see `Foreign`).
        keeps_index: give the name to the index, of which only the image of the platform is there. A later call for
            another platform adds its image.
        jobs: how many blobs arrive at the same time.
        progress: called for each blob, from several threads.

    Raises:
        NotSupportedError: `unpack` is wanted, and no image is for Windows. Nothing was copied.
        InvalidParameterError: `unpack` is wanted, and `Foreign.KEEP` leaves out layers.
        PathNotFoundError, InvalidDataError, RegistryError, …: see `copy_image`. What arrived whole is not fetched again
            by the next call.
    """
    with during("store image", source.name, takes_over=True):
        return put_into_store(
            source, store, name, platform=platform, all_platforms=all_platforms, unpack=unpack, foreign=foreign,
            keeps_index=keeps_index, jobs=jobs, progress=progress,
        )  # fmt: skip


def put_into_store(
    source: ImageSource,
    store: ImageStore,
    name: str,
    *,
    platform: Platform | None,
    all_platforms: bool,
    unpack: bool,
    foreign: Foreign | str,
    jobs: int,
    progress: TransferCallback | None,
    keeps_index: bool = False,
) -> PullResult:
    """Does what `store_image` says. The caller names the operation in its errors."""
    choice = Foreign.of(foreign)
    # Before there is a target: an image that cannot be had leaves no new store.
    plan = make_plan(
        _StoreFirst(source, store), platform=platform, all_platforms=all_platforms, foreign=choice,
        keeps_index=keeps_index,
    )  # fmt: skip
    if unpack:
        _check_unpackable(plan, choice, source.name)
    with store.target(name) as target:
        if not unpack:
            return PullResult(name, carry_out(plan, source, target, jobs=jobs, progress=progress), ())
        return _Pipeline(plan, source, store, target, jobs, progress).run(name)


def _windows_images(plan: CopyPlan) -> list[tuple[Manifest, ImageConfig]]:
    return [(manifest, config) for manifest, config in plan.images if config.platform.os.lower() == WINDOWS]


def _check_unpackable(plan: CopyPlan, foreign: Foreign, name: str) -> None:
    """Checks that something of a plan can be unpacked.

    Raises:
        NotSupportedError: no image is for Windows.
        InvalidParameterError: layers of one are left out.
    """
    images = _windows_images(plan)
    if not images:
        for _, config in plan.images:
            check_windows(config, name)
        raise NotSupportedError(name, f"{NO_IMAGE} (--no-unpack)")
    if foreign is Foreign.KEEP and any(layer.is_foreign_layer for manifest, _ in images for layer in manifest.layers):
        raise InvalidParameterError(
            name,
            "an image cannot be unpacked without its foreign layers; fetch them (--foreign push), or do not unpack"
            " (--no-unpack)",
        )


def pull_image(
    reference: str,
    store: ImageStore | None = None,
    *,
    registry: RegistryOptions | None = None,
    platform: Platform | None = None,
    all_platforms: bool = False,
    unpack: bool = True,
    foreign: Foreign | str = Foreign.PUSH,
    jobs: int = JOBS,
    progress: TransferCallback | None = None,
) -> PullResult:
    """Fetches an image from a registry into the store under its name, and unpacks its layers while they arrive.

    Args:
        reference: the image ("mcr.microsoft.com/windows/nanoserver:ltsc2025").
        store: the store; by default the user's.
        registry: how the registry is reached.
        platform, all_platforms, unpack, foreign, jobs, progress: see `store_image`.

    Raises:
        LayerError: see `store_image`.
    """
    with during("pull image", reference, takes_over=True):
        wanted = parse_registry_location(reference)
        with RegistrySource(wanted, registry) as source:
            return put_into_store(
                source, store or ImageStore(), str(wanted), platform=platform, all_platforms=all_platforms,
                unpack=unpack, foreign=foreign, jobs=jobs, progress=progress,
            )  # fmt: skip


class _StoreFirst(KnownBlobs):
    """A source whose configurations are read in the store if it has them: they are not fetched again."""

    def __init__(self, source: ImageSource, store: ImageStore) -> None:
        super().__init__(source, {})
        self._store = store

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        if self._store.has_blob(descriptor):
            # Nothing keeps `prune` away yet. What the disk has damaged is fetched again.
            with suppress(PathNotFoundError, CorruptLayerError):
                return io.BytesIO(self._store.read_blob(descriptor)[offset:])
        return self._source.open_blob(descriptor, offset)


class _Pipeline:
    """The unpacking of an image that is arriving."""

    def __init__(
        self,
        plan: CopyPlan,
        source: ImageSource,
        store: ImageStore,
        target: StoreTarget,
        jobs: int,
        progress: TransferCallback | None,
    ) -> None:
        self._plan = plan
        self._source = source
        self._store = store
        self._target = target
        self._jobs = jobs
        self._progress = progress
        self._images = _windows_images(plan)
        # Each becomes a function that opens the blob, as soon as the blob begins to arrive.
        self._arriving: dict[str, Future[Callable[[], FollowedBlob]]] = {digest: Future() for digest in plan.blobs}
        self._unpacked: list[UnpackedImage] = []

    def run(self, name: str) -> PullResult:
        copied = carry_out(
            self._plan, self._source, self._target, jobs=self._jobs, progress=self._progress, put=self._put,
            meanwhile=self._unpack,
        )  # fmt: skip
        return PullResult(name, copied, tuple(self._unpacked))

    def _put(self, blob: Blob, source: ImageSource, done: BytesDone) -> None:
        arriving = self._arriving[blob.descriptor.digest]

        def begun(ingest: Ingest) -> None:
            arriving.set_result(ingest.follow)

        # A layer with several places may arrive again from the next: it is unpacked when it is whole and verified.
        follow = None if blob.descriptor.urls else begun
        self._target.put_blob(blob.descriptor, source, done, follow)

    def _unpack(self, crew: Crew) -> None:
        def open_layer(blob: Blob) -> LayerStream:
            arriving = self._arriving[blob.descriptor.digest]
            while not arriving.done():
                crew.check()
                if self._store.has_blob(blob.descriptor):
                    return LayerStream(self._store.open_blob(blob.descriptor))
                with suppress(TimeoutError):
                    arriving.result(_PAUSE)
            stream = arriving.result()()
            return LayerStream(stream, is_verified=True, abandon=stream.abandon)

        for manifest, config in self._images:
            self._unpacked.append(
                unpack_layers(
                    self._store, manifest, config, open_layer, name=self._source.name, progress=self._progress
                )
            )
