"""A layer tar that becomes a layer as it is: its entries with all their metadata, its tombstones, its hives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from wclayer._types import StrPath
from wclayer.builder.workspace import NewLayer
from wclayer.errors import InvalidDataError, errors_at
from wclayer.formats.compression import Compression, HashedInput
from wclayer.formats.hashed_output import HashedOutput
from wclayer.host.root import HostRoot
from wclayer.images.config import chain_ids as chain_ids_of
from wclayer.images.descriptor import OCI_LAYER, Descriptor
from wclayer.images.store import ImageStore
from wclayer.images.store.staging import Staging
from wclayer.layers.inputs import open_any_place
from wclayer.layers.tar import TarLayerReader

_BLOB = "layer"
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class _Read:
    """What a whole tar was when it was read."""

    compression: Compression
    diff_id: str
    digest: str


def layer_of_tar(store: ImageStore, path: StrPath, diff_ids: Sequence[str]) -> NewLayer:
    """Makes a layer of a layer tar: its blob is in the store. It is not unpacked.

    The tar is read to its end first, and every entry is checked. A tar that is compressed with gzip is the blob as it
    is; any other one is compressed with gzip, so that an image of any kind can have the layer.

    Args:
        store: the store; the caller holds `store.in_use()` until a name keeps the layer.
        path: the tar.
        diff_ids: the diffIDs of the layers below, base layer first.

    Raises:
        InvalidDataError: it is no layer tar, is damaged, or has changed while it was read.
        LimitExceededError: it is larger than the limits in use.
        PathNotFoundError, AccessDeniedError, EntryIsDirectoryError: the file cannot be read.
    """
    place = Path(os.path.abspath(path))
    found = _read_whole(place)
    with Staging(store.path) as staging:
        descriptor = _write_blob(staging, place, found)
        staging.keep_blob(_BLOB, descriptor)
    return NewLayer(descriptor, found.diff_id, chain_ids_of([*diff_ids, found.diff_id])[-1])


def _read_whole(path: Path) -> _Read:
    with open_any_place(path) as raw, TarLayerReader(raw, path) as reader:
        for item in reader:
            for stream in item.streams():
                for _ in stream.chunks:
                    pass
        reader.finish()
        return _Read(reader.compression, reader.diff_id, reader.digest)


def _write_blob(staging: Staging, path: Path, found: _Read) -> Descriptor:
    """Writes the blob of a tar that was read before, and checks that it is still the same."""
    with errors_at(staging.path), HostRoot(staging.path) as root:
        target = os.fdopen(root.create(_BLOB.encode()), "wb")
    is_blob = found.compression is Compression.GZIP
    with (
        target,
        errors_at(path),
        open_any_place(path) as raw,
        HashedOutput(target, Compression.NONE if is_blob else Compression.GZIP) as output,
        closing(HashedInput(raw)) as tar,
    ):
        for piece in iter(lambda: raw.read(_PIECE), b"") if is_blob else tar:
            output.write(piece)
        output.finish()
    if output.diff_id != (found.digest if is_blob else found.diff_id):
        raise InvalidDataError(path, "has changed while it was read; try again")
    return Descriptor(f"{OCI_LAYER}+gzip", output.digest, output.stored_size)
