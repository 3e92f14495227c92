"""`unpack_image`: the layers of an image in the store as layer directories, each verified before it has its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from wclayer.errors import InvalidDataError, NotSupportedError, during
from wclayer.images.blobs import Blob, errors_of
from wclayer.images.choice import check_platform, choose
from wclayer.images.config import ImageConfig, parse_config
from wclayer.images.descriptor import Descriptor
from wclayer.images.manifest import Index, Manifest, parse_manifest
from wclayer.images.plan import check_image
from wclayer.images.platform import WINDOWS, Platform
from wclayer.images.store import ImageStore
from wclayer.images.transfer_progress import TransferCallback, TransferProgress, TransferStep

if TYPE_CHECKING:
    from wclayer.engines.results import ImportResult


@dataclass(frozen=True, slots=True)
class LayerStream:
    """The blob of a layer.

    Attributes:
        stream: the bytes. Its reader closes it. It may still be growing (`Ingest.follow`).
        is_verified: the stream itself verifies the digest: it ends with an error if the bytes have another one.
        abandon: ends a read of the stream in another thread that may wait for ever; None if no read does.
    """

    stream: BinaryIO
    is_verified: bool = False
    abandon: Callable[[], None] | None = None


OpenLayer = Callable[[Blob], LayerStream]
"""Opens the blob of a layer."""

_WITHOUT_UNPACKING = "copy, push and save work, and so do pull and load with --no-unpack"
NO_IMAGE = "is an artifact, and no image with layers of files: it can be copied, and not unpacked"


@dataclass(frozen=True, slots=True)
class UnpackedImage:
    """An image whose layers are unpacked.

    Attributes:
        manifest: the manifest.
        config: the configuration.
        layers: the layer directories, base layer first.
        unpacked: how many of them were unpacked now; the others were there.
    """

    manifest: Manifest
    config: ImageConfig
    layers: tuple[Path, ...]
    unpacked: int


def unpack_image(
    store: ImageStore,
    descriptor: Descriptor,
    *,
    platform: Platform | None = None,
    name: str = "",
    progress: TransferCallback | None = None,
) -> UnpackedImage:
    """Unpacks the layers of an image that is in the store. Layers that are unpacked already are not unpacked again.

    Args:
        store: the store.
        descriptor: the manifest, or an index.
        platform: which image of an index is meant.
        name: what the user calls the image, for messages; by default its digest.
        progress: called for each layer.

    Raises:
        PathNotFoundError: a part of the image is not in the store.
        InvalidDataError: a layer does not have its diffID, or is no layer. There is no layer directory then.
        NotSupportedError: the image is not for Windows, or is none.
    """
    name = name or descriptor.digest
    with during("unpack image", name), store.in_use():
        manifest, config = read_image(store, descriptor, platform, name)
        return unpack_layers(
            store,
            manifest,
            config,
            lambda blob: LayerStream(store.open_blob(blob.descriptor)),
            name=name,
            progress=progress,
        )


def read_image(
    store: ImageStore, descriptor: Descriptor, platform: Platform | None, name: str
) -> tuple[Manifest, ImageConfig]:
    """Returns manifest and configuration of an image in the store, which fit together.

    Args:
        store: the store.
        descriptor: the manifest, or an index.
        platform: which image of an index is meant.
        name: what the user calls the image, for messages.

    Raises:
        NotSupportedError: it is an artifact that is no image.
        PathNotFoundError: it has another platform.
    """
    item = parse_manifest(store.read_blob(descriptor), descriptor.media_type)
    while isinstance(item, Index):
        descriptor = choose(item.manifests, platform, name)
        item = parse_manifest(store.read_blob(descriptor), descriptor.media_type)
    if not item.has_file_system:
        raise NotSupportedError(name, NO_IMAGE)
    config = parse_config(store.read_blob(item.config))
    check_image(item, config)
    check_platform(item.descriptor, config.platform, platform, name)
    return item, config


def check_windows(config: ImageConfig, name: str) -> None:
    """Checks that an image is one for Windows.

    Raises:
        NotSupportedError: it is for another operating system.
    """
    if config.platform.os.lower() != WINDOWS:
        raise NotSupportedError(
            name,
            f"the image is for {config.platform.os or 'no operating system'}, and only layers of Windows can be"
            f" unpacked; {_WITHOUT_UNPACKING}",
        )


def unpack_layers(
    store: ImageStore,
    manifest: Manifest,
    config: ImageConfig,
    open_layer: OpenLayer,
    *,
    name: str,
    progress: TransferCallback | None = None,
) -> UnpackedImage:
    """Unpacks the layers of an image in the order of the chain. The caller holds `store.in_use()`.

    Args:
        store: the store.
        manifest: the manifest; it fits the configuration (`check_image`).
        config: the configuration.
        open_layer: opens the blob of a layer that is not unpacked yet.
        name: what the user calls the image, for messages.
        progress: called for each layer.
    """
    check_windows(config, name)
    if not manifest.layers:
        raise NotSupportedError(name, f"the image has no layers, so there is nothing to unpack; {_WITHOUT_UNPACKING}")
    layers: list[Path] = []
    unpacked = 0
    for number, (descriptor, chain_id) in enumerate(zip(manifest.layers, config.chain_ids, strict=True)):
        path = store.layer_path(chain_id)
        blob = Blob(descriptor, f"layer {number + 1} of {len(manifest.layers)}")
        if not store.has_layer(chain_id):
            with errors_of(blob, name), store.claim_layer(chain_id) as is_missing:
                if is_missing:
                    unpack_layer(blob, config.diff_ids[number], path, layers[::-1], open_layer, name, progress=progress)
                    unpacked += 1
        layers.append(path)
    return UnpackedImage(manifest, config, tuple(layers), unpacked)


def unpack_layer(
    blob: Blob,
    diff_id: str,
    path: Path,
    parents: Sequence[Path],
    open_layer: OpenLayer,
    name: str,
    *,
    progress: TransferCallback | None = None,
    over_damaged: bool = False,
) -> None:
    """Unpacks the blob of one layer. The layer appears when the digest of the blob and the diffID were verified.

    Args:
        blob: the blob.
        diff_id: the diffID that the layer must have.
        path: the path of the layer.
        parents: its parents, nearest first.
        open_layer: opens the blob.
        name: what the user calls the image, for messages.
        progress: called from time to time.
        over_damaged: replace the damaged layer at `path` in one step. Its disks stay if they are sound.

    Raises:
        InvalidDataError: the blob has another digest or diffID, or is no layer.
    """
    # Loaded when it is needed: most images that are opened are unpacked already.
    from wclayer.engines.portable.importing import import_tar

    descriptor = blob.descriptor

    def accept(result: ImportResult) -> None:
        if (result.digest, result.stored_size) != (descriptor.digest, descriptor.size):
            raise InvalidDataError(
                name,
                f"{result.stored_size} bytes with the digest {result.digest} were read, and the manifest says"
                f" {descriptor.size} bytes with {descriptor.digest}",
            )
        if result.diff_id != diff_id:
            raise InvalidDataError(
                name,
                f"the uncompressed tar has the diffID {result.diff_id}, and the configuration says {diff_id}: the image"
                " was put together wrongly, or changed; pull it from its maker again",
            )

    def report(done: int) -> None:
        if progress is not None:
            progress(TransferProgress(blob.what, descriptor, TransferStep.UNPACK, min(done, descriptor.size)))

    opened = open_layer(blob)
    with opened.stream:
        watched = cast(BinaryIO, _Watched(opened.stream, report))
        known = descriptor.digest if opened.is_verified else None
        import_tar(
            watched, path, parents, accept=accept, over_damaged=over_damaged, known_digest=known,
            abandon=opened.abandon, source=name,
        )  # fmt: skip
    report(descriptor.size)


class _Watched:
    """A stream that reports how many of its bytes were read."""

    def __init__(self, stream: BinaryIO, report: Callable[[int], None]) -> None:
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        self._report = report
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        """Returns the bytes that are there, of a stream that may still be growing, and reports them."""
        data = self._read(size)
        self._done += len(data)
        self._report(self._done)
        return data
