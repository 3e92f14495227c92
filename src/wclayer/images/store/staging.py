"""`Staging`: a folder inside a store in which something is made, and which is gone afterwards, whatever happens."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from wclayer._types import StrPath
from wclayer.errors import CorruptLayerError, errors_at
from wclayer.host import durability, system
from wclayer.host.root import HostRoot, remove_tree
from wclayer.images.descriptor import Descriptor
from wclayer.images.store.folder import BLOBS, LAYERS, StoreFolder, blob_name
from wclayer.layers.atomic import StagedDirectory


class Staging:
    """A folder inside a store in which something is made: a context manager, at whose end the folder is removed.

    It lies beside the unpacked layers, on the same disk, so that layers and blobs are moved into their places, and a
    layer in it records its parents relative to itself. It has the name of a thing under construction and is locked:
    `prune`, and whoever builds a layer in the store next, removes what a killed process has left. Inside the context,
    `prune` stays away.

    Args:
        store: the path of the store, which is made if it does not exist.
    """

    def __init__(self, store: StrPath) -> None:
        self._folder = StoreFolder(store)
        self._held = ExitStack()
        self._staged: StagedDirectory | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._folder.in_use())
            self._folder.make()
            self._staged = StagedDirectory(self._folder.path / os.fsdecode(LAYERS) / "new")
            stack.callback(self._staged.discard)
            self._held = stack.pop_all()
        return self

    @property
    def path(self) -> Path:
        """The folder. It exists inside the context."""
        assert self._staged is not None
        return self._staged.path

    def keep_blob(self, name: str, descriptor: Descriptor) -> None:
        """Moves a file of the folder to the blobs of the store, safe on the disk. A blob that is there already stays.

        Args:
            name: the name of the file, which nobody has open.
            descriptor: the digest and the size of its contents, which the caller has computed while it wrote them.
        """
        path = self._folder.blob_path(descriptor.digest)
        with errors_at(path, damage=CorruptLayerError), HostRoot(self.path) as own, self._folder.root() as root:
            source = name.encode()
            if self._folder.has_blob(descriptor):
                own.remove_file(source)
                return
            if durability.is_wanted():
                system.sync_file_at(own.fd, source)
            blobs = root.directory(BLOBS)
            system.replace_at(own.fd, source, blobs, blob_name(descriptor.digest).rpartition(b"/")[2])
            if durability.is_wanted():
                system.sync_directory(blobs)

    @contextmanager
    def removing(self, name: str) -> Iterator[None]:
        """Removes a folder below this one while the body does something else. What cannot be removed goes at the end.

        On a file system that a program serves, all of it goes at the end: the kernel may take a new directory for one
        that was just removed, if the program gives it the same number, and refuse to make files in it (lowntfs-3g).

        Args:
            name: the folder, which nobody uses any more.
        """
        with HostRoot(self.path) as root:
            is_served = system.is_served_by_program(root.fd)
        if is_served:
            yield
            return
        thread = threading.Thread(target=_remove, args=(self.path / name,), name="wclayer-remove", daemon=True)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._held.close()


def _remove(path: Path) -> None:
    with suppress(OSError):
        remove_tree(path)
