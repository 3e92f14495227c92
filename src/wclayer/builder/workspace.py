"""`Workspace`: a scratch on layers of the store, in which a build makes its next layer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from types import TracebackType
from typing import Self

from wclayer._types import StrPath
from wclayer.builder.changes import ChangesReader
from wclayer.engines.portable.importing import import_tar
from wclayer.engines.portable.registry import RegistryEditor
from wclayer.engines.results import ImportResult
from wclayer.errors import CorruptLayerError, InvalidStateError, boundary, errors_at
from wclayer.formats.compression import Compression
from wclayer.host.durability import unsynced
from wclayer.host.root import HostRoot
from wclayer.images.descriptor import OCI_LAYER, Descriptor, digest_of
from wclayer.images.store import ImageStore
from wclayer.images.store.staging import Staging
from wclayer.layers.copy import copy_layer
from wclayer.layers.directory.database import FILE_NAME
from wclayer.layers.directory.migration import make_scratch
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.names import TRUSTED
from wclayer.layers.progress import Cancelled, ProgressCallback
from wclayer.layers.tar import TarLayerWriter
from wclayer.model import LayerReader
from wclayer.view.layer_view import LayerView
from wclayer.win32.filetime import from_unix_ns

_SCRATCH, _BLOB = "scratch", "layer"
_TYPES = {
    Compression.NONE: OCI_LAYER,
    Compression.GZIP: f"{OCI_LAYER}+gzip",
    Compression.ZSTD: f"{OCI_LAYER}+zstd",
}


@dataclass(frozen=True, slots=True)
class NewLayer:
    """A layer that was made: its blob is in the store, and it is unpacked there.

    Attributes:
        descriptor: the blob, with OCI's media type.
        diff_id: the digest of the uncompressed tar.
        chain_id: the digest of the layer together with all layers below it.
    """

    descriptor: Descriptor
    diff_id: str
    chain_id: str


def oci_layer_type(compression: Compression) -> str:
    """Returns OCI's media type of a layer with a compression."""
    return _TYPES[compression]


@boundary
class EmptyScratchWriter(DirectoryLayerWriter):
    """Writes an empty scratch without a disk, which only this program uses."""

    operation = "begin layer"

    def _before_rename(self) -> None:
        make_scratch(self._staged.path / FILE_NAME)


@boundary
class Workspace:
    """A scratch on layers of a store, in which a build makes its next layer: a context manager.

    The scratch is inside the store, and is gone when the context ends; what a killed process left is removed by
    `prune`, or by whoever builds a layer in the store next. Inside the context, `prune` stays away. Nothing in the
    scratch waits for the disk; the layer that `commit` makes of it is safe there.

    Args:
        store: the store.
        chain_ids: the chainIDs of the layers, base layer first, all unpacked in the store; empty for a base layer.
        time: the FILETIME that replaces every later time in what is made (SOURCE_DATE_EPOCH); None keeps the times.

    Raises:
        PathNotFoundError: a layer is not unpacked.
    """

    operation = "make layer"

    def __init__(self, store: ImageStore, chain_ids: Sequence[str], *, time: int | None = None) -> None:
        self._store = store
        self._chain_ids = tuple(chain_ids)
        self._time = time
        self._staging: Staging | None = None
        self._view: LayerView | None = None
        self._is_editing = False
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            staging = stack.enter_context(Staging(self._store.path))
            parents = stack.enter_context(self._store.hold_layers(self._chain_ids))[::-1]
            with unsynced(), EmptyScratchWriter(staging.path / _SCRATCH, parents):
                pass
            self._staging = staging
            stack.callback(self._close)
            self._held = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._held.close()

    @property
    def path(self) -> Path:
        """The layer directory of the scratch.

        Raises:
            InvalidStateError: the workspace is not open (any more).
        """
        if self._staging is None:
            raise InvalidStateError(self._store.path, "the workspace is not open")
        return self._staging.path / _SCRATCH

    @property
    def chain_ids(self) -> tuple[str, ...]:
        """The chainIDs of the layers below, base layer first."""
        return self._chain_ids

    @property
    def time(self) -> int | None:
        """The FILETIME that replaces every later time; None if times are kept."""
        return self._time

    @property
    def view(self) -> LayerView:
        """The merged file system of all layers, which takes changes. A use of `registry` ends it: ask for it anew."""
        path = self.path
        if self._is_editing:
            raise InvalidStateError(path, "the registry is being edited; use the files before or after that")
        if self._view is None:
            self._view = LayerView(scratch=path, exclusive=True)
        return self._view

    @contextmanager
    def registry(self) -> Iterator[RegistryEditor]:
        """Opens the registry of the machine for changes, which become visible together at the end of the context. An
        exception discards them. In the context, the view cannot be used.

        Returns:
            A context manager of the editor.
        """
        path = self.path
        if self._is_editing:
            raise InvalidStateError(path, "the registry is being edited already")
        self._close_view()
        self._is_editing = True
        try:
            with unsynced(), RegistryEditor(path, time=self._time) as editor:
                yield editor
        finally:
            self._is_editing = False

    def commit(
        self,
        compression: Compression = Compression.GZIP,
        *,
        level: int | None = None,
        unpack: bool = True,
        progress: ProgressCallback | None = None,
        cancelled: Cancelled | None = None,
    ) -> NewLayer | None:
        """Makes the layer of all changes, and ends the workspace.

        Args:
            compression: of the blob.
            level: of the compression.
            unpack: unpack the layer. False is for a layer that comes on layers that the workspace does not have.
            progress: called from time to time.
            cancelled: stops the work when it returns True.

        Returns:
            The layer, whose blob is in the store; None if nothing was changed.
        """
        path, staging = self.path, self._staging
        assert staging is not None
        self._close_view()
        with self._held:
            return layer_from_scratch(
                self._store, path, self._chain_ids, time=self._time, compression=compression, level=level,
                unpack=unpack, staging=staging, is_temporary=True, progress=progress, cancelled=cancelled,
            )  # fmt: skip

    def _close_view(self) -> None:
        if self._view is not None:
            view, self._view = self._view, None
            with unsynced():
                view.close()

    def _close(self) -> None:
        try:
            self._close_view()
        finally:
            self._staging = None


def layer_from_scratch(
    store: ImageStore,
    scratch: StrPath,
    chain_ids: Sequence[str],
    *,
    time: int | None = None,
    compression: Compression = Compression.GZIP,
    level: int | None = None,
    unpack: bool = True,
    staging: Staging | None = None,
    is_temporary: bool = False,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> NewLayer | None:
    """Makes a layer of the changes of a scratch, which stays as it is, unless it is temporary.

    The caller holds `store.in_use()` until a name keeps the layer, and keeps others from changing the scratch.

    Args:
        store: the store.
        scratch: the layer directory of the scratch, whose parents are the layers of `chain_ids`.
        chain_ids: the chainIDs of its parents, base layer first, all unpacked in the store.
        time: the FILETIME that replaces every later time; None keeps the times.
        compression: of the blob.
        level: of the compression.
        unpack: unpack the layer; see `Workspace.commit`.
        staging: a folder in the store for the blob; by default one is made.
        is_temporary: the scratch lies in `staging`, and is removed.
        progress: called from time to time.
        cancelled: stops the work when it returns True.

    Returns:
        The layer, whose blob is in the store and safe on the disk, as the unpacked layer is; None if the scratch has no
        changes.
    """
    now = from_unix_ns(time_ns())
    with ExitStack() as held:
        parents = held.enter_context(store.hold_layers(chain_ids))[::-1]
        with ChangesReader(scratch, parents, latest=time, now=now) as reader:
            if reader.is_empty:
                return None
            return layer_from_reader(
                store, reader, chain_ids, compression=compression, level=level, unpack=unpack, staging=staging,
                is_temporary=is_temporary, progress=progress, cancelled=cancelled,
            )  # fmt: skip


def layer_from_reader(
    store: ImageStore,
    reader: LayerReader,
    chain_ids: Sequence[str],
    *,
    compression: Compression = Compression.GZIP,
    level: int | None = None,
    unpack: bool = True,
    staging: Staging | None = None,
    is_temporary: bool = False,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> NewLayer:
    """Makes a layer of the entries of a reader, whose names were checked before.

    The caller holds `store.in_use()` until a name keeps the layer.

    Args:
        store: the store.
        reader: the entries, which stay open.
        chain_ids: the chainIDs of the parents, base layer first, all unpacked in the store; empty for a base layer.
        is_temporary: `staging` has the scratch of the reader, which is removed when all of it was read.
        compression, level, unpack, staging, progress, cancelled: see `layer_from_scratch`.

    Returns:
        The layer, whose blob is in the store and safe on the disk, as the unpacked layer is.
    """
    with ExitStack() as held:
        place = staging if staging is not None else held.enter_context(Staging(store.path))
        parents = held.enter_context(store.hold_layers(chain_ids))[::-1]
        layer = _write_blob(place, reader, chain_ids, compression, level, progress, cancelled)
        place.keep_blob(_BLOB, layer.descriptor)
        # The layer is made of its blob, which verifies that, so the scratch is not needed any more.
        with place.removing(_SCRATCH) if is_temporary else nullcontext():
            if unpack:
                _unpack(store, layer, parents, cancelled)
        return layer


def _write_blob(
    place: Staging,
    reader: LayerReader,
    chain_ids: Sequence[str],
    compression: Compression,
    level: int | None,
    progress: ProgressCallback | None,
    cancelled: Cancelled | None,
) -> NewLayer:
    with errors_at(place.path, damage=CorruptLayerError), HostRoot(place.path) as root:
        stream = os.fdopen(root.create(_BLOB.encode()), "wb")
    with (
        errors_at(place.path / _BLOB),
        stream,
        TarLayerWriter(stream, place.path / _BLOB, compression=compression, level=level, names=TRUSTED) as writer,
    ):
        copy_layer(reader, writer, progress=progress, cancelled=cancelled)
    descriptor = Descriptor(oci_layer_type(compression), writer.digest, writer.stored_size)
    chain_id = digest_of(f"{chain_ids[-1]} {writer.diff_id}".encode()) if chain_ids else writer.diff_id
    return NewLayer(descriptor, writer.diff_id, chain_id)


def _unpack(store: ImageStore, layer: NewLayer, parents: Sequence[Path], cancelled: Cancelled | None) -> None:
    """Makes the layer directory of a layer from its blob."""

    def accept(result: ImportResult) -> None:
        if (result.digest, result.diff_id) != (layer.descriptor.digest, layer.diff_id):
            raise CorruptLayerError(
                store.blob_path(layer.descriptor.digest),
                f"has the digest {result.digest} and the diffID {result.diff_id}, other than were written",
            )

    with store.claim_layer(layer.chain_id) as is_missing:
        if is_missing:
            blob = store.blob_path(layer.descriptor.digest)
            with errors_at(blob), store.open_blob(layer.descriptor) as stream:
                import_tar(
                    stream, store.layer_path(layer.chain_id), parents, accept=accept, cancelled=cancelled,
                    source=blob,
                )  # fmt: skip
