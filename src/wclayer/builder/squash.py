"""`squash_layers`: the layers of an image, or those above its base image, become one layer."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

from wclayer.builder.clock import Clock
from wclayer.builder.rebasing.base_layers import BaseLookup, base_layers
from wclayer.builder.rebasing.documents import ImageDocuments
from wclayer.builder.workspace import NewLayer, layer_from_reader, oci_layer_type
from wclayer.errors import InvalidParameterError, NotSupportedError, during
from wclayer.formats.compression import Compression
from wclayer.images.descriptor import Descriptor
from wclayer.images.edit_history import Step, append_history
from wclayer.images.history import BASE_DIGEST, BASE_NAME, history_steps
from wclayer.images.json_edit import JsonText
from wclayer.images.opening import ImageLayers
from wclayer.images.store import ImageStore
from wclayer.layers.progress import ProgressCallback
from wclayer.view.part import ChainPartReader

CREATED_BY = "wclayer squash"
"""The command in the history."""


@dataclass(frozen=True, slots=True)
class SquashedImage:
    """What `squash_layers` made.

    Attributes:
        documents: the manifest and the configuration.
        layer: the new layer, whose blob is in the store; None if there was nothing to put together.
        count: how many layers became one.
    """

    documents: ImageDocuments
    layer: NewLayer | None
    count: int


def squash_layers(
    image: ImageLayers,
    store: ImageStore,
    *,
    above_base: bool = False,
    base: ImageDocuments | None = None,
    reproducible: bool = False,
    compression: Compression = Compression.GZIP,
    level: int | None = None,
    progress: ProgressCallback | None = None,
) -> SquashedImage:
    """Makes one layer of the layers of an image, which shows the same files and the same registry.

    The caller holds `store.in_use()` until a name keeps the image. An image with one layer to squash stays as it is.

    Args:
        image: the image, whose layers are unpacked in the store (see `open_image`).
        store: the store.
        above_base: keep the layers of the base image, and squash those above it. Otherwise all layers become a base
            layer, which has whole hives and no deltas.
        base: the base image, for an image whose annotations and history do not tell it.
        reproducible: the history states no time that is later than that of the image. SOURCE_DATE_EPOCH in the
            environment replaces later times anyway. Times of files and keys stay: the layer shows what the layers
            showed.
        compression: of the new layer.
        level: of the compression.
        progress: called from time to time.

    Raises:
        InvalidParameterError: it is a layer directory, not an image; or nothing tells where the base image ends.
        NotSupportedError: the layers have hives in a form that cannot be put together, or the compression does not fit
            to Docker's manifest.
        InvalidDataError: a hive of a layer is damaged.
    """
    with during("squash image", image.name):
        if image.manifest is None or image.config is None:
            raise InvalidParameterError(image.name, "is a layer directory, not an image; squash takes an image")
        documents = ImageDocuments(image.manifest, image.config)
        kept = base_layers(image.name, documents, BaseLookup(store), base).count if above_base else 0
        count = len(image.layers) - kept
        clock = Clock.of(reproducible=reproducible, base_created=image.config.created)
        media_type = documents.fitting(Descriptor(oci_layer_type(compression), "", 0)).media_type
        if not documents.is_oci and media_type == oci_layer_type(compression):
            raise NotSupportedError(
                image.name, "is Docker's, whose layers are compressed with gzip or not at all; choose gzip"
            )
        if count < 2:
            return SquashedImage(documents, None, count)
        chain_ids = image.config.chain_ids[:kept]
        with ExitStack() as held:
            held.enter_context(store.hold_layers(image.config.chain_ids))
            reader = held.enter_context(ChainPartReader(image.layers, count))
            layer = layer_from_reader(store, reader, chain_ids, compression=compression, level=level, progress=progress)
        step = Step(CREATED_BY, clock.now(), comment=f"{count} layers as one")
        squashed = _with_one_layer(documents, kept, replace(layer.descriptor, media_type=media_type), layer, step)
        if not kept:
            squashed = squashed.with_annotations({}, [BASE_NAME, BASE_DIGEST])
        return SquashedImage(squashed, layer, count)


def _with_one_layer(
    documents: ImageDocuments, kept: int, descriptor: Descriptor, layer: NewLayer, step: Step
) -> ImageDocuments:
    """Returns documents in which a layer takes the place of those above the first `kept` ones.

    The steps that made these stay in the history, without layers, as `docker build --squash` leaves them.
    """
    config = documents.config
    text = JsonText(config.data)
    for number, made in enumerate(history_steps(config)):
        if made.layer is not None and made.layer >= kept:
            text.set(("history", number, "empty_layer"), True)
    text.remove_all(("rootfs", "diff_ids"), range(kept, len(config.diff_ids)))
    data = append_history(text.data, step, diff_id=layer.diff_id)
    return documents.with_layers([*documents.manifest.layers[:kept], descriptor]).with_config(data)
