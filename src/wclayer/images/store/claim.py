"""`claim_layer`: of all processes and threads, one unpacks a layer; the others wait for it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from wclayer.errors import LayerBusyError, errors_at
from wclayer.host import system
from wclayer.host.root import HostRoot
from wclayer.images.store.folder import LAYERS, StoreFolder, hex_of

_PATIENCE = 3600.0
"""For how many seconds another process may unpack a layer."""
_PAUSE = 0.1


@contextmanager
def claim_layer(folder: StoreFolder, chain_id: str) -> Iterator[bool]:
    """Keeps others from unpacking a layer inside the context. Waits for one that does.

    The claim is a locked file with the name of a thing under construction: what is left of it after a kill is removed
    by the next process that builds a layer in the store, or by `prune`.

    Args:
        folder: the folder of the store.
        chain_id: the chainID of the layer.

    Returns:
        A context manager of True if the layer is not unpacked; then the caller unpacks it.

    Raises:
        LayerBusyError: another process has been unpacking the layer for an hour.
    """
    path = folder.layer_path(chain_id)
    name = f".wclayer-{hex_of(chain_id)}-{0:016x}.partial".encode()
    end = time.monotonic() + _PATIENCE
    folder.make()
    with HostRoot(folder.path) as root:
        while True:
            if folder.has_layer(chain_id):
                yield False
                return
            with errors_at(path):
                fd = _lock(root, name)
            if fd is not None:
                break
            if time.monotonic() >= end:
                raise LayerBusyError(path, "another process has been unpacking this layer for an hour; end it")
            time.sleep(_PAUSE)
        try:
            yield not folder.has_layer(chain_id)
        finally:
            with suppress(OSError):
                system.remove_file_at(root.directory(LAYERS), name)
            system.close_read(fd)


def _lock(root: HostRoot, name: bytes) -> int | None:
    """Makes the file of a claim, and returns its descriptor; None if another one has it, or has just removed it."""
    directory = root.directory(LAYERS)
    try:
        return _open(directory, name)
    except BlockingIOError:
        return None
    except BaseException:
        # The file may have been made before the host refused something. It goes if nobody has it.
        with suppress(OSError):
            fd = _open(directory, name)
            if fd is not None:
                try:
                    system.remove_file_at(directory, name)
                finally:
                    system.close_read(fd)
        raise


def _open(directory: int, name: bytes) -> int | None:
    """Makes and locks a file; returns None if it has just lost its name.

    Raises:
        BlockingIOError: another one has the lock.
    """
    fd = system.open_locked_file_at(directory, name)
    try:
        if os.path.samestat(os.fstat(fd), system.stat_at(directory, name)):
            return fd
    except FileNotFoundError:
        pass
    except BaseException:
        system.close_read(fd)
        raise
    system.close_read(fd)
    return None
