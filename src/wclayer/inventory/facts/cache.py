"""`FactsCache`: facts of a store, unpacked in a bounded folder of this machine that processes share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from wclayer._types import StrPath
from wclayer.errors import AlreadyExistsError, LayerBusyError, PathNotFoundError, errors_at
from wclayer.host.durability import unsynced
from wclayer.inventory.facts.archive import unpack_stream
from wclayer.inventory.facts.store import FactsStore
from wclayer.layers.atomic import make_folder, remove_whole, wait_for_place

_NAME = re.compile(r"[0-9a-f]{64}\Z")
_TRIES = 100


class FactsCache:
    """Unpacked facts of layers, which are held while they are used. Those that were not used for longest are removed.

    Several processes may use the same folder. It does not outlast a power cut: nothing in it waits for the disk.

    Args:
        store: where the facts are from.
        folder: the folder, which is made if it is missing.
        max_bytes: the bytes that the folder may have. Only what is held at the same time may have more.
    """

    def __init__(self, store: FactsStore, folder: StrPath, max_bytes: int) -> None:
        self._store = store
        self._folder = Path(os.path.abspath(folder))
        self._max_bytes = max_bytes
        self._sizes: dict[str, int] = {}
        """The bytes of known folders by their names. A folder never changes."""

    @contextmanager
    def hold(self, digests: Iterable[str]) -> Iterator[list[Path]]:
        """Returns the folders of the facts of layers, in the order of their digests. They stay until the context ends.

        Raises:
            PathNotFoundError: the store has no facts of a layer.
            InvalidDataError: facts are damaged, or those of another layer.
            NotSupportedError: a newer wclayer wrote them.
        """
        with ExitStack() as held:
            with errors_at(self._folder):
                make_folder(self._folder, parents=True)
            yield [self._hold(digest, held) for digest in digests]

    def _hold(self, digest: str, held: ExitStack) -> Path:
        path = self._folder / digest.partition(":")[2]
        for _ in range(_TRIES):
            try:
                lock = wait_for_place(path, shared=True)
            except PathNotFoundError:
                self._unpack(digest, path)
                continue
            held.callback(lock.close)
            with errors_at(path):
                os.utime(path)
            return path
        raise LayerBusyError(path, "other processes remove it again and again; make the cache larger")

    def _unpack(self, digest: str, path: Path) -> None:
        with self._store.open(digest) as stream, unsynced(), suppress(AlreadyExistsError, LayerBusyError):
            # Another process may be faster, or remove the folder at this moment.
            unpack_stream(stream, self._store.place(digest), path, digest=digest)
        self._make_room(besides=path)

    def _make_room(self, besides: Path) -> None:
        """Removes what was not used for longest and is not held, until the rest is as small as it may be."""
        known = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if _NAME.match(entry.name):
                        known.append((entry.stat().st_mtime_ns, entry.name))
        self._sizes = {name: self._sizes.get(name) or _size(self._folder / name) for _, name in known}
        left = sum(self._sizes.values()) - self._max_bytes
        for _, name in sorted(known):
            if left <= 0:
                return
            if name != besides.name:
                # Windows also refuses to rename a folder of which another process looks at the sizes.
                with suppress(PermissionError, FileNotFoundError):
                    remove_whole(self._folder / name)
                    left -= self._sizes[name]


def _size(folder: Path) -> int:
    """Returns the bytes of the files below a folder that other processes may be removing."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(PermissionError, FileNotFoundError):
                size += os.lstat(os.path.join(place, name)).st_size
    return size
