"""`commit_scratch`: an image of a scratch: the image that it was made of, with its changes as one more layer."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from wclayer._types import StrPath
from wclayer.builder.base_names import name_of, whole_name
from wclayer.builder.clock import Clock
from wclayer.builder.image import BuiltImage, Step
from wclayer.builder.workspace import NewLayer, layer_from_scratch, oci_layer_type
from wclayer.engines.portable.scratch_disk import was_changed
from wclayer.errors import InvalidDataError, InvalidParameterError, InvalidStateError, PathNotFoundError, during
from wclayer.formats.compression import Compression
from wclayer.images.edit import ConfigChanges
from wclayer.images.platform import Platform
from wclayer.images.store import ImageStore, StoredImage
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.scratch import DISK, UNREAD, ScratchDirectory, is_scratch
from wclayer.layers.progress import ProgressCallback

_DIGITS = re.compile(r"[0-9a-f]{64}\Z")
_SHOWN = 5
CREATED_BY = "wclayer commit"
"""The command in the history."""
IMAGE = "image"
"""The record of the image that a scratch was made of: the digest of its manifest."""


@dataclass(frozen=True, slots=True)
class CommittedImage:
    """What `commit_scratch` made.

    Attributes:
        image: the image. Its layers are in the store, unpacked; its documents are in no place yet.
        layer: the new layer; None if nothing was changed in the scratch.
        warnings: what the user should know.
    """

    image: BuiltImage
    layer: NewLayer | None
    warnings: tuple[str, ...]


def note_image(scratch: StrPath, digest: str) -> None:
    """Records which image a new scratch was made of.

    Args:
        scratch: the layer directory.
        digest: the digest of the manifest.
    """
    with closing(ScratchDirectory(scratch, exclusive=True)) as opened, opened.transaction(is_change=False):
        opened.set_record(IMAGE, digest)


def commit_scratch(
    scratch: StrPath,
    store: ImageStore,
    *,
    base: str = "",
    platform: Platform | None = None,
    changes: ConfigChanges | None = None,
    annotations: Mapping[str, str] | None = None,
    message: str = "",
    reproducible: bool = False,
    compression: Compression = Compression.GZIP,
    level: int | None = None,
    progress: ProgressCallback | None = None,
) -> CommittedImage:
    """Makes an image of a scratch. The scratch stays as it is, and may go on.

    The caller holds `store.in_use()` until a name keeps the image.

    Args:
        scratch: the layer directory of a scratch whose parents are the layers of an image of the store.
        store: the store.
        base: the image in the store that the scratch was made of; by default the one that the scratch records, or the
            only one that has its layers.
        platform: which image of an index `base` is meant.
        changes: of the configuration. The author is also that of the step in the history.
        annotations: of the manifest.
        message: the comment in the history.
        reproducible: no time is later than that of the base image; with SOURCE_DATE_EPOCH in the environment, none is
            later than that anyway (see `Clock.of`).
        compression: of the layer.
        level: of the compression.
        progress: called from time to time.

    Raises:
        InvalidParameterError: it is no scratch; its parents are not the layers of `base`, or of one image of the store.
        InvalidStateError: Windows has changed the disk of the scratch, and that was not read yet.
        LayerBusyError: the scratch is mounted, or open elsewhere.
        PathNotFoundError: there is no such image.
        NotSupportedError: the compression does not fit to Docker's manifest.
    """
    place = Path(os.path.abspath(scratch))
    changes = changes or ConfigChanges()
    with during("commit scratch", place):
        with open_layer(place):
            pass
        if not is_scratch(place):
            raise InvalidParameterError(
                place, "is no scratch; `wclayer create --from IMAGE PATH` makes one, and commit makes an image of it"
            )
        with closing(ScratchDirectory(place, exclusive=True)) as opened:
            _check_disk(opened)
            image = _base_image(opened, store, base, platform)
            clock = Clock.of(reproducible=reproducible, base_created=image.parsed.created)
            # Refused before anything is made.
            image.layer_type(oci_layer_type(compression))
            image, warnings = image.with_config(changes)
            layer = layer_from_scratch(
                store, place, image.chain_ids, time=clock.latest, compression=compression, level=level,
                progress=progress,
            )  # fmt: skip
        step = Step(CREATED_BY, clock.now(), author=changes.author or "", comment=message)
        image = image.with_step(step) if layer is None else image.with_layer(layer, step)
        if changes.created is not None:
            image, _ = image.with_config(ConfigChanges(created=changes.created))
        return CommittedImage(image.with_annotations(annotations or {}), layer, tuple(warnings))


def _check_disk(scratch: ScratchDirectory) -> None:
    """Checks that nothing was changed on the disk of a scratch that its layer directory lacks.

    Raises:
        InvalidStateError: another program has changed the disk.
    """
    if scratch.record(UNREAD) is not None or was_changed(scratch):
        raise InvalidStateError(
            scratch.path,
            f"another program has changed its {DISK}; `wclayer mount {scratch.path}` reads the changes, then unmount",
        )


def _base_image(scratch: ScratchDirectory, store: ImageStore, base: str, platform: Platform | None) -> BuiltImage:
    """Returns the image that a scratch was made of, as the base of another one."""
    chain_ids = _chain_ids(scratch, store)
    if base:
        with store.source(base) as source:
            image = BuiltImage.on(source, platform, name=name_of(source, store))
        if image.chain_ids != chain_ids:
            raise InvalidParameterError(base, f"has other layers than those on which {scratch.path} was made")
        return image
    listed = list(store.images())
    if any(image.problem for image in listed):
        # What the host refused once may be read now; what it still refuses is named below.
        listed = list(store.images())
    found = {image.manifest.digest: image for image in listed if image.chain_ids == chain_ids}
    recorded = scratch.text(IMAGE)
    if recorded in found:
        chosen = found[recorded]
    elif len(found) == 1:
        (chosen,) = found.values()
    elif found:
        names = ", ".join(sorted(image.name for image in found.values())[:_SHOWN])
        raise InvalidParameterError(
            scratch.path, f"several images of the store have its layers ({names}); say which is meant: --from IMAGE"
        )
    elif unread := next((image for image in listed if image.problem), None):
        raise InvalidDataError(
            scratch.path,
            f"no image in the store {store.path} has its layers; {unread.name} cannot be read: {unread.problem}",
        )
    else:
        raise PathNotFoundError(
            scratch.path, f"no image in the store {store.path} has its layers; pull or load the image again"
        )
    with store.source(chosen.manifest.digest) as source:
        return BuiltImage.on(source, name=_name_of(chosen, store))


def _chain_ids(scratch: ScratchDirectory, store: ImageStore) -> tuple[str, ...]:
    """Returns the chainIDs of the parents of a scratch, base layer first.

    Raises:
        InvalidParameterError: a parent is not a layer of the store.
    """
    layers = os.path.realpath(store.path / "layers")
    parents: Sequence[Path] = scratch.parents_in_place()
    for parent in parents:
        if os.path.realpath(parent.parent) != layers or not _DIGITS.match(parent.name):
            raise InvalidParameterError(
                scratch.path,
                f"its parent {parent} is not a layer of the store {store.path}; commit takes a scratch that"
                " `wclayer create --from IMAGE` has made",
            )
    return tuple(f"sha256:{parent.name}" for parent in reversed(parents))


def _name_of(image: StoredImage, store: ImageStore) -> str:
    """Returns the whole reference of an image: its own name, or that of another name with the same meaning."""
    names = [each.name for each in store.images() if each.manifest.digest == image.manifest.digest]
    named = [name for name in names if not name.startswith("sha256:")]
    return whole_name(named[0]) if named else ""
