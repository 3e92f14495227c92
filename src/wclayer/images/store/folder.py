"""`StoreFolder`: the folder of a store, its blobs, and the lock that keeps `prune` away (docs/formats/store.md)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import platformdirs

from wclayer._types import StrPath
from wclayer.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    CorruptLayerError,
    FormatError,
    InvalidParameterError,
    LayerError,
    PathNotFoundError,
    errors_at,
)
from wclayer.host import durability, system
from wclayer.host.root import HostRoot
from wclayer.images.descriptor import Descriptor, check_digest
from wclayer.images.manifest import check_contents, check_manifest_size
from wclayer.images.store.schema import empty_database
from wclayer.layers.atomic import StagedFile, make_folder, remove_leftovers, wait_for_place
from wclayer.layers.directory import open_layer
from wclayer.model import limits_in_use

STORE_VARIABLE = "WCLAYER_STORE"
DATABASE = "store.db"
BLOBS, INGEST, LAYERS, CACHE = b"blobs/sha256", b"ingest", b"layers", b"cache"
PART = ".part"
_FOLDERS = (b"blobs", BLOBS, INGEST, LAYERS, CACHE)
_PRUNE_PATIENCE = 600.0
"""How many seconds to wait for a `prune` of another process."""


def default_store() -> Path:
    """Returns the default store: `$WCLAYER_STORE`, or `store` in the user's data directory of wclayer."""
    if configured := os.environ.get(STORE_VARIABLE):
        return Path(configured)
    return platformdirs.user_data_path("wclayer", appauthor=False) / "store"


class StoreFolder:
    """The folder of a store, which does not have to exist before something is stored.

    Args:
        path: the folder; by default that of `default_store`.
    """

    def __init__(self, path: StrPath | None = None) -> None:
        self.path = Path(os.path.abspath(path if path is not None else default_store()))

    @property
    def database(self) -> Path:
        """The file of the names."""
        return self.path / DATABASE

    @property
    def exists(self) -> bool:
        """True if there is a store.

        Raises:
            InvalidParameterError: the path, or one above it, is that of a file.
        """
        with errors_at(self.path):
            if self.database.exists():
                return True
            above = next((place for place in (self.path, *self.path.parents) if place.exists()), None)
            if above is not None and not above.is_dir():
                raise InvalidParameterError(
                    self.path, f"cannot be a store, which is a folder: {above} is a file; name another folder"
                )
            return False

    def make(self) -> None:
        """Makes the folder and what belongs in it, where it is missing.

        Raises:
            InvalidParameterError: the folder has files, and is not a store.
        """
        with errors_at(self.path, damage=CorruptLayerError):
            if not self.exists:
                self._make_database()
            with HostRoot(self.path) as root:
                for name in _FOLDERS:
                    _make_folder(root, name)

    def check_writable(self) -> None:
        """Checks that the user may change a store that exists, before any work is done.

        Raises:
            AccessDeniedError: the user may not.
        """
        with errors_at(self.path):
            for path in (self.path, self.database):
                if path.exists() and not os.access(path, os.W_OK):
                    raise AccessDeniedError(
                        path,
                        "the store can only be read: its file system is read-only, or the user may not write it; name"
                        " another store (--store), or have its owner do this",
                    )

    def _make_database(self) -> None:
        make_folder(self.path, parents=True)
        remove_leftovers(self.path)
        if any(not name.startswith(".wclayer-") for name in os.listdir(self.path)) and not self.exists:
            raise InvalidParameterError(
                self.path, f"is not a store: it has files, and no {DATABASE}; name an empty folder, or a store"
            )
        with suppress(AlreadyExistsError), StagedFile(self.database, replaces=False) as staged:
            staged.stream.write(empty_database())

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keeps `prune` away inside the context: what has no name yet stays.

        Raises:
            LayerBusyError: another process has been pruning the store for minutes.
        """
        if not self.exists:
            self.make()
        lock = wait_for_place(
            self.path, patience=_PRUNE_PATIENCE, shared=True, busy="another process is pruning the store; try again"
        )
        try:
            yield
        finally:
            lock.close()

    def root(self) -> HostRoot:
        """Opens the folder. No path below it is looked up through a link.

        Raises:
            PathNotFoundError: there is no store.
        """
        try:
            return HostRoot(self.path)
        except FileNotFoundError:
            raise PathNotFoundError(self.path, "there is no store here; `wclayer pull` makes one") from None

    def blob_path(self, digest: str) -> Path:
        """Returns the path that a blob has, or would have."""
        return self.path / os.fsdecode(blob_name(digest))

    def layer_path(self, chain_id: str) -> Path:
        """Returns the path that the unpacked layer with a chainID has, or would have."""
        return self.path / os.fsdecode(layer_name(chain_id))

    def has_layer(self, chain_id: str) -> bool:
        """Returns whether the layer with a chainID is unpacked."""
        return self._status(layer_name(chain_id), stat.S_ISDIR) is not None

    def layer_size(self, chain_id: str) -> int:
        """Returns the bytes of the files of an unpacked layer by its records; 0 if they cannot be read."""
        try:
            with open_layer(self.layer_path(chain_id)) as layer:
                totals = layer.totals()
                return totals.file_bytes + totals.stream_bytes
        except LayerError:
            return 0

    def blob_size(self, digest: str) -> int | None:
        """Returns the size of a blob in bytes; None if it is not in the store.

        Raises:
            CorruptLayerError: something else than a file lies at its path.
        """
        status = self._status(blob_name(digest), stat.S_ISREG)
        return None if status is None else status.st_size

    def _status(self, name: bytes, is_right: Callable[[int], bool]) -> os.stat_result | None:
        with errors_at(self.path, damage=CorruptLayerError):
            try:
                with HostRoot(self.path) as root:
                    status = root.stat(name)
            except FileNotFoundError:
                return None
        if not is_right(status.st_mode):
            raise CorruptLayerError(self.path / os.fsdecode(name), "is not a file or folder of a store; remove it")
        return status

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Returns whether a blob is in the store, whole. A file of another size is not the blob."""
        return self.blob_size(descriptor.digest) == descriptor.size

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        """Opens a blob for reading from a byte offset to its end.

        Raises:
            PathNotFoundError: the store does not have it.
        """
        path = self.blob_path(descriptor.digest)
        with errors_at(path, damage=CorruptLayerError):
            try:
                with HostRoot(self.path) as root:
                    stream = os.fdopen(root.open(blob_name(descriptor.digest)), "rb")
            except FileNotFoundError:
                raise PathNotFoundError(
                    path, f"{descriptor.digest} is not in the store; pull the image again"
                ) from None
            stream.seek(offset)
            return stream

    def read_blob(self, descriptor: Descriptor) -> bytes:
        """Returns the contents of a manifest or a configuration, which have the size and digest of the descriptor.

        Raises:
            PathNotFoundError: the store does not have it.
            CorruptLayerError: the file has other contents.
            LimitExceededError: it is larger than the limit `manifest_size`.
        """
        path = self.blob_path(descriptor.digest)
        with errors_at(path, damage=CorruptLayerError):
            check_manifest_size(descriptor.size)
            with self.open_blob(descriptor) as stream:
                return check_contents(stream.read(descriptor.size + 1), descriptor)

    def remove_damaged(self, descriptor: Descriptor) -> None:
        """Removes a blob that has other contents than its digest says, so that it is stored anew: a manifest or a
        configuration, not one of the size of layers."""
        if descriptor.size > limits_in_use().manifest_size or not self.has_blob(descriptor):
            return
        try:
            self.read_blob(descriptor)
        except PathNotFoundError:
            return
        except CorruptLayerError:
            with errors_at(self.path), suppress(FileNotFoundError), HostRoot(self.path) as root:
                root.remove_file(blob_name(descriptor.digest))


def _make_folder(root: HostRoot, path: bytes) -> None:
    """Makes a folder of a store if it is missing, and makes its name safe on the disk. A link is refused."""
    try:
        root.directory(path)
    except FileNotFoundError:
        with suppress(FileExistsError):
            root.make_directory(path)
        if durability.is_wanted():
            system.sync_directory(root.directory(path.rpartition(b"/")[0]))


def hex_of(digest: str) -> str:
    """Returns the hexadecimal digits of a digest.

    Raises:
        InvalidParameterError: it is not a SHA-256 digest.
    """
    try:
        return check_digest(digest, "a digest").partition(":")[2]
    except FormatError as error:
        raise InvalidParameterError(digest, str(error)) from None


def blob_name(digest: str) -> bytes:
    """Returns the path of a blob, relative to the store."""
    return BLOBS + b"/" + hex_of(digest).encode()


def part_name(digest: str) -> bytes:
    """Returns the path of a begun download, relative to the store."""
    return INGEST + b"/" + f"{hex_of(digest)}{PART}".encode()


def layer_name(chain_id: str) -> bytes:
    """Returns the path of an unpacked layer, relative to the store."""
    return LAYERS + b"/" + hex_of(chain_id).encode()


def cache_name(key: str) -> bytes:
    """Returns the path of the record of a build step, relative to the store."""
    return CACHE + b"/" + hex_of(key).encode()
