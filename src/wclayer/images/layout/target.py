"""`LayoutTarget`: an OCI image layout in a directory, to which images are added.

The directory is a valid layout at every moment: each blob appears whole under its digest, and `index.json` is replaced
in one step, under a lock, after everything that it names.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Self

from wclayer._types import StrPath
from wclayer.errors import (
    TEMPORARY_NAME,
    AlreadyExistsError,
    FormatError,
    InvalidParameterError,
    InvalidStateError,
    LayerError,
    NotALayerError,
    PathNotFoundError,
    boundary,
    errors_at,
)
from wclayer.host import system
from wclayer.images.descriptor import DOCKER_CONFIG, INDEX_TYPES, MANIFEST_TYPES, OCI_CONFIG, Descriptor
from wclayer.images.layout.entries import MARKER, checked_tag, entry_of, new_index, referrer_entries, with_entries
from wclayer.images.layout.files import DirectoryFiles
from wclayer.images.layout.index import LayoutIndex, check_marker
from wclayer.images.layout_names import BLOBS, INDEX_FILE, MARKER_FILE, blob_name
from wclayer.images.manifest import Manifest, check_contents, parse_manifest
from wclayer.images.transport import BytesDone, ImageSource
from wclayer.images.verified_copy import copy_verified
from wclayer.layers.atomic import (
    StagedFile,
    claim_place,
    is_standard_output,
    make_folder,
    remove_leftovers,
    wait_for_place,
)

_PIECE = 1 << 20
_OWN_NAMES = frozenset({BLOBS, INDEX_FILE, MARKER_FILE})
_DOCUMENTS = INDEX_TYPES | MANIFEST_TYPES | {OCI_CONFIG, DOCKER_CONFIG}


@boundary
class LayoutTarget:
    """An OCI image layout in a directory. An image is added to those that are there, or replaces that of its tag.

    The directory is made with the first blob if it does not exist. Layers that were put stay if the image is not
    finished, so the next copy does not fetch them again. A directory that was made for the image and has no layer is
    removed then.

    Args:
        path: the directory.
        tag: the name of the image in the layout; None keeps it by its digest.
        shared_blobs: a directory `D` for the blobs of several layouts, each at `D/sha256/HEX`; None to keep them in the
            layout.
        name: what the user calls the target (default: "oci:PATH:TAG").

    Raises:
        InvalidParameterError: `tag` cannot be the name of an image in a layout, or `path` is the standard output ("-").
    """

    operation = "write image"

    def __init__(
        self,
        path: StrPath,
        tag: str | None = None,
        *,
        shared_blobs: StrPath | None = None,
        name: str | None = None,
    ) -> None:
        if is_standard_output(path):
            raise InvalidParameterError(
                path,
                "is the standard output, and a layout is a folder; write oci-archive:- for a tar of it, or ./- for a"
                " folder of that name",
            )
        self._path = Path(os.path.abspath(path))
        self._tag = checked_tag(tag, path)
        self._name = name or f"oci:{os.fspath(path)}{f':{self._tag}' if self._tag else ''}"
        self._shared = None if shared_blobs is None else Path(os.path.abspath(shared_blobs))
        self._lock = threading.Lock()
        self._files: DirectoryFiles | None = None
        self._whole: set[str] = set()
        self._put: dict[str, Descriptor] = {}
        self._referrers: list[Manifest] = []
        self._use: system.Lock | None = None
        """A shared lock on the folder of the blobs, which nobody removes meanwhile."""
        self._made_folders: list[Path] = []
        self._is_new = False
        """True if the layout was made by this target, and has no image yet."""
        self._stored: list[Descriptor] = []

    @property
    def name(self) -> str:
        """What the user calls the target."""
        return self._name

    def has(self, descriptor: Descriptor) -> bool:
        """Returns whether the blob or the manifest is in the layout already, whole. It is read and hashed once."""
        if descriptor.digest in self._whole:
            return True
        with _soundness(self._path):
            if not os.path.lexists(self._path):
                return False
            files = self._opened()
            if files.blob_size(descriptor.digest) != descriptor.size:
                return False
            with files.open_blob(descriptor.digest) as stream:
                digest = hashlib.sha256()
                while piece := stream.read(_PIECE):
                    digest.update(piece)
            if f"sha256:{digest.hexdigest()}" != descriptor.digest:
                return False
        self._whole.add(descriptor.digest)
        return True

    def put_blob(self, descriptor: Descriptor, source: ImageSource, done: BytesDone | None = None) -> None:
        """Copies a blob from a source (see `ImageTarget`)."""
        self._store(descriptor, lambda write: copy_verified(source, descriptor, write, done))

    def put_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        """Stores a manifest or an index (see `ImageTarget`)."""
        with errors_at(self._name):
            check_contents(data, descriptor)
            item = parse_manifest(data, descriptor.media_type)
        if not self.has(descriptor):
            self._store(descriptor, lambda write: write(data))
        self._put[descriptor.digest] = descriptor
        if isinstance(item, Manifest) and item.subject is not None:
            self._referrers.append(item)

    def _store(self, descriptor: Descriptor, copy: Callable[[Callable[[bytes], object]], object]) -> None:
        """Makes the file of a blob, which `copy` writes. It appears when it is complete."""
        with _soundness(self._path):
            self._opened()
        with errors_at(self._path), StagedFile(self._blob_path(descriptor.digest), sweep=False) as file:

            def write(data: bytes) -> None:
                with errors_at(self._path):
                    file.stream.write(data)

            copy(write)
        self._whole.add(descriptor.digest)
        self._stored.append(descriptor)

    def _blob_path(self, digest: str) -> Path:
        if self._shared is not None:
            return self._shared / blob_name(digest).removeprefix(f"{BLOBS}/")
        return self._path / blob_name(digest)

    def finish(self, root: Descriptor) -> None:
        """Names the image in `index.json`. `root` was put before.

        Raises:
            LayerBusyError: another process holds the layout.
            NotALayerError: `index.json` is damaged.
        """
        self._enter(root, self._tag)

    def put_tag(self, tag: str, root: Descriptor) -> None:
        """Names another image, or gives the image a further name, as `finish` does. `root` was put before."""
        self._enter(root, checked_tag(tag, self._name))

    def _enter(self, root: Descriptor, tag: str) -> None:
        """Enters an image, and what was put and refers to others, into `index.json`."""
        if root.digest not in self._put:
            raise InvalidStateError(self._name, f"the manifest {root.digest} was not put")
        entries = [entry_of(root, tag), *referrer_entries(self._referrers)]
        lock = wait_for_place(self._path)
        try:
            with _soundness(self._path):
                data = self._opened().document(INDEX_FILE)
                made = new_index(entries) if data is None else with_entries(data, entries, tag)
                self._is_new = False
                if made != data:
                    _write(self._path / INDEX_FILE, made)
        finally:
            lock.close()

    def _opened(self) -> DirectoryFiles:
        """Returns the files of the layout, which is made if it does not exist."""
        with self._lock:
            if self._files is None:
                self._make()
                files = DirectoryFiles(self._path, self._shared)
                try:
                    check_marker(files)
                    LayoutIndex(files)
                    files.check_folders()
                except BaseException:
                    files.close()
                    raise
                self._files = files
            return self._files

    def _make(self) -> None:
        """Makes the directory a layout. The file that says so is the last one."""
        lock = self._made_and_locked()
        try:
            folder = self._path / BLOBS / "sha256" if self._shared is None else self._shared / "sha256"
            if not os.path.lexists(self._path / MARKER_FILE):
                names = (name for name in os.listdir(self._path) if not TEMPORARY_NAME.match(name))
                if others := [name for name in names if name not in _OWN_NAMES]:
                    raise AlreadyExistsError(
                        self._path,
                        f"is a folder with other files in it ({min(others)[:100]!r}), and no OCI image layout; choose"
                        " an empty one, or one that does not exist",
                    )
                make_folder(self._path / BLOBS / "sha256", parents=True)
                if not os.path.lexists(self._path / INDEX_FILE):
                    _write(self._path / INDEX_FILE, new_index([]))
                _write(self._path / MARKER_FILE, MARKER)
                self._is_new = True
            make_folder(folder, parents=True)
            self._use = wait_for_place(self._path / BLOBS, shared=True)
            remove_leftovers(self._path)
            remove_leftovers(folder)
        finally:
            lock.close()

    def _made_and_locked(self) -> system.Lock:
        """Makes the directory if it does not exist, and takes its lock."""
        while True:
            self._made_folders += takewhile(lambda folder: not folder.is_dir(), (self._path, *self._path.parents))
            make_folder(self._path, parents=True)
            try:
                return wait_for_place(self._path)
            except PathNotFoundError:
                # Another process has just removed the layout that it made, and could not finish.
                self._made_folders.clear()

    def close(self) -> None:
        """Ends the use of the layout."""
        with self._lock:
            if self._files is not None:
                self._files.close()
                self._files = None
            if self._use is not None:
                self._use.close()
                self._use = None
            if self._is_new and all(blob.media_type in _DOCUMENTS for blob in self._stored):
                self._is_new = False
                with suppress(LayerError, OSError):
                    self._remove()

    def _remove(self) -> None:
        """Removes the layout that this target made, unless another process uses it or has put something into it."""
        lock = wait_for_place(self._path)
        try:
            use = claim_place(self._path / BLOBS)
            try:
                if (self._path / INDEX_FILE).read_bytes() != new_index([]):
                    return
                for blob in self._stored:
                    self._blob_path(blob.digest).unlink()
                with os.scandir(self._path / BLOBS / "sha256") as others:
                    if any(others):
                        return
                (self._path / MARKER_FILE).unlink()
                (self._path / INDEX_FILE).unlink()
            finally:
                use.close()
            (self._path / BLOBS / "sha256").rmdir()
            (self._path / BLOBS).rmdir()
        finally:
            lock.close()
        for folder in self._made_folders:
            folder.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


@contextmanager
def _soundness(path: Path) -> Iterator[None]:
    """Tells that a layout is damaged, or has links in it. The damage is not in what is copied."""
    with errors_at(path):
        try:
            yield
        except FormatError as error:
            raise NotALayerError(path, f"no image can be added to this layout: {error}") from error


def _write(path: Path, data: bytes) -> None:
    with StagedFile(path, sweep=False) as file:
        file.stream.write(data)
